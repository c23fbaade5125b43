"""A row back per row of the input; which of a key's rows counts; what is skipped."""

from __future__ import annotations

import random
import threading

import django
import pytest
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from django_bulkupsert import DuplicateKeysError, Excluded, OptionError, Status, UnknownFieldError

from . import models
from .conftest import counts, run_threads, wait_for_lock
from .models import (
    NOON,
    Account,
    Amount,
    City,
    Clocks,
    Country,
    NullableKey,
    Offer,
    Partitioned,
    Product,
)

pytestmark = pytest.mark.django_db


# returning ---------------------------------------------------------------------------------


def test_a_row_per_row_of_the_input(kind, shape, strategy):
    """Each input row is told what became of it, in order, with the values as stored."""
    for sku, stock in (("u", 1), ("c", 2), ("s", 3)):
        Product.objects.create(sku=sku, stock=stock, price="1.50")
    given = [
        {"sku": "new", "stock": 9, "price": "2.5"},
        {"sku": "s", "stock": 4, "price": "1.5"},
        {"sku": "u", "stock": 1, "price": "1.5"},
        {"sku": "c", "stock": 5, "price": None},
    ]
    rows, words = kind(Product, given)
    words |= {
        "unique_fields": ["sku"],
        "where": ~Q(sku="s"),
        "update_fields": ["stock", "price"],
        "strategy": strategy,
    }
    result = Product.objects.bulk_upsert(
        shape(rows), returning=["id", "stock", "price", "name"], returning_old=True, **words
    )
    assert counts(result) == (1, 1, 1, 1)
    assert [row.index for row in result.rows] == [0, 1, 2, 3]
    assert [row.status for row in result.rows] == ["created", "skipped", "unchanged", "updated"]
    stored = {each.sku: each for each in Product.objects.all()}
    for row, each in zip(result.rows, given, strict=True):
        product = stored[each["sku"]]
        assert row.values == {
            "id": product.pk, "stock": product.stock, "price": product.price, "name": "",
        }  # fmt: skip
    assert [row.old and row.old["stock"] for row in result.rows] == [None, 3, 1, 2]
    assert str(result.rows[3].old["price"]) == "1.50"
    assert result.rows[3]["price"] is None
    assert result.rows[0].old is None
    assert stored["s"].stock == 3
    if isinstance(rows[0], Product):
        assert [row.pk for row in rows] == [row["id"] for row in result.rows]
        assert [row.stock for row in rows] == [9, 3, 1, 5]  # as stored
        assert rows[0].price == stored["new"].price


def test_returning_all(kind, strategy):
    """True means every field."""
    rows, words = kind(Clocks, [{"key": 1, "value": 2}])
    result = Clocks.objects.bulk_upsert(
        rows, unique_fields=["key"], returning=True, strategy=strategy, **words
    )
    (row,) = result.rows
    stored = Clocks.objects.get()
    assert row.values == {f.name: getattr(stored, f.attname) for f in Clocks._meta.concrete_fields}
    assert row.status is Status.CREATED
    assert str(row.status) == "created"


def test_returning_by_primary_key(strategy):
    """Rows with a primary key and rows without are told of in the order of the input."""
    one = Product.objects.create(sku="one")
    rows = [Product(sku="two"), Product(pk=one.pk, sku="uno"), Product(sku="three")]
    result = Product.objects.bulk_upsert(rows, returning=["pk", "sku"], strategy=strategy)
    assert [row["sku"] for row in result.rows] == ["two", "uno", "three"]
    assert [row.status for row in result.rows] == ["created", "updated", "created"]
    assert [row["pk"] for row in result.rows] == [row.pk for row in rows]


def test_returning_a_relation(strategy):
    """A relation comes back as its key, and an instance's cached object is dropped."""
    old, new = (Country.objects.create(code=code, name=code) for code in ("aa", "bb"))
    city = City.objects.create(name="x", country=new)
    row = City(pk=city.pk, name="x", country=old)
    result = City.objects.bulk_upsert(
        [row], returning=["country"], where=Q(name="never"), strategy=strategy
    )
    assert result.rows[0]["country"] == new.pk
    assert row.country == new


