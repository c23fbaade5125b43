"""Upserts matched by fields that need not be unique, sequences, table locks."""

from __future__ import annotations

import random
import threading

import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import DuplicateKeysError, Excluded, MatchError, OptionError

from .conftest import counts, run_threads, wait_for_lock
from .models import (
    NOON,
    Account,
    City,
    Code,
    Lead,
    NullableKey,
    Offer,
    Product,
    Token,
)

pytestmark = pytest.mark.django_db


def leads() -> list[tuple]:
    return sorted(Lead.objects.values_list("name", "city", "score"), key=str)


def test_all_that_match_are_updated(kind, shape, strategy):
    """Every stored row of a key is updated, and a key that is new is inserted."""
    for name, score in (("a", 1), ("a", 2), ("b", 3), ("c", 4)):
        Lead.objects.create(name=name, city="x", score=score)
    rows, words = kind(
        Lead,
        [
            {"name": "d", "city": "x", "score": 9},
            {"name": "a", "city": "x", "score": 8},
            {"name": "c", "city": "x", "score": 4},
        ],
    )
    words |= {"match_fields": ["name"], "strategy": strategy}
    assert counts(Lead.objects.bulk_upsert(shape(rows), **words)) == (1, 1, 1, 0)
    assert leads() == [("a", "x", 8), ("a", "x", 8), ("b", "x", 3), ("c", "x", 4), ("d", "x", 9)]
    if isinstance(rows[0], Lead):
        assert rows[0].pk == Lead.objects.get(name="d").pk
        assert rows[1].pk == Lead.objects.filter(name="a").earliest("pk").pk
        assert not rows[0]._state.adding
    assert counts(Lead.objects.bulk_upsert(shape(rows), **words)) == (0, 0, 3, 0)


def test_null_matches_null(kind, shape, strategy):
    """A None matches every NULL, and stands once."""
    Lead.objects.create(name="a", city=None, score=1)
    Lead.objects.create(name="a", city="y", score=1)
    rows, words = kind(
        Lead, [{"name": "a", "city": None, "score": 2}, {"name": "b", "city": None, "score": 3}]
    )
    words |= {"match_fields": ["name", "city"], "strategy": strategy}
    assert counts(Lead.objects.bulk_upsert(shape(rows), **words)) == (1, 1, 0, 0)
    assert leads() == [("a", "y", 1), ("a", None, 2), ("b", None, 3)]
    with pytest.raises(DuplicateKeysError, match=r"\(name, city\) = \(a, NULL\) in rows 0 and 1"):
        Lead.objects.bulk_upsert([rows[0], rows[0]], **words)
    only, more = kind(Lead, [{"city": None, "name": "z", "score": 7}])
    words |= more | {"match_fields": ["city"]}
    assert counts(Lead.objects.bulk_upsert(only, **words)) == (0, 1, 0, 0)
    assert leads() == [("a", "y", 1), ("z", None, 7), ("z", None, 7)]


@pytest.mark.parametrize("which", ["first", "last"])
def test_duplicates(which, kind, strategy):
    """Which of a key's rows counts can be said, of stored rows and of new ones."""
    Lead.objects.create(name="a", city="", score=0)
    given = [
        {"name": "a", "city": "", "score": 1},
        {"name": "b", "city": "", "score": 2},
        {"name": "a", "city": "", "score": 3},
        {"name": "b", "city": "", "score": 4},
    ]
    rows, words = kind(Lead, given)
    result = Lead.objects.bulk_upsert(
        rows,
        match_fields=["name"],
        duplicates=which,
        returning=["id", "score"],
        strategy=strategy,
        **words,
    )
    assert counts(result) == (1, 1, 0, 2)
    kept = {"a": 1, "b": 2} if which == "first" else {"a": 3, "b": 4}
    for row, each in zip(result.rows, given, strict=True):
        stored = Lead.objects.get(name=each["name"])
        assert row.values == {"id": stored.pk, "score": kept[each["name"]]}
        assert (row.status == "skipped") == (each["score"] != kept[each["name"]])


