"""What was once wrong: options that met, rows that went, keys that changed on the way."""

from __future__ import annotations

import threading

import django
import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.db.backends.postgresql.psycopg_any import IsolationLevel, is_psycopg3
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce, Concat, Lower, NullIf, Trim

from django_bulkupsert import (
    DuplicateKeysError,
    Excluded,
    MatchError,
    MissingConstraintError,
    OptionError,
    RowError,
    UnsupportedModel,
)

from .conftest import counts, run_threads, wait_for_lock
from .models import (
    NOON,
    Account,
    Code,
    Coded,
    Constrained,
    Daily,
    Extension,
    Lead,
    Legacy,
    LentKey,
    Licensed,
    Nickname,
    NullableKey,
    Odd,
    Offer,
    Overlapping,
    Place,
    Plan,
    Product,
)

pytestmark = pytest.mark.django_db


# A primary key that a transform makes ------------------------------------------------------


def test_keys_that_are_one_to_the_server_only(tables, kind):
    """The table's column has another type than the model's, by which two texts are one key."""
    tables(
        "DO $$ BEGIN EXECUTE (SELECT 'DROP INDEX ' || indexrelid::regclass FROM pg_index WHERE "
        "indrelid = 'tests_product'::regclass AND indexrelid::regclass::text ~ '_like$'); END $$"
    )
    tables("ALTER TABLE tests_product ALTER COLUMN sku TYPE char(12)")
    rows, words = kind(Product, [{"sku": sku, "stock": 1} for sku in ("a", "b", "a ")])
    with pytest.raises(DuplicateKeysError, match="rows 0 and 2"):
        Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy="copy", **words)
    assert not Product.objects.exists()


def test_transform_of_a_key_that_is_drawn():
    """Whether a row has a key that the database draws is told before any transform."""
    for expression in (NullIf("id", Value(0)), Coalesce("id", Value(5))):
        with pytest.raises(OptionError, match="'id', whose values the database draws"):
            Product.objects.bulk_upsert([{"id": 0, "sku": "a"}], transform={"id": expression})


def test_transform_of_a_key_that_is_given(kind, strategy):
    """A primary key that rows bring may be filled in, and an empty one is an error."""
    Code.objects.create(code="none", value=1)
    rows, words = kind(Code, [{"code": "a", "value": 2}, {"code": "", "value": 3}])
    words |= {"strategy": strategy}
    result = Code.objects.bulk_upsert(
        rows, transform={"code": Coalesce(NullIf("code", Value("")), Value("none"))}, **words
    )
    assert counts(result) == (1, 1, 0, 0)
    assert dict(Code.objects.values_list("code", "value")) == {"a": 2, "none": 3}
    rows, _ = kind(Code, [{"code": "a", "value": 2}, {"code": "", "value": 3}])
    with pytest.raises(IntegrityError, match="row 1, field 'code'"):
        Code.objects.bulk_upsert(rows, transform={"code": NullIf("code", Value(""))}, **words)


# Other writers -----------------------------------------------------------------------------


def meanwhile(ours, theirs):
    """Run ``ours`` while ``theirs`` is not committed yet; return what it returned."""
    found = []
    errors = []
    with transaction.atomic():
        theirs()
        work = threading.Thread(
            target=lambda: errors.extend(run_threads(lambda: found.append(ours())))
        )
        work.start()
        wait_for_lock()
    work.join()
    assert not errors
    return found[0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["delete", "rename"])