def test_returning_with_ignore_conflicts(kind, strategy):
    """What is left alone comes back as it is stored."""
    Product.objects.create(sku="a", stock=5)
    rows, words = kind(Product, [{"sku": "a", "stock": 1}, {"sku": "b", "stock": 2}])
    result = Product.objects.bulk_upsert(
        rows,
        unique_fields=["sku"],
        ignore_conflicts=True,
        returning=["stock"],
        returning_old=True,
        strategy=strategy,
        **words,
    )
    assert [(row.status, row["stock"]) for row in result.rows] == [("skipped", 5), ("created", 2)]
    assert [row.old for row in result.rows] == [{"stock": 5}, None]


def test_returning_without_a_match(strategy):
    """Without a match, nothing is known of a row that was held back."""
    Product.objects.create(sku="a", stock=5)
    result = Product.objects.bulk_upsert(
        [{"sku": "a", "stock": 1}, {"sku": "b", "stock": 2}],
        ignore_conflicts=True,
        returning=["stock"],
        strategy=strategy,
    )
    assert [(row.status, row["stock"]) for row in result.rows] == [
        ("skipped", None),
        ("created", 2),
    ]


def test_returning_keyless_rows(kind, strategy):
    """Rows without a key find themselves too."""
    rows, words = kind(NullableKey, [{"code": None, "value": n} for n in (3, 1, 2)])
    result = NullableKey.objects.bulk_upsert(
        rows, unique_fields=["code"], returning=["id", "value"], strategy=strategy, **words
    )
    assert [row["value"] for row in result.rows] == [3, 1, 2]
    for row in result.rows:
        assert NullableKey.objects.get(pk=row["id"]).value == row["value"]


def test_returning_computed(strategy):
    """The values are those that an expression made, beside the old ones."""
    Account.objects.create(email="a@x", visits=3, seen=NOON)
    result = Account.objects.bulk_upsert(
        [{"email": "a@x", "visits": 4, "seen": None}, {"email": "b@x", "visits": 5, "seen": None}],
        constraint="account_email",
        update_fields={
            "visits": F("visits") + Excluded("visits"),
            "seen": Coalesce(Excluded("seen"), F("seen")),
        },
        returning=["visits", "seen"],
        returning_old=True,
        strategy=strategy,
    )
    assert [row.values for row in result.rows] == [
        {"visits": 7, "seen": NOON},
        {"visits": 5, "seen": None},
    ]
    assert [row.old for row in result.rows] == [{"visits": 3, "seen": NOON}, None]


def test_many_rows_come_back_in_order(kind, shape, strategy):
    """Row by row, whatever order the server writes in."""
    numbers = list(range(300))
    random.Random(4).shuffle(numbers)
    Product.objects.bulk_create([Product(sku=f"{n}", stock=n % 3) for n in range(0, 300, 2)])
    rows, words = kind(Product, [{"sku": f"{n}", "stock": n % 5} for n in numbers])
    result = Product.objects.bulk_upsert(
        shape(rows),
        unique_fields=["sku"],
        returning=["sku", "stock", "id"],
        strategy=strategy,
        **words,
    )
    assert [row["sku"] for row in result.rows] == [f"{n}" for n in numbers]
    assert [row["stock"] for row in result.rows] == [n % 5 for n in numbers]
    assert [row.index for row in result.rows] == list(range(300))
    assert result.total == 300
    for status in Status:
        assert getattr(result, status) == [row.status for row in result.rows].count(status)


@pytest.mark.parametrize(
    ("words", "error", "reason"),
    [
        ({"returning": []}, OptionError, "returning is empty"),
        ({"returning": "sku"}, OptionError, "got the string 'sku'"),
        ({"returning": ["skuu"]}, UnknownFieldError, "did you mean sku"),
        ({"returning_old": True}, OptionError, "returning_old needs returning"),
        (
            {"duplicates": "merge"},
            OptionError,
            "duplicates is 'error', 'first' or 'last', not 'merge'",
        ),
        ({"lock": "row"}, OptionError, "lock is None or 'table', not 'row'"),
    ],
)
def test_words_that_cannot_be(words, error, reason):
    """What is not known is refused before any SQL."""
    with pytest.raises(error, match=reason):
        Product.objects.bulk_upsert([{"sku": "a"}], unique_fields=["sku"], **words)


def test_no_rows_unless_asked(strategy):
    """Without returning there are no rows, and none are kept."""
    result = Product.objects.bulk_upsert([{"sku": "a"}], unique_fields=["sku"], strategy=strategy)
    assert result.rows == ()