def test_where_expressions_and_old_values(kind, shape, strategy):
    """All that an upsert can say works without an index too."""
    for name, score in (("a", 1), ("b", 5), ("c", 5)):
        Lead.objects.create(name=name, score=score)
    given = [{"name": name, "score": 3} for name in ("A", "B", "C", "D")]
    rows, words = kind(Lead, given)
    result = Lead.objects.bulk_upsert(
        shape(rows),
        match_fields=["name"],
        transform={"name": Lower("name")},
        update_fields={"score": F("score") + Excluded("score")},
        where=Q(score__gt=Excluded("score")) & ~Q(name="c"),
        returning=["name", "score"],
        returning_old=True,
        strategy=strategy,
        **words,
    )
    assert counts(result) == (1, 1, 0, 2)
    assert [row.status for row in result.rows] == ["skipped", "updated", "skipped", "created"]
    assert [row["score"] for row in result.rows] == [1, 8, 5, 3]
    assert [row.old and row.old["score"] for row in result.rows] == [1, 5, 5, None]
    assert [row["name"] for row in result.rows] == ["a", "b", "c", "d"]


def test_ignore_conflicts(kind, strategy):
    """Only rows that match nothing are inserted."""
    Lead.objects.create(name="a", score=1)
    rows, words = kind(Lead, [{"name": "a", "score": 2}, {"name": "b", "score": 2}])
    words |= {"match_fields": ["name"], "ignore_conflicts": True, "strategy": strategy}
    result = Lead.objects.bulk_upsert(rows, returning=["score"], **words)
    assert counts(result) == (1, 0, 0, 1)
    assert [row["score"] for row in result.rows] == [1, 2]
    assert counts(Lead.objects.bulk_upsert(rows, **words)) == (0, 0, 0, 2)


@pytest.mark.parametrize("skip_unchanged", [True, False])
def test_skip_unchanged(skip_unchanged, kind, strategy):
    """Rows that would not change are left alone, clocks and all, unless they are to be written."""
    Lead.objects.create(name="a", score=1)
    Lead.objects.update(touched=NOON)
    rows, words = kind(Lead, [{"name": "a", "score": 1, "city": None}])
    result = Lead.objects.bulk_upsert(
        rows, match_fields=["name"], skip_unchanged=skip_unchanged, strategy=strategy, **words
    )
    assert counts(result) == ((0, 0, 1, 0) if skip_unchanged else (0, 1, 0, 0))
    assert (Lead.objects.get().touched == NOON) == skip_unchanged


def test_some_columns(strategy):
    """Rows may give some columns; the others are left alone, or get their defaults."""
    Lead.objects.create(name="a", city="x", score=1)
    rows = [{"name": "a", "score": 2}, {"name": "b", "score": 3}]
    result = Lead.objects.bulk_upsert(rows, match_fields=["name"], strategy=strategy)
    assert counts(result) == (1, 1, 0, 0)
    assert leads() == [("a", "x", 2), ("b", None, 3)]


def test_bad_values(strategy):
    """An error leaves nothing behind."""
    Lead.objects.create(name="a", score=1)
    with pytest.raises(DataError, match="row 1, field 'name'"):
        Lead.objects.bulk_upsert(
            [{"name": "a", "score": 5}, {"name": "x" * 99, "score": 1}],
            match_fields=["name"],
            strategy=strategy,
        )
    with pytest.raises(IntegrityError, match="row 1, field 'score'"):
        Lead.objects.bulk_upsert(
            [{"name": "a", "score": 5}, {"name": "new", "score": None}],
            match_fields=["name"],
            strategy=strategy,
        )
    assert leads() == [("a", None, 1)]


@pytest.mark.parametrize(
    ("words", "error", "reason"),
    [
        ({"match_fields": []}, MatchError, "match_fields is empty"),
        ({"match_fields": "name"}, OptionError, "got the string 'name'"),
        ({"match_fields": ["nmae"]}, OptionError, "did you mean name"),
        ({"match_fields": ["city"]}, MatchError, "'city', which the rows don't give"),
        ({"match_fields": ["name"], "unique_fields": ["id"]}, OptionError, "mutually exclusive"),
        ({"match_fields": ["name"], "update_fields": ["name"]}, OptionError, "rows are matched"),
    ],
)
def test_words_that_cannot_be(words, error, reason):
    """What can't be is refused before any SQL."""
    with CaptureQueriesContext(connection) as queries, pytest.raises(error, match=reason):
        Lead.objects.bulk_upsert([{"name": "a", "score": 1}], **words)
    assert len(queries) == 0


