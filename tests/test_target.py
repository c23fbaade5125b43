"""Every kind of constraint and index that rows can be matched by."""

from __future__ import annotations

import datetime

import django
import pytest
from django.db import ProgrammingError, connection
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import MatchError, MissingConstraintError, OptionError

from .conftest import counts
from .models import (
    NOON,
    Account,
    Booking,
    Constrained,
    Covering,
    Indexed,
    NullableKey,
    Offer,
    Plan,
    Product,
)

pytestmark = pytest.mark.django_db


# Named constraints -------------------------------------------------------------------------


def test_constraint_by_name(kind, shape, strategy):
    """A unique constraint can be named."""
    rows, words = kind(Constrained, [{"a": 1, "b": n, "value": n} for n in range(3)])
    words |= {"constraint": "plain", "strategy": strategy}
    assert counts(Constrained.objects.bulk_upsert(shape(rows), **words)) == (3, 0, 0, 0)
    assert counts(Constrained.objects.bulk_upsert(shape(rows), **words)) == (0, 0, 3, 0)
    changed, more = kind(Constrained, [{"a": 1, "b": n, "value": 9} for n in range(4)])
    words |= more
    result = Constrained.objects.bulk_upsert(shape(changed), **words)
    assert counts(result) == (1, 3, 0, 0)
    assert set(Constrained.objects.values_list("value", flat=True)) == {9}


def test_constraint_is_named_in_the_statement():
    """PostgreSQL is asked for the very constraint; one that is an index is inferred."""
    for name, model, row, part in (
        ("plain", Constrained, {"a": 1, "b": 1}, 'ON CONFLICT ON CONSTRAINT "plain"'),
        ("account_email", Account, {"email": "a"}, 'ON CONFLICT ((LOWER("email")))'),
        ("offer_live", Offer, {"sku": "a"}, 'ON CONFLICT ("sku") WHERE "deleted" IS NULL'),
        ("covering_a", Covering, {"a": "a"}, 'ON CONFLICT ("a")'),
    ):
        with CaptureQueriesContext(connection) as queries:
            model.objects.bulk_upsert([row], constraint=name)
        assert any(part.lower() in query["sql"].lower() for query in queries), name


@pytest.mark.parametrize(
    ("model", "name", "reason"),
    [
        (Constrained, "deferred", "'deferred' is deferrable, which ON CONFLICT can't use: whether"),
        (Constrained, "plian", "no unique constraint or index named 'plian'; did you mean plain"),
        (Constrained, "zzz", "there is plain, partial and expression"),
        (Constrained, "below_1000", "'below_1000' is a CheckConstraint, and rows are matched by"),
        (Booking, "booking_during", "finds no row to update; pass ignore_conflicts=True"),
        (Booking, "booking_later", "is deferrable"),
        (Indexed, "indexed_c", "the index 'indexed_c' is not unique"),
        (Product, "sku", "named 'sku'; there is none; unique fields are named by unique_fields"),
    ],
)
def test_a_name_that_is_none(model, name, reason):
    """A name by which no row can be matched is refused before any SQL, saying why."""
    with (
        CaptureQueriesContext(connection) as queries,
        pytest.raises(MatchError, match=reason),
    ):
        model.objects.bulk_upsert([{"a": 1}], constraint=name)
    assert len(queries) == 0


def test_a_name_that_is_no_text():
    """The name is a text, not the constraint."""
    constraint = Constrained._meta.constraints[0]
    with pytest.raises(OptionError, match="takes the name of a constraint, not Unique"):
        Constrained.objects.bulk_upsert([{"a": 1}], constraint=constraint)


def test_one_match_only():
    """Rows are matched by one thing."""
    with pytest.raises(OptionError, match="unique_fields and constraint are mutually exclusive"):
        Constrained.objects.bulk_upsert([{"a": 1}], constraint="plain", unique_fields=["a", "b"])


def test_fields_of_the_constraint_that_the_rows_do_not_give():
    """What the key is made of has to be given."""
    with pytest.raises(MatchError, match="'account_email' is over 'email', which the rows don't"):
        Account.objects.bulk_upsert([{"name": "a"}], constraint="account_email")