def test_a_matched_row_that_goes(change, kind, strategy):
    """A row that was matched, and is another or none when it could be locked, is inserted."""
    lead = Lead.objects.create(name="a", score=1)
    rows, words = kind(Lead, [{"name": "a", "score": 5}])

    def ours():
        return Lead.objects.bulk_upsert(
            rows,
            match_fields=["name"],
            returning=["id", "name", "score"],
            returning_old=True,
            strategy=strategy,
            **words,
        )

    def theirs():
        if change == "delete":
            lead.delete()
        else:
            Lead.objects.update(name="b")

    result = meanwhile(ours, theirs)
    assert counts(result) == (1, 0, 0, 0)
    stored = Lead.objects.get(name="a")
    assert result.rows[0].values == {"id": stored.pk, "name": "a", "score": 5}
    assert result.rows[0].old is None
    if isinstance(rows[0], Lead):
        assert rows[0].pk == stored.pk


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("model", "field", "words"),
    [
        (NullableKey, "code", {"unique_fields": ["code"]}),
        (Account, "email", {"constraint": "account_email"}),
    ],
)
def test_a_key_that_changes_meanwhile(model, field, words, strategy):
    """A row whose stored row gets another key meanwhile is a new one."""
    stored = model.objects.create(**{field: "a"})
    row = model(**{field: "a"})
    value = "visits" if model is Account else "value"
    setattr(row, value, 5)
    result = meanwhile(
        lambda: model.objects.bulk_upsert([row], strategy=strategy, **words),
        lambda: model.objects.filter(pk=stored.pk).update(**{field: "other"}),
    )
    assert counts(result) == (1, 0, 0, 0)
    assert row.pk == model.objects.get(**{field: "a"}).pk != stored.pk


# Triggers that change keys -----------------------------------------------------------------


TRIGGER = """
CREATE FUNCTION rekey() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN NEW.{column} := {change}; RETURN NEW; END $$;
CREATE TRIGGER rekey BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION rekey();
"""

REKEYED = {
    "plain": (Product, "sku", "stock", {"unique_fields": ["sku"]}),
    "nullable": (NullableKey, "code", "value", {"unique_fields": ["code"]}),
    "expression": (Account, "email", "visits", {"constraint": "account_email"}),
    "any": (Lead, "name", "score", {"match_fields": ["name"]}),
}