# Two calls at once -------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lock", [None, "table"])
def test_the_same_new_key_at_once(lock, strategy):
    """Two calls insert a new key twice, unless the table is locked."""
    found = []

    def ours():
        found.append(
            Lead.objects.bulk_upsert(
                [{"name": "new", "score": 2}], match_fields=["name"], lock=lock, strategy=strategy
            )
        )

    with transaction.atomic():
        Lead.objects.bulk_upsert(
            [{"name": "new", "score": 1}], match_fields=["name"], lock=lock, strategy=strategy
        )
        errors = []
        thread = threading.Thread(target=lambda: errors.extend(run_threads(ours)))
        thread.start()
        if lock:
            wait_for_lock()
        else:
            thread.join()
    thread.join()
    assert not errors
    if lock:
        assert counts(found[0]) == (0, 1, 0, 0)
        assert leads() == [("new", None, 2)]
    else:
        assert counts(found[0]) == (1, 0, 0, 0)
        assert leads() == [("new", None, 1), ("new", None, 2)]


@pytest.mark.django_db(transaction=True)
def test_a_row_that_was_changed_meanwhile(strategy):
    """A row that was waited for is judged as it is now."""
    Lead.objects.create(name="a", score=1)
    found = []

    def ours():
        found.append(
            Lead.objects.bulk_upsert(
                [{"name": "a", "score": 5}],
                match_fields=["name"],
                where=Q(score__lt=Excluded("score")),
                returning=["score"],
                strategy=strategy,
            )
        )

    errors = []
    with transaction.atomic():
        Lead.objects.update(score=9)
        thread = threading.Thread(target=lambda: errors.extend(run_threads(ours)))
        thread.start()
        wait_for_lock()
    thread.join()
    assert not errors
    assert counts(found[0]) == (0, 0, 0, 1)
    assert Lead.objects.get().score == 9


@pytest.mark.django_db(transaction=True)
def test_writers_do_not_deadlock():
    """Overlapping calls in other orders lock rows in one order, and lose no update."""
    Lead.objects.bulk_create([Lead(name=f"{n}", score=0) for n in range(60)])
    random_ = random.Random(5)

    def writer(strategy):
        for _ in range(12):
            names = random_.sample(range(60), 40)
            Lead.objects.bulk_upsert(
                [{"name": f"{n}", "score": 1} for n in names],
                match_fields=["name"],
                update_fields={"score": F("score") + Excluded("score")},
                strategy=strategy,
            )

    errors = run_threads(*(lambda s=s: writer(s) for s in ("values", "unnest", "copy")))
    assert not errors
    assert sum(Lead.objects.values_list("score", flat=True)) == 3 * 12 * 40


@pytest.mark.parametrize("words", [{}, {"unique_fields": ["sku"]}, {"match_fields": ["sku"]}])
def test_lock_table(words, kind, strategy):
    """The table can be locked whatever rows are matched by."""
    rows, more = kind(Product, [{"id": 5, "sku": "a"}])
    with CaptureQueriesContext(connection) as queries:
        result = Product.objects.bulk_upsert(rows, lock="table", strategy=strategy, **words, **more)
    assert result.created == 1
    (locked,) = [q["sql"] for q in queries if q["sql"].startswith("LOCK")]
    assert locked == 'LOCK TABLE "tests_product" IN SHARE ROW EXCLUSIVE MODE'


@pytest.mark.django_db(transaction=True)
def test_lock_table_ends_with_the_call(strategy):
    """Outside of a transaction the lock is the call's own, also when it fails."""
    Product.objects.bulk_upsert([{"sku": "a"}], unique_fields=["sku"], lock="table")
    with pytest.raises(DuplicateKeysError):
        Product.objects.bulk_upsert(
            [{"sku": "a"}] * 2, unique_fields=["sku"], lock="table", strategy=strategy
        )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database "
            "WHERE mode = 'ShareRowExclusiveLock' AND datname = current_database()"
        )
        assert cursor.fetchone() == (0,)