@pytest.mark.skipif(django.VERSION < (5, 0), reason="generated fields are new in Django 5.0")
def test_returning_what_the_database_makes(strategy):
    """Defaults of the database, and generated columns, come back and are set on instances."""
    Generated = models.Generated
    row = Generated(key=1, price=4)
    result = Generated.objects.bulk_upsert(
        [row], unique_fields=["key"], returning=True, strategy=strategy
    )
    stored = Generated.objects.get()
    for field in Generated._meta.concrete_fields:
        assert result.rows[0][field.name] == getattr(stored, field.attname)
        assert getattr(row, field.attname) == getattr(stored, field.attname)


# duplicates --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["first", "last"])
@pytest.mark.parametrize("skip_unchanged", [True, False])
def test_duplicates(which, kind, shape, strategy, skip_unchanged):
    """One of a key's rows is written, the others are skipped, and know the row they mean."""
    Product.objects.create(sku="old", stock=0)
    given = [
        {"sku": "a", "stock": 1},
        {"sku": "old", "stock": 2},
        {"sku": "b", "stock": 3},
        {"sku": "a", "stock": 4},
        {"sku": "old", "stock": 5},
        {"sku": "a", "stock": 6},
    ]
    rows, words = kind(Product, given)
    result = Product.objects.bulk_upsert(
        shape(rows),
        unique_fields=["sku"],
        duplicates=which,
        skip_unchanged=skip_unchanged,
        returning=["id", "stock"],
        strategy=strategy,
        **words,
    )
    assert counts(result) == (2, 1, 0, 3)
    kept = {"a": 1, "old": 2, "b": 3} if which == "first" else {"a": 6, "old": 5, "b": 3}
    assert dict(Product.objects.values_list("sku", "stock")) == kept
    for row, each in zip(result.rows, given, strict=True):
        assert (row.status == "skipped") == (each["stock"] != kept[each["sku"]])
        assert row["stock"] == kept[each["sku"]]
        assert row["id"] == Product.objects.get(sku=each["sku"]).pk
    if isinstance(rows[0], Product):
        assert rows[0].pk == rows[3].pk == rows[5].pk == Product.objects.get(sku="a").pk


@pytest.mark.parametrize("which", ["first", "last"])
def test_duplicates_are_counted(which, kind, shape, strategy):
    """Counts alone are as right as rows, be stored rows left alone, unchanged or ignored."""
    Product.objects.create(sku="a", stock=1)
    given = [{"sku": "a", "stock": 1}, {"sku": "b", "stock": 1}, {"sku": "a", "stock": 1}]
    rows, words = kind(Product, given)
    words |= {"unique_fields": ["sku"], "duplicates": which, "strategy": strategy}
    with transaction.atomic():
        assert counts(Product.objects.bulk_upsert(shape(rows), **words)) == (1, 0, 1, 1)
        transaction.set_rollback(True)
    rows, _ = kind(Product, given)
    result = Product.objects.bulk_upsert(shape(rows), ignore_conflicts=True, **words)
    assert counts(result) == (1, 0, 0, 2)


def test_duplicates_by_the_column(strategy):
    """What is the same is judged by the column: its type, its collation, its scale."""
    given = [{"amount": "1.5", "value": 1}, {"amount": "1.500", "value": 2}]
    with pytest.raises(DuplicateKeysError) as caught:
        Amount.objects.bulk_upsert(given, unique_fields=["amount"], strategy=strategy)
    assert caught.value.indexes == [(0, 1)]
    result = Amount.objects.bulk_upsert(
        given, unique_fields=["amount"], duplicates="last", strategy=strategy
    )
    assert counts(result) == (1, 0, 0, 1)
    assert Amount.objects.get().value == 2


@pytest.mark.parametrize("which", ["error", "first", "last"])
def test_rows_without_a_key_are_no_duplicates(which, kind, strategy):
    """NULL keys, and rows outside of a partial index, are as many as they are."""
    rows, words = kind(NullableKey, [{"code": None}] * 3)
    words |= {"duplicates": which, "strategy": strategy, "returning": ["id"]}
    result = NullableKey.objects.bulk_upsert(rows, unique_fields=["code"], **words)
    assert counts(result) == (3, 0, 0, 0)
    assert len({row["id"] for row in result.rows}) == 3
    rows, _ = kind(Offer, [{"sku": "a", "deleted": NOON}] * 3)
    words.pop("fields", None)
    if not isinstance(rows[0], (Offer, dict)):
        words["fields"] = ["sku", "deleted"]
    assert Offer.objects.bulk_upsert(rows, unique_fields=["sku"], **words).created == 3