@pytest.mark.parametrize("per_row", [True, False])
@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
@pytest.mark.parametrize("case", REKEYED)
def test_triggers_that_change_the_key(case, event, per_row, kind, strategy):
    """A trigger may give a written row another key: the counts are right, and agree."""
    model, field, value, words = REKEYED[case]
    model.objects.create(**{field: "b", value: 1})
    sql = TRIGGER.format(
        column=field,
        change=f"'z' || NEW.{field}",
        event=event,
        table=model._meta.db_table,
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
    rows, more = kind(model, [{field: "a" if event == "INSERT" else "b", value: 2}])
    words = words | more | ({"returning": ["pk", field, value]} if per_row else {})
    result = model.objects.bulk_upsert(rows, strategy=strategy, **words)
    assert counts(result) == ((1, 0, 0, 0) if event == "INSERT" else (0, 1, 0, 0))
    changed = model.objects.get(**{field: "za" if event == "INSERT" else "zb"})
    assert getattr(changed, value) == 2
    if per_row and (event == "UPDATE" or case in ("nullable", "expression")):
        row = result.rows[0]
        assert row.status == ("created" if event == "INSERT" else "updated")
        assert row.values == {"pk": changed.pk, field: getattr(changed, field), value: 2}


# A primary key among match_fields ----------------------------------------------------------


def test_match_fields_that_the_database_draws():
    """Rows are matched by primary key without a word, and by nothing that is drawn with one."""
    with pytest.raises(MatchError, match="'id', which the database draws; leave match_fields out"):
        Lead.objects.bulk_upsert([Lead(name="b")], match_fields=["id"])


def test_match_fields_that_rows_bring(kind, strategy):
    """A primary key that is not drawn is a field as any."""
    Code.objects.create(code="a", value=1)
    rows, words = kind(Code, [{"code": "a", "value": 2}, {"code": "b", "value": 3}])
    result = Code.objects.bulk_upsert(rows, match_fields=["code"], strategy=strategy, **words)
    assert counts(result) == (1, 1, 0, 0)


# Old values of rows that are left out ------------------------------------------------------


@pytest.mark.parametrize("which", ["first", "last"])
def test_old_values_of_duplicates(which, kind, strategy):
    """A row left out as a duplicate has the old values of the row that it means."""
    Product.objects.create(sku="old", stock=1)
    rows, words = kind(
        Product, [{"sku": sku, "stock": n} for n, sku in enumerate(["a", "old", "a", "old"])]
    )
    result = Product.objects.bulk_upsert(
        rows,
        unique_fields=["sku"],
        duplicates=which,
        returning=["stock"],
        returning_old=True,
        strategy=strategy,
        **words,
    )
    assert [row.old for row in result.rows] == [None, {"stock": 1}, None, {"stock": 1}]


@pytest.mark.parametrize("unique", ["code", "number"])
@pytest.mark.parametrize("which", ["first", "last"])
def test_old_values_of_duplicates_in_several_tables(unique, which, strategy):
    """So it is where a model has several tables."""
    Licensed(code="old", name="0", number="old").save()
    rows = [
        Licensed(code=code, name=name, number=code)
        for code, name in [("a", "1"), ("old", "2"), ("a", "3"), ("old", "4")]
    ]
    result = Licensed.objects.bulk_upsert(
        rows,
        unique_fields=[unique],
        duplicates=which,
        returning=["name", "number"],
        returning_old=True,
        strategy=strategy,
    )
    was = {"name": "0", "number": "old"}
    assert [row.old for row in result.rows] == [None, was, None, was]


# Primary keys that nothing gives -----------------------------------------------------------


@pytest.mark.parametrize("per_row", [True, False])
def test_a_stored_row_lends_its_primary_key(per_row, strategy):
    """Rows matched by another key need not give a primary key that is not drawn."""
    LentKey.objects.create(id=7, code="a", value=1)
    words = {"returning": ["id", "value"]} if per_row else {}
    result = LentKey.objects.bulk_upsert(
        [{"code": "a", "value": 2}], unique_fields=["code"], strategy=strategy, **words
    )
    assert counts(result) == (0, 1, 0, 0)
    assert LentKey.objects.values_list("id", "value").get() == (7, 2)
    if per_row:
        assert result.rows[0].values == {"id": 7, "value": 2}
    with pytest.raises(IntegrityError, match="row 0, field 'id': not given"):
        LentKey.objects.bulk_upsert(
            [{"code": "new"}], unique_fields=["code"], strategy=strategy, **words
        )


@pytest.mark.skipif(django.VERSION < (5, 2), reason="composite primary keys are new in Django 5.2")
@pytest.mark.parametrize("some", [{}, {"tenant": 1}])
def test_a_stored_row_lends_its_composite_key(some, strategy):
    """Nor one of several fields."""
    from .models import Composite

    Composite.objects.create(tenant=1, number=1, code="a")
    result = Composite.objects.bulk_upsert(
        [{"code": "a", "value": 2, **some}],
        unique_fields=["code"],
        returning=["pk", "value"],
        strategy=strategy,
    )
    assert counts(result) == (0, 1, 0, 0)
    assert result.rows[0].values == {"tenant": 1, "number": 1, "value": 2}


# Several tables ----------------------------------------------------------------------------


def test_errors_name_the_row_of_the_input(strategy):
    """An error's index is the row's in the whole input, also where some rows are left out."""
    rows = [Licensed(code="a", name="n", number="a"), Licensed(code="a", name="n", number="b"),
            Licensed(code="c", name="n", number="x" * 500)]  # fmt: skip
    with pytest.raises(RowError, match="row 2, field 'number'"):
        Licensed.objects.bulk_upsert(
            rows, unique_fields=["code"], duplicates="first", strategy=strategy
        )


def test_ignore_conflicts_in_several_tables():
    """What to do about any constraint of any table can't be said."""
    with pytest.raises(OptionError, match="ignore_conflicts needs unique_fields or constraint"):
        Licensed.objects.bulk_upsert([Licensed(code="a")], ignore_conflicts=True)


@pytest.mark.django_db(transaction=True)
def test_lock_covers_the_search(strategy):
    """With lock="table" a row that another call creates meanwhile is found."""

    def ours(code):
        return Licensed.objects.bulk_upsert(
            [Licensed(code=code, name="n", number="x")],
            unique_fields=["number"],
            lock="table",
            strategy=strategy,
        )

    assert counts(meanwhile(lambda: ours("b"), lambda: ours("a"))) == (0, 1, 0, 0)
    assert Place.objects.get().code == "b"


# Options that meet -------------------------------------------------------------------------


def test_a_clock_that_is_assigned(strategy):
    """An instance is not told the time of the call where another one is stored."""
    Product.objects.create(sku="a")
    product = Product(sku="a", stock=1)
    Product.objects.bulk_upsert(
        [product],
        unique_fields=["sku"],
        update_fields={"stock": Excluded("stock"), "updated": Value(NOON)},
        returning=["updated"],
        strategy=strategy,
    )
    assert Product.objects.get().updated == product.updated == NOON


@pytest.mark.parametrize("which", ["first", "last", "error"])
def test_preserve_sequence_and_duplicates(which, strategy):
    """Rows that are left out, or refused, draw nothing."""
    from .test_match_fields import last_value

    before = last_value(Product)
    words = {"unique_fields": ["sku"], "preserve_sequence": True, "strategy": strategy}
    if which == "error":
        with pytest.raises(DuplicateKeysError):
            Product.objects.bulk_upsert([{"sku": "a"}] * 10, **words)
    else:
        Product.objects.bulk_upsert([{"sku": "a"}] * 10, duplicates=which, **words)
    assert last_value(Product) - before - 1 == (0 if which == "error" else 1)


def test_mixed_keys_and_clocks(strategy):
    """A clock among update_fields is no field that rows have to give."""
    Product.objects.create(sku="a")
    Product.objects.update(updated=NOON)
    result = Product.objects.bulk_upsert(
        [{"sku": "a", "stock": 1}, {"sku": "b"}],
        unique_fields=["sku"],
        update_fields=["stock", "updated"],
        mixed_keys=True,
        strategy=strategy,
    )
    assert counts(result) == (1, 1, 0, 0)
    assert Product.objects.get(sku="a").updated > NOON


def test_expressions_over_a_tables_own_types(tables):
    """Where Django did not make the table, an expression is of the column's own type."""
    tables(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');"
        "CREATE TABLE tests_legacy (id int PRIMARY KEY, mood mood)"
    )
    for update in ({"mood": "sad"}, {"mood": F("mood")},
                   {"mood": Coalesce(Excluded("mood"), F("mood"))}):  # fmt: skip
        rows = [{"id": 1, "mood": "ok"}]
        Legacy.objects.bulk_upsert(rows, update_fields=update)
        result = Legacy.objects.bulk_upsert(rows, update_fields=update)
        assert result.updated == 1


def test_exclusion_in_several_tables():
    """A constraint that finds no row can't begin a search."""
    from .models import Room

    with pytest.raises(UnsupportedModel, match="is an exclusion constraint, and"):
        Room.objects.bulk_upsert([Room()], constraint="room_during", ignore_conflicts=True)


def test_mixed_spellings_of_a_key(strategy):
    """A field under two of its names is one, and its rows are of one group."""
    rows = [{"pk": 7, "sku": "a"}, {"id": 7, "sku": "b"}]
    with pytest.raises(DuplicateKeysError, match="rows 0 and 1"):
        Product.objects.bulk_upsert(rows, mixed_keys=True, strategy=strategy)
    result = Product.objects.bulk_upsert(
        rows, mixed_keys=True, duplicates="last", strategy=strategy
    )
    assert counts(result) == (1, 0, 0, 1)


def test_options_of_a_group_are_checked_first(django_assert_num_queries):
    """What the rows of a later group don't give is refused before any SQL, with the row."""
    with (
        django_assert_num_queries(0),
        pytest.raises(OptionError, match="row 1, and those with its keys: where, Excluded"),
    ):
        Product.objects.bulk_upsert(
            [{"sku": "a", "stock": 1}, {"sku": "b"}],
            unique_fields=["sku"],
            mixed_keys=True,
            where=Q(stock__lt=Excluded("stock")),
        )


def test_transform_of_a_part_of_a_key(strategy):
    """A NULL that a transform makes takes the key away."""
    rows = [{"code": " "}, {"code": " "}, {"code": "A "}]
    result = NullableKey.objects.bulk_upsert(
        rows,
        unique_fields=["code"],
        transform={"code": NullIf(Lower(Trim("code")), Value(""))},
        returning=["code"],
        strategy=strategy,
    )
    assert counts(result) == (3, 0, 0, 0)
    assert [row["code"] for row in result.rows] == [None, None, "a"]


def test_names_that_hold_placeholders(kind, strategy, image):
    """Columns may be called anything, in every option; Django's own queries break on these."""
    Odd.objects.bulk_upsert([{"key": 1, "percent": "a", "select": 1}], unique_fields=["key"])
    rows, words = kind(Odd, [{"key": 1, "percent": "B ", "select": 2}])
    result = Odd.objects.bulk_upsert(
        rows,
        unique_fields=["key"],
        update_fields={
            "percent": Concat(F("percent"), Excluded("percent")),
            "select": F("select") + Excluded("select"),
        },
        where=Q(percent="a") & Q(percent__lt=Excluded("percent")) & ~Q(select=5),
        transform={"percent": Lower(Trim("percent"))},
        returning=["id", "percent", "select"],
        returning_old=True,
        strategy=strategy,
        **words,
    )
    assert result.rows[0].status == "updated"
    assert (result.rows[0]["percent"], result.rows[0]["select"]) == ("ab", 3)
    assert (result.rows[0].old["percent"], result.rows[0].old["select"]) == ("a", 1)
    rows, _ = kind(Odd, [{"key": 5, "percent": "ab", "select": 4}])
    result = Odd.objects.bulk_upsert(
        rows,
        match_fields=["percent"],
        update_fields=["select"],
        where=Q(percent="ab", select__lt=Excluded("select")),
        strategy=strategy,
        **words,
    )
    assert counts(result) == (0, 1, 0, 0)
    odd = Odd(key=1)
    odd.percent = Concat(F("percent"), Value("%"))
    odds = Odd.objects.filter(percent="ab")
    assert odds.bulk_update([odd], ["percent"], match_fields=["key"], strategy=strategy) == 1
    assert image(Odd) == ["(1,ab%,4)"]


# Found by a second look --------------------------------------------------------------------


def test_a_key_that_an_instance_brings(strategy):
    """In several tables a new row keeps the key that it came with, wherever it is matched."""
    row = Licensed(id=777, name="n", number="1", code="q")
    assert Licensed.objects.bulk_upsert([row], unique_fields=["number"], strategy=strategy).created
    assert Licensed.objects.get().pk == row.pk == 777


def test_a_value_that_becomes_null(kind, strategy):
    """What a field makes NULL of matches NULL."""
    Extension.objects.create(name="a", number="")
    for value in (2, 3):
        rows, words = kind(Extension, [{"name": "a", "number": "", "value": value}])
        result = Extension.objects.bulk_upsert(
            rows, match_fields=["name", "number"], strategy=strategy, **words
        )
        assert counts(result) == (0, 1, 0, 0)
    row = Extension(name="a", number="", value=4)
    updated = Extension.objects.bulk_update(
        [row], ["value"], match_fields=["name", "number"], strategy=strategy
    )
    assert updated == 1


def test_indexes_that_postgresql_cannot_tell_apart():
    """A conditional index beside one that holds its rows too is refused."""
    with pytest.raises(MatchError, match=r"'over_live' .* does too"):
        Overlapping.objects.bulk_upsert([{"sku": "a"}], constraint="over_kind")
    row = {"sku": "a", "value": 1}
    assert Overlapping.objects.bulk_upsert([row], constraint="over_live").created == 1
    assert Overlapping.objects.bulk_upsert([row], constraint="over_live").unchanged == 1


@pytest.mark.skipif(django.VERSION < (5, 0), reason="generated fields are new in Django 5.0")
def test_a_condition_that_the_database_computes():
    """Whether a row has a key has to be known before it is stored."""
    from .models import Computed

    with pytest.raises(MatchError, match="it reads 'live', which the database computes"):
        Computed.objects.bulk_upsert([{"sku": "a"}], constraint="computed_live")


@pytest.mark.django_db(transaction=True)
def test_the_first_of_two_goes(strategy):
    """Of two rows that match, the one that is left comes back."""
    first, second = (Lead.objects.create(name="a", score=n) for n in (1, 2))
    row = Lead(name="a", score=9)
    result = meanwhile(
        lambda: Lead.objects.bulk_upsert(
            [row],
            match_fields=["name"],
            update_fields=["score"],
            returning=["id", "score"],
            strategy=strategy,
        ),
        first.delete,
    )
    assert counts(result) == (0, 1, 0, 0)
    assert result.rows[0].values == {"id": second.pk, "score": 9}
    assert row.pk == second.pk


def test_an_update_of_a_part_of_a_key(kind, strategy):
    """A row is found whose key changes because only a part of what it is made of is set."""
    Nickname.objects.create(id=1, nick=None, email="a")
    rows, words = kind(Nickname, [{"id": 1, "nick": "a", "email": "b"}])
    result = Nickname.objects.bulk_upsert(
        rows,
        constraint="nickname",
        update_fields=["email"],
        returning=["id", "email"],
        strategy=strategy,
        **words,
    )
    assert counts(result) == (0, 1, 0, 0)
    assert result.rows[0].values == {"id": 1, "email": "b"}


@pytest.mark.parametrize("per_row", [True, False])
def test_a_text_key_that_rows_do_not_give(per_row, strategy):
    """A stored row lends its primary key, be it a text that has a default."""
    Coded.objects.create(id="1", code="a")
    words = {"returning": ["id", "value"]} if per_row else {}
    result = Coded.objects.bulk_upsert(
        [{"code": "a", "value": 3}], unique_fields=["code"], strategy=strategy, **words
    )
    assert counts(result) == (0, 1, 0, 0)
    assert Coded.objects.values_list("id", "value").get() == ("1", 3)


def test_match_fields_that_are_all_the_same(strategy):
    """A clock alone is a match too, if an odd one."""
    for status in ("created", "updated"):
        result = Daily.objects.bulk_upsert(
            [{"count": 2 + (status == "updated"), "user": 2}],
            match_fields=["day"],
            returning=["id"],
            strategy=strategy,
        )
        assert result.rows[0].status == status
    assert result.rows[0]["id"] == Daily.objects.get().pk


def test_server_binds_the_key(server_side_binding, strategy):
    """Keys that hold literals are grouped by, whoever binds parameters."""
    with pytest.raises(DuplicateKeysError, match="rows 0 and 1"):
        Account.objects.bulk_upsert(
            [{"email": "a"}, {"email": "A"}], constraint="account_email", strategy=strategy
        )
    Plan.objects.bulk_upsert(
        [{"team": "a"}, {"team": "a"}], constraint="plan_team", duplicates="last", strategy=strategy
    )


def test_a_constraint_that_is_an_index_in_the_table(strategy):
    """Fields are enough where the table's index has another name, or is no constraint."""
    with connection.cursor() as cursor:
        cursor.execute('ALTER TABLE tests_constrained DROP CONSTRAINT "plain"')
        cursor.execute("CREATE UNIQUE INDEX other_name ON tests_constrained (a, b)")
    result = Constrained.objects.bulk_upsert(
        [{"a": 1, "b": 1}], unique_fields=["a", "b"], strategy=strategy
    )
    assert result.created == 1


def test_a_key_and_more_in_several_tables():
    """Fields that no constraint covers are refused, also where a primary key is among them."""
    for names in (["id", "name"], ["place_ptr", "number"]):
        with pytest.raises(OptionError, match="covers"):
            Licensed.objects.bulk_upsert([Licensed(id=1, number="1")], unique_fields=names)


def test_an_error_of_a_trigger_is_its_own(strategy):
    """A trigger's mistake is not taken for a constraint that our table lacks."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO "
            "tests_lead (name, score, touched) VALUES ('x', 1, now()) ON CONFLICT (name) DO "
            "NOTHING; RETURN NEW; END $$;"
            "CREATE TRIGGER noted AFTER INSERT ON tests_product FOR EACH ROW "
            "EXECUTE FUNCTION noted()"
        )
    with pytest.raises(ProgrammingError) as caught:
        Product.objects.bulk_upsert([{"sku": "a"}], unique_fields=["sku"], strategy=strategy)
    assert not isinstance(caught.value, MissingConstraintError)


def test_advice_that_can_be_followed():
    """Where nothing can be said about duplicates, nothing is advised."""
    with pytest.raises(DuplicateKeysError, match=r"pass each key once$"):
        Product.objects.bulk_upsert([{"id": 5, "sku": "a"}, {"id": 5, "sku": "b"}],
                                    ignore_conflicts=True)  # fmt: skip


LEVEL = IsolationLevel.REPEATABLE_READ


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "given",
    [
        {"isolation_level": LEVEL if is_psycopg3 else int(LEVEL)},
        {"options": "-c default_transaction_isolation=repeatable\\ read"},
    ],
    ids=["Django's option", "the session's setting"],
)
def test_lock_table_under_one_snapshot(strategy, given):
    """Where the first statement's snapshot is for all, the table is locked before it."""
    connection.close()
    before = connection.settings_dict["OPTIONS"]
    connection.settings_dict["OPTIONS"] = {**before, **given}
    try:
        result = meanwhile_twice(
            lambda: Lead.objects.bulk_upsert(
                [{"name": "a"}], match_fields=["name"], lock="table", strategy=strategy
            )
        )
        assert sorted(map(counts, result)) == [(0, 0, 1, 0), (1, 0, 0, 0)]
        assert Lead.objects.count() == 1
    finally:
        connection.close()
        connection.settings_dict["OPTIONS"] = before


def meanwhile_twice(work):
    """Run the same work twice, the second while the first is not committed yet."""
    first = []
    second = meanwhile(work, lambda: first.append(work()))
    return [*first, second]


# What a stored row lends ---------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3_000])
@pytest.mark.parametrize(
    "options",
    [{}, {"duplicates": "first"}, {"returning": ["price"]}],
    ids=["plain", "first", "rows"],
)
def test_rows_outside_of_a_partial_index(strategy, shape, count, options):
    """One that the index doesn't have is new, though one that it has is of the same key."""
    Offer.objects.bulk_copy([{"sku": f"{i}", "price": 7} for i in range(count)])
    rows = [{"sku": f"{i}", "deleted": NOON} for i in range(count)]
    if count > 1:
        rows += [{"sku": f"{i}", "deleted": None} for i in range(count + 1)]
    result = Offer.objects.bulk_upsert(
        shape(rows), constraint="offer_live", skip_unchanged=False, strategy=strategy, **options
    )
    assert counts(result) == ((count + 1, count, 0, 0) if count > 1 else (1, 0, 0, 0))
    assert result.retries == 0
    assert Offer.objects.filter(price=7, deleted=None).count() == count
    assert Offer.objects.filter(price=0).count() == result.created


@pytest.mark.parametrize("count", [1, 2, 3_000])
def test_a_trigger_that_changes_the_key(strategy, count):
    """A row that it makes another one of is new."""
    Product.objects.bulk_copy([{"sku": f"K{i}", "stock": 7} for i in range(count)])
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION lowers() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN NEW.sku := lower(NEW.sku); RETURN NEW; END$$;"
            "CREATE TRIGGER lowers BEFORE INSERT ON tests_product "
            "FOR EACH ROW EXECUTE FUNCTION lowers()"
        )
    rows = [{"sku": f"K{i}", "name": "x"} for i in range(count)]
    result = Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert (counts(result), result.retries) == ((count, 0, 0, 0), 0)
    assert Product.objects.count() == 2 * count