# preserve_sequence -------------------------------------------------------------------------


def last_value(model) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [f'"{model._meta.db_table}"']
        )
        return cursor.fetchone()[0]


SEQUENCES = {
    "by default": "SELECT 1",
    "always": "ALTER TABLE tests_product ALTER COLUMN id SET GENERATED ALWAYS",
    "serial": (
        "ALTER TABLE tests_product ALTER COLUMN id DROP IDENTITY;"
        "CREATE SEQUENCE products OWNED BY tests_product.id;"
        "ALTER TABLE tests_product ALTER COLUMN id SET DEFAULT nextval('products')"
    ),
}


@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_sequence(sequence, preserve, kind, strategy):
    """Rows that are there draw no value, of a serial or an identity column, if asked so."""
    with connection.cursor() as cursor:
        cursor.execute(SEQUENCES[sequence])
    Product.objects.bulk_upsert([{"sku": f"{n}"} for n in range(10)], unique_fields=["sku"])
    before = last_value(Product)
    rows, words = kind(Product, [{"sku": f"{n}", "stock": 2} for n in range(12)])
    result = Product.objects.bulk_upsert(
        rows, unique_fields=["sku"], preserve_sequence=preserve, strategy=strategy, **words
    )
    assert counts(result) == (2, 10, 0, 0)
    assert last_value(Product) - before - 1 == (2 if preserve else 12)
    if isinstance(rows[0], Product):
        assert {row.pk for row in rows} == set(Product.objects.values_list("pk", flat=True))


def test_unchanged_rows_draw_nothing(kind, strategy):
    """Rows that are left alone draw none in any case."""
    Product.objects.bulk_upsert([{"sku": f"{n}"} for n in range(5)], unique_fields=["sku"])
    before = last_value(Product)
    rows, words = kind(Product, [{"sku": f"{n}"} for n in range(5)])
    for more in ({}, {"ignore_conflicts": True}, {"where": Q(pk__in=[])}):
        Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy, **words, **more)
    assert last_value(Product) == before + 1


def test_preserve_sequence_goes_with_everything(kind, strategy):
    """Partial and expression indexes, NULL keys, primary keys, and those of other types."""
    Offer.objects.create(sku="a", price=1)
    before = last_value(Offer)
    rows, words = kind(
        Offer,
        [
            {"sku": "a", "price": 2, "deleted": None},
            {"sku": "a", "price": 3, "deleted": NOON},
            {"sku": "b", "price": 4, "deleted": None},
        ],
    )
    words |= {"preserve_sequence": True, "strategy": strategy}
    result = Offer.objects.bulk_upsert(rows, unique_fields=["sku"], returning=["price"], **words)
    assert counts(result) == (2, 1, 0, 0)
    assert [row["price"] for row in result.rows] == [2, 3, 4]
    assert last_value(Offer) == before + 3
    words = {"preserve_sequence": True, "strategy": strategy}
    Account.objects.create(email="A")
    before = last_value(Account)
    rows = [{"email": "a", "visits": 2}, {"email": "b", "visits": 2}]
    assert counts(Account.objects.bulk_upsert(rows, constraint="account_email", **words)) == (
        1, 1, 0, 0,
    )  # fmt: skip
    assert last_value(Account) == before + 2
    rows = [{"code": None}, {"code": "x"}]
    assert NullableKey.objects.bulk_upsert(rows, unique_fields=["code"], **words).created == 2
    assert Code.objects.bulk_upsert([{"code": "a"}], **words).created == 1
    assert Token.objects.bulk_upsert([Token()], **words).created == 1
    assert City.objects.bulk_upsert([City(name="a")], **words).created == 1


def test_preserve_sequence_needs_a_match():
    """Without a match nobody knows which rows are there."""
    with pytest.raises(OptionError, match="preserve_sequence needs to know what rows are matched"):
        Product.objects.bulk_upsert([{"sku": "a"}], ignore_conflicts=True, preserve_sequence=True)