def test_the_error_lists_ten_keys(strategy):
    """The first ten keys are listed with their rows, and that there are more."""
    rows = [{"sku": f"{n % 12}"} for n in range(24)]
    with pytest.raises(DuplicateKeysError, match="and more; pass each key once, or say") as caught:
        Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert caught.value.indexes == [(n, n + 12) for n in range(10)]
    assert caught.value.keys == [(f"{n}",) for n in range(10)]
    assert caught.value.more


def test_duplicates_by_primary_key(strategy):
    """Rows matched by primary key are judged by that; those without one are not."""
    one = Product.objects.create(sku="one")
    rows = [
        Product(sku="new"),
        Product(pk=one.pk, sku="1"),
        Product(sku="newer"),
        Product(pk=one.pk, sku="2"),
    ]
    result = Product.objects.bulk_upsert(rows, duplicates="last", strategy=strategy)
    assert counts(result) == (2, 1, 0, 1)
    assert Product.objects.get(pk=one.pk).sku == "2"
    assert rows[1].pk == one.pk


# What is swallowed -------------------------------------------------------------------------


TRIGGER = """
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.sku LIKE 'no%%' THEN RETURN NULL; END IF;
  NEW.name := NEW.name || '!';
  RETURN NEW;
END $$;
CREATE TRIGGER swallow BEFORE {event} ON tests_product FOR EACH ROW EXECUTE FUNCTION swallow();
"""


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
@pytest.mark.parametrize("per_row", [True, False])
def test_triggers(event, per_row, kind, strategy):
    """What a BEFORE trigger swallows is skipped; what it changes comes back as it is stored."""
    Product.objects.create(sku="no-1", name="old")
    Product.objects.create(sku="yes-1", name="old")
    with connection.cursor() as cursor:
        cursor.execute(TRIGGER.replace("%%", "%").format(event=event))
    rows, words = kind(
        Product, [{"sku": sku, "name": "new"} for sku in ("no-1", "yes-1", "no-2", "yes-2")]
    )
    words |= {"returning": ["name"]} if per_row else {}
    result = Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy, **words)
    if event == "INSERT":
        expected = ["skipped", "updated", "skipped", "created"]
        # ON CONFLICT proposes what the INSERT trigger made of the row.
        names = ["old", "new!", None, "new!"]
    else:
        expected = ["skipped", "updated", "created", "created"]
        names = ["old", "new!", "new", "new"]
    assert counts(result) == tuple(expected.count(status) for status in Status)
    if per_row:
        assert [row.status for row in result.rows] == expected
        assert [row["name"] for row in result.rows] == names


@pytest.fixture
def other_role(db):
    """A role that is subject to row security."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE tests_upsert_reader")
        cursor.execute("GRANT USAGE ON SCHEMA public TO tests_upsert_reader")
        cursor.execute(
            "GRANT SELECT, INSERT, UPDATE ON tests_product, tests_lead TO tests_upsert_reader"
        )
        cursor.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO tests_upsert_reader")
        cursor.execute("ALTER TABLE tests_product ENABLE ROW LEVEL SECURITY")
        cursor.execute("CREATE POLICY seen ON tests_product USING (name <> 'hidden')")

    def become() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL ROLE tests_upsert_reader")

    return become


@pytest.mark.parametrize("per_row", [True, False])
def test_row_security(per_row, kind, strategy, other_role):
    """A row that the role can't see is skipped, and nothing of it is told."""
    Product.objects.create(sku="hidden", name="hidden", stock=5)
    Product.objects.create(sku="seen", name="seen", stock=5)
    rows, words = kind(
        Product, [{"sku": sku, "stock": 1, "name": "x"} for sku in ("hidden", "seen", "new")]
    )
    words |= {"returning": ["stock"], "returning_old": True} if per_row else {}
    words |= {"unique_fields": ["sku"], "strategy": strategy}
    other_role()
    result = Product.objects.bulk_upsert(rows, ignore_conflicts=True, **words)
    assert counts(result) == (1, 0, 0, 2)
    if per_row:
        assert [(row.status, row["stock"]) for row in result.rows] == [
            ("skipped", None), ("skipped", 5), ("created", 1),
        ]  # fmt: skip
    result = Product.objects.bulk_upsert(rows[1:], **words)
    assert counts(result) == (0, 1, 1, 0)
    with pytest.raises(django.db.ProgrammingError, match="row-level security"):
        Product.objects.bulk_upsert(rows, **words)