@pytest.mark.parametrize("name", ["covering_a", "covering_b", "covering_c", "covering_collated"])
def test_what_an_index_has_besides(name, kind, strategy):
    """Included columns, operator classes, collations and orders are no hindrance."""
    given = [{"a": f"{n}", "b": f"{n}", "c": f"C{n}", "value": n} for n in range(3)]
    rows, words = kind(Covering, given)
    words |= {"constraint": name, "strategy": strategy}
    assert counts(Covering.objects.bulk_upsert(rows, **words)) == (3, 0, 0, 0)
    assert counts(Covering.objects.bulk_upsert(rows, **words)) == (0, 0, 3, 0)
    rows, more = kind(Covering, [row | {"value": 7} for row in given])
    assert counts(Covering.objects.bulk_upsert(rows, **(words | more))) == (0, 3, 0, 0)


@pytest.mark.parametrize(
    ("words", "row"),
    [
        ({"constraint": "indexed_a"}, {"a": 1, "b": 1}),
        ({"unique_fields": ["a"]}, {"a": 1, "b": 1}),
        ({"constraint": "indexed_b"}, {"a": 1, "b": 1}),
        ({"unique_fields": ["b"]}, {"a": 1, "b": 1}),
    ],
)
def test_unique_index(words, row, strategy):
    """An index of a class that makes it unique is a match."""
    assert Indexed.objects.bulk_upsert([row], strategy=strategy, **words).created == 1
    changed = [row | {"c": 5}]
    assert Indexed.objects.bulk_upsert(changed, strategy=strategy, **words).updated == 1


# A constraint that the database lacks ------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        (Constrained, 'ALTER TABLE tests_constrained DROP CONSTRAINT "plain"',
         {"constraint": "plain"}, {"a": 1, "b": 1}, r"'plain' \(a, b\)"),
        (Constrained, 'ALTER TABLE tests_constrained DROP CONSTRAINT "plain"',
         {"unique_fields": ["a", "b"]}, {"a": 1, "b": 1}, r"'plain' \(a, b\)"),
        (Account, "DROP INDEX account_email", {"constraint": "account_email"}, {"email": "a"},
         r"'account_email' \(Lower\(F\(email\)\)\)"),
        (Booking, "ALTER TABLE tests_booking DROP CONSTRAINT booking_during",
         {"constraint": "booking_during", "ignore_conflicts": True},
         {"during": (datetime.date(2026, 1, 1), None)}, "constraint 'booking_during'"),
    ],
)  # fmt: skip
def test_a_constraint_that_the_database_lacks(case, strategy):
    """It is our error, which says to migrate, and the transaction goes on."""
    model, sql, words, row, named = case
    with connection.cursor() as cursor:
        cursor.execute(sql)
    with pytest.raises(MissingConstraintError, match=f"{named}, which the model has; run migrate"):
        model.objects.bulk_upsert([row], strategy=strategy, **words)
    assert issubclass(MissingConstraintError, ProgrammingError)
    assert model.objects.count() == 0


# Partial indexes ---------------------------------------------------------------------------


@pytest.mark.parametrize("words", [{"unique_fields": ["sku"]}, {"constraint": "offer_live"}])
def test_partial_index(words, kind, shape, strategy):
    """Rows are matched among those that the index holds; rows outside of it are inserted."""
    old = Offer.objects.create(sku="a", price=1, deleted=NOON)
    live = Offer.objects.create(sku="a", price=2)
    given = [
        {"sku": "a", "price": 3, "deleted": None},
        {"sku": "b", "price": 4, "deleted": None},
        {"sku": "a", "price": 5, "deleted": NOON},
        {"sku": "a", "price": 5, "deleted": NOON},
    ]
    rows, more = kind(Offer, given)
    result = Offer.objects.bulk_upsert(shape(rows), strategy=strategy, **words, **more)
    assert counts(result) == (3, 1, 0, 0)
    stored = Offer.objects.values_list("sku", "price", "deleted")
    assert sorted(map(str, stored)) == sorted(
        map(str, [("a", 1, NOON), ("a", 3, None), ("b", 4, None), ("a", 5, NOON), ("a", 5, NOON)])
    )
    old.refresh_from_db()
    live.refresh_from_db()
    assert (old.price, live.price) == (1, 3)
    if isinstance(rows[0], Offer):
        assert rows[0].pk == live.pk
        for row in rows:
            assert Offer.objects.get(pk=row.pk).price == row.price
        assert len({row.pk for row in rows}) == 4