# Status on tables of every kind ------------------------------------------------------------


PARENT = """
CREATE TABLE tests_product_kept () INHERITS (tests_product);
"""


@pytest.mark.parametrize("per_row", [True, False])
def test_inherited_table(per_row, kind, strategy):
    """A row of a child table is none in the parent's index: the status says what was done."""
    with connection.cursor() as cursor:
        cursor.execute(PARENT)
        cursor.execute(
            "INSERT INTO tests_product_kept (id, sku, name, stock, created, updated) "
            "VALUES (-1, 'child', 'same', 1, now(), now()), (-2, 'kid', 'old', 1, now(), now())"
        )
    Product.objects.create(sku="own", name="old")
    rows, words = kind(
        Product,
        [
            {"sku": "own", "name": "new", "stock": 0},
            {"sku": "child", "name": "same", "stock": 1},
            {"sku": "new", "name": "new", "stock": 0},
            {"sku": "kid", "name": "new", "stock": 1},
        ],
    )
    words |= {"returning": ["name"]} if per_row else {}
    result = Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy, **words)
    assert counts(result) == (2, 1, 1, 0)
    if per_row:
        expected = ["updated", "unchanged", "created", "created"]
        assert [row.status for row in result.rows] == expected


PARTITIONED = """
CREATE TABLE tests_partitioned (id int PRIMARY KEY, value int) PARTITION BY RANGE (id);
CREATE TABLE tests_partitioned_1 PARTITION OF tests_partitioned FOR VALUES FROM (0) TO (2);
CREATE TABLE tests_partitioned_2 PARTITION OF tests_partitioned FOR VALUES FROM (2) TO (99);
"""


@pytest.mark.parametrize("per_row", [True, False])
def test_partitioned_table(per_row, kind, shape, strategy, tables):
    """On a partitioned table the status is right, with old values, where and duplicates."""
    tables(PARTITIONED)
    rows, words = kind(Partitioned, [{"id": n, "value": 1} for n in range(4)])
    words |= {"unique_fields": ["pk"], "strategy": strategy}
    words |= {"returning": ["value"], "returning_old": True} if per_row else {}
    assert counts(Partitioned.objects.bulk_upsert(shape(rows), **words)) == (4, 0, 0, 0)
    pairs = [(0, 1), (1, 2), (9, 3), (2, 5), (1, 7)]
    given = [{"id": key, "value": value} for key, value in pairs]
    rows, _ = kind(Partitioned, given)
    result = Partitioned.objects.bulk_upsert(
        shape(rows), where=~Q(id=2), duplicates="last", **words
    )
    assert counts(result) == (1, 1, 1, 2)
    if per_row:
        assert [row.status for row in result.rows] == [
            "unchanged", "skipped", "created", "skipped", "updated",
        ]  # fmt: skip
        assert [row["value"] for row in result.rows] == [1, 7, 3, 1, 7]
        assert [row.old and row.old["value"] for row in result.rows] == [1, 1, None, 1, 1]


# Rows that another call creates meanwhile --------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_row_created_meanwhile_comes_back(strategy):
    """A row that another transaction has just made is skipped or updated, and comes back."""
    row = Product(sku="a", stock=1)
    found = {}

    def ours():
        found["result"] = Product.objects.bulk_upsert(
            [row],
            unique_fields=["sku"],
            where=Q(stock__lt=Excluded("stock")),
            returning=["stock"],
            strategy=strategy,
        )

    with transaction.atomic():
        other = Product.objects.create(sku="a", stock=7)
        thread = threading.Thread(target=lambda: run_threads(ours))
        thread.start()
        wait_for_lock()
    thread.join()
    assert counts(found["result"]) == (0, 0, 0, 1)
    assert found["result"].rows[0].values == {"stock": 7}
    assert row.pk == other.pk


def test_a_clock_that_is_asked_for_is_told_as_it_is_stored(strategy):
    """The instance has what the table has, where a trigger thinks otherwise than the clock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION fixed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "NEW.updated = '2001-02-03 04:05:06+00'; RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER fixed BEFORE INSERT OR UPDATE ON tests_product "
            "FOR EACH ROW EXECUTE FUNCTION fixed()"
        )
    for stock in (1, 2):
        product = Product(sku="a", stock=stock)
        Product.objects.bulk_upsert(
            [product], unique_fields=["sku"], returning=["updated"], strategy=strategy
        )
        assert product.updated == Product.objects.get().updated
        assert product.updated.year == 2001