def test_partial_index_whose_condition_the_rows_do_not_give(strategy):
    """What a row doesn't give is what it would be inserted with."""
    Offer.objects.create(sku="a", price=1, deleted=NOON)
    rows = [{"sku": "a", "price": 2}, {"sku": "b", "price": 2}]
    result = Offer.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert counts(result) == (2, 0, 0, 0)
    result = Offer.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert counts(result) == (0, 0, 2, 0)
    rows[0]["price"] = 3
    result = Offer.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert counts(result) == (0, 1, 1, 0)


def test_partial_index_left_alone(strategy):
    """ignore_conflicts heeds the condition too."""
    Offer.objects.create(sku="a", price=1)
    rows = [{"sku": "a", "price": 2, "deleted": None}, {"sku": "a", "price": 3, "deleted": NOON}]
    result = Offer.objects.bulk_upsert(
        rows, unique_fields=["sku"], ignore_conflicts=True, strategy=strategy
    )
    assert counts(result) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("name", "row", "outside"),
    [
        ("plan_team", {"team": "a", "level": 2}, {"team": "a", "level": 0}),
        ("plan_old", {"team": "a", "state": "100%"}, {"team": "a", "state": "new"}),
        ("plan_user", {"team": "b", "user": "a"}, {"team": "c", "user": "a", "state": "100%"}),
        ("plan_user", {"team": "b", "user": "a"}, {"team": "c", "user": None}),
    ],
)
def test_conditions_with_values(name, row, outside, kind, strategy):
    """A condition's values are told to the server in the index's own terms, quotes and all."""
    given = [{"user": None, "state": "it's", "level": 1, "value": 1, **row}]
    rows, words = kind(Plan, given)
    words |= {"constraint": name, "strategy": strategy}
    assert Plan.objects.bulk_upsert(rows, **words).created == 1
    given[0]["value"] = 2
    if given[0]["user"]:
        given[0]["user"] = "A"
    rows, more = kind(Plan, given)
    assert Plan.objects.bulk_upsert(rows, **(words | more)).updated == 1
    rows, more = kind(Plan, [given[0] | outside])
    words |= more
    assert Plan.objects.bulk_upsert(rows, **words).created == 1


def test_several_conditions():
    """Fields that are unique under several conditions have to be named by one of them."""
    with pytest.raises(MatchError, match="constraint= 'plan_team' and 'plan_old'"):
        Plan.objects.bulk_upsert([{"team": "a"}], unique_fields=["team"])


def test_server_binds_the_condition(server_side_binding):
    """The planner has to know the condition's values, whoever binds parameters."""
    rows = [{"team": "a", "value": 1}]
    assert Plan.objects.bulk_upsert(rows, constraint="plan_team").created == 1
    rows = [{"team": "a", "value": 2}]
    assert Plan.objects.bulk_upsert(rows, constraint="plan_team").updated == 1


def test_update_that_leaves_the_index(strategy):
    """A row that its update takes out of the index is found all the same."""
    offer = Offer.objects.create(sku="a", price=1)
    result = Offer.objects.bulk_upsert(
        [Offer(sku="a", price=2)],
        unique_fields=["sku"],
        update_fields={"deleted": NOON, "price": 7},
        returning=["price", "deleted"],
        strategy=strategy,
    )
    assert counts(result) == (0, 1, 0, 0)
    assert result.rows[0].values == {"price": 7, "deleted": NOON}
    assert Offer.objects.get().pk == offer.pk


# Expression indexes ------------------------------------------------------------------------


def test_expression_index(kind, shape, strategy):
    """Rows are matched by an expression, and what it reads is updated."""
    ada = Account.objects.create(email="Ada@x.org", name="old")
    rows, words = kind(
        Account, [{"email": "ADA@X.org", "name": "new"}, {"email": "bob@x.org", "name": "bob"}]
    )
    words |= {"constraint": "account_email", "strategy": strategy}
    assert counts(Account.objects.bulk_upsert(shape(rows), **words)) == (1, 1, 0, 0)
    ada.refresh_from_db()
    assert (ada.email, ada.name) == ("ADA@X.org", "new")
    if isinstance(rows[0], Account):
        assert rows[0].pk == ada.pk
        assert rows[1].pk == Account.objects.get(email="bob@x.org").pk
    assert counts(Account.objects.bulk_upsert(shape(rows), **words)) == (0, 0, 2, 0)


def test_expression_index_duplicates(strategy):
    """Keys are the same if the expression is."""
    rows = [{"email": "a@x"}, {"email": "A@X"}]
    with pytest.raises(django.db.IntegrityError, match=r"\) = \(a@x\) in rows 0 and 1"):
        Account.objects.bulk_upsert(rows, constraint="account_email", strategy=strategy)


# Exclusion constraints ---------------------------------------------------------------------


def test_exclusion_constraint(kind, shape, strategy):
    """What a constraint excludes is left out."""
    day = datetime.date(2026, 5, 1)
    week = datetime.timedelta(days=7)
    Booking.objects.create(during=(day, day + week), note="first")
    rows, words = kind(
        Booking,
        [
            {"during": (day, day + week), "note": "no"},
            {"during": (day + week, day + 2 * week), "note": "yes"},
        ],
    )
    result = Booking.objects.bulk_upsert(
        shape(rows), constraint="booking_during", ignore_conflicts=True, strategy=strategy, **words
    )
    assert counts(result) == (1, 0, 0, 1)
    assert set(Booking.objects.values_list("note", flat=True)) == {"first", "yes"}


# NULLs -------------------------------------------------------------------------------------


def test_null_keys_by_name(strategy):
    """A NULL in an expression's key matches nothing."""
    rows = [{"a": "1", "b": "1", "c": None}, {"a": "2", "b": "2", "c": None}]
    result = Covering.objects.bulk_upsert(rows, constraint="covering_c", strategy=strategy)
    assert result.created == 2
    rows = [{"a": "3", "b": "3", "c": None}]
    result = Covering.objects.bulk_upsert(rows, constraint="covering_c", strategy=strategy)
    assert result.created == 1


@pytest.mark.skipif(django.VERSION < (5, 0), reason="nulls_distinct is new in Django 5.0")
@pytest.mark.parametrize("field", ["a", "b"])
def test_nulls_not_distinct(field, kind, strategy):
    """Two NULLs are one key, in a constraint and in a partial index."""
    from .models import NullSafe

    if connection.pg_version < 150000:
        pytest.skip("NULLS NOT DISTINCT is new in PostgreSQL 15")
    given = [{"a": None, "b": None, "live": True, "value": 1}]
    for words in ({"unique_fields": [field]}, {"constraint": f"nullsafe_{field}"}):
        NullSafe.objects.all().delete()
        rows, more = kind(NullSafe, given)
        words |= {"strategy": strategy, **more}
        assert NullSafe.objects.bulk_upsert(rows, **words).created == 1
        rows, _ = kind(NullSafe, [given[0] | {"value": 2}])
        assert NullSafe.objects.bulk_upsert(rows, **words).updated == 1
        rows, _ = kind(NullSafe, [given[0] | {"value": 2}, given[0] | {"value": 2, "a": 5, "b": 5}])
        assert counts(NullSafe.objects.bulk_upsert(rows, **words)) == (1, 0, 1, 0)


def test_null_key_of_a_field(strategy):
    """Rows whose key is NULL are inserted, each time."""
    for n in (2, 4):
        NullableKey.objects.bulk_upsert(
            [{"code": None}, {"code": None}], unique_fields=["code"], strategy=strategy
        )
        assert NullableKey.objects.count() == n
