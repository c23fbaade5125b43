"""What is written, what is left alone, and what the result says of it."""

from __future__ import annotations

import datetime
import decimal

import pytest
from django.db import connection

from django_bulkupsert import DuplicateKeysError, UpsertResult

from .models import (
    ByQuerySet,
    Everything,
    Partitioned,
    Product,
    Reading,
)

pytestmark = pytest.mark.django_db


def xmins(model) -> dict:
    """Return which transaction wrote each row."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, xmin::text, ctid::text FROM {model._meta.db_table}")
        return {pk: rest for pk, *rest in cursor.fetchall()}


def test_update_fields_are_what_an_update_writes(kind, strategy):
    """Only the named fields are updated; an insert still writes them all."""
    Product.objects.create(sku="a", name="old", stock=1)
    rows, words = kind(
        Product, [{"sku": "a", "name": "new", "stock": 2}, {"sku": "b", "name": "n", "stock": 3}]
    )
    result = Product.objects.bulk_upsert(
        rows, unique_fields=["sku"], update_fields=["stock"], strategy=strategy, **words
    )
    assert (result.created, result.updated) == (1, 1)
    assert list(Product.objects.order_by("sku").values_list("name", "stock")) == [
        ("old", 2),
        ("n", 3),
    ]


def test_update_fields_by_attname(strategy):
    """update_fields may be any iterable of names."""
    Product.objects.create(sku="a", stock=1)
    result = Product.objects.bulk_upsert(
        [{"sku": "a", "stock": 2}],
        unique_fields=(name for name in ["sku"]),
        update_fields=(name for name in ["stock"]),
        strategy=strategy,
    )
    assert result.updated == 1


def test_no_update_fields(kind, strategy):
    """An empty update_fields inserts what is new and changes nothing that is there."""
    Product.objects.create(sku="a", name="old")
    rows, words = kind(Product, [{"sku": "a", "name": "new"}, {"sku": "b", "name": "new"}])
    result = Product.objects.bulk_upsert(
        rows, unique_fields=["sku"], update_fields=[], strategy=strategy, **words
    )
    assert (result.created, result.unchanged) == (1, 1)
    assert Product.objects.get(sku="a").name == "old"


def test_rows_of_a_key_alone(kind, strategy):
    """Rows that give nothing but the key insert what is missing."""
    Product.objects.create(sku="a")
    rows, words = [{"sku": "a"}, {"sku": "b"}], {}
    result = Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy, **words)
    assert (result.created, result.unchanged) == (1, 1)


def test_unchanged_rows_are_not_written(kind, strategy):
    """A row whose values would not change keeps its version: no write, no lock."""
    data = [{"sku": f"{i}", "stock": i} for i in range(10)]
    Product.objects.bulk_upsert(data, unique_fields=["sku"])
    before = xmins(Product)
    data[3]["stock"] = 99
    rows, words = kind(Product, data)
    result = Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy, **words)
    assert (result.updated, result.unchanged) == (1, 9)
    after = xmins(Product)
    assert sum(before[pk] != after[pk] for pk in before) == 1


def test_every_row_is_written_if_asked(kind, strategy):
    """skip_unchanged=False writes every stored row."""
    data = [{"sku": f"{i}", "stock": i} for i in range(10)]
    Product.objects.bulk_upsert(data, unique_fields=["sku"])
    before = xmins(Product)
    rows, words = kind(Product, data)
    result = Product.objects.bulk_upsert(
        rows, unique_fields=["sku"], skip_unchanged=False, strategy=strategy, **words
    )
    assert result.updated == 10
    after = xmins(Product)
    assert all(before[pk] != after[pk] for pk in before)


def test_unchanged_rows_draw_no_sequence_value(strategy):
    """A run in which nothing changed leaves the sequence where it was."""
    data = [{"sku": f"{i}"} for i in range(10)]
    Product.objects.bulk_upsert(data, unique_fields=["sku"])

    def last():
        with connection.cursor() as cursor:
            cursor.execute("SELECT last_value FROM tests_product_id_seq")
            return cursor.fetchone()

    before = last()
    for rows in (data, [Product(**row) for row in data]):
        Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
        Product.objects.bulk_upsert(
            rows, unique_fields=["sku"], ignore_conflicts=True, strategy=strategy
        )
    assert last() == before


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("json", {"a": 1}, {"a": 2}),
        ("json", None, {}),
        ("char", "a", "A"),
        ("float", 0.0, -0.0),
        ("decimal", decimal.Decimal("1"), decimal.Decimal("1.000001")),
        ("duration", datetime.timedelta(days=1), datetime.timedelta(hours=25)),
        ("texts", ["a", None], ["a", ""]),
        ("binary", b"", b"\0"),
    ],
)
def test_what_counts_as_a_change(strategy, field, one, other):
    """Any difference in what is stored is a change, and the same value is none."""
    Everything.objects.bulk_upsert([{"key": 1, field: one}], unique_fields=["key"])
    for value, status in [(one, "unchanged"), (other, "updated"), (other, "unchanged")]:
        result = Everything.objects.bulk_upsert(
            [{"key": 1, field: value}], unique_fields=["key"], strategy=strategy
        )
        assert getattr(result, status) == 1


# Ignoring conflicts ------------------------------------------------------------------------


def test_ignore_conflicts(kind, shape, strategy):
    """Stored rows are left alone and counted as skipped."""
    Product.objects.create(sku="a", name="old")
    rows, words = kind(Product, [{"sku": "a", "name": "new"}, {"sku": "b", "name": "new"}])
    result = Product.objects.bulk_upsert(
        shape(rows), unique_fields=["sku"], ignore_conflicts=True, strategy=strategy, **words
    )
    assert result == UpsertResult(created=1, skipped=1)
    assert dict(Product.objects.values_list("sku", "name")) == {"a": "old", "b": "new"}


def test_ignored_instances_get_their_primary_key(strategy):
    """An ignored instance knows the primary key of the row that was there."""
    stored = Product.objects.create(sku="a")
    rows = [Product(sku="a"), Product(sku="b")]
    Product.objects.bulk_upsert(
        rows, unique_fields=["sku"], ignore_conflicts=True, strategy=strategy
    )
    assert rows[0].pk == stored.pk
    assert rows[1].pk == Product.objects.get(sku="b").pk
    assert not any(row._state.adding for row in rows)


def test_ignore_conflicts_with_any_constraint(kind, strategy):
    """Without a match, a conflict with any unique constraint holds a row back."""
    Product.objects.create(pk=5000, sku="a", name="old")
    rows, words = kind(
        Product,
        [
            {"id": 5000, "sku": "x"},
            {"id": 5001, "sku": "a"},
            {"id": 5002, "sku": "new"},
        ],
    )
    result = Product.objects.bulk_upsert(rows, ignore_conflicts=True, strategy=strategy, **words)
    assert result == UpsertResult(created=1, skipped=2)
    assert set(Product.objects.values_list("id", "sku")) == {(5000, "a"), (5002, "new")}


def test_ignore_conflicts_of_instances_without_keys(strategy):
    """Created instances get their key; of a held back one, nothing is claimed."""
    Product.objects.create(sku="a")
    rows = [Product(sku="new"), Product(sku="a"), Product(pk=7000, sku="newer")]
    result = Product.objects.bulk_upsert(rows, ignore_conflicts=True, strategy=strategy)
    assert result == UpsertResult(created=2, skipped=1)
    assert rows[0].pk == Product.objects.get(sku="new").pk
    assert rows[1].pk is None
    assert rows[1]._state.adding
    assert rows[2].pk == 7000


# Duplicates --------------------------------------------------------------------------------


def test_duplicates_are_refused(kind, shape, strategy):
    """A key that stands twice is refused, with the key and its rows; nothing is written."""
    data = [{"sku": "a"}, {"sku": "b"}, {"sku": "c"}, {"sku": "b"}, {"sku": "a"}, {"sku": "b"}]
    rows, words = kind(Product, data)
    with pytest.raises(DuplicateKeysError) as caught:
        Product.objects.bulk_upsert(shape(rows), unique_fields=["sku"], strategy=strategy, **words)
    assert caught.value.fields == ("sku",)
    assert caught.value.keys == [("a",), ("b",)]
    assert caught.value.indexes == [(0, 4), (1, 3, 5)]
    assert "(sku) = (a) in rows 0 and 4; (sku) = (b) in rows 1, 3 and 5" in str(caught.value)
    assert not Product.objects.exists()


@pytest.mark.parametrize("words", [{}, {"ignore_conflicts": True}, {"skip_unchanged": False}])
def test_duplicates_of_stored_rows(kind, strategy, words):
    """Duplicates are refused too where the stored row already holds the same values."""
    data = [{"sku": "a", "stock": 1}]
    Product.objects.bulk_upsert(data, unique_fields=["sku"])
    for stock in (1, 2):
        rows, more = kind(Product, [*data, {"sku": "a", "stock": stock}])
        with pytest.raises(DuplicateKeysError):
            Product.objects.bulk_upsert(
                rows, unique_fields=["sku"], strategy=strategy, **words, **more
            )
    assert Product.objects.get().stock == 1


def test_duplicates_are_what_the_server_calls_equal(strategy):
    """Equality is the column's: two texts of one date are one key."""
    with pytest.raises(DuplicateKeysError) as caught:
        Reading.objects.bulk_upsert(
            [
                {"device": "a", "day": "2026-05-01"},
                {"device": "a", "day": datetime.date(2026, 5, 1)},
            ],
            unique_fields=["device", "day"],
            strategy=strategy,
        )
    assert caught.value.keys == [("a", "2026-05-01")]


def test_duplicates_are_cut_at_ten(strategy):
    """A long list of duplicates is cut, and says so."""
    rows = [{"sku": f"{i:02}"} for i in range(15)] * 2
    with pytest.raises(DuplicateKeysError, match="and more") as caught:
        Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert len(caught.value.keys) == 10


def test_duplicate_primary_keys(strategy):
    """Rows matched by primary key are checked too; those without one are not."""
    rows = [{"id": 1, "sku": "a"}, {"id": None, "sku": "b"}, {"id": 1, "sku": "c"}]
    with pytest.raises(DuplicateKeysError, match=r"\(id\) = \(1\) in rows 0 and 2"):
        Product.objects.bulk_upsert(rows, strategy=strategy)
    assert not Product.objects.exists()


# The result --------------------------------------------------------------------------------


def test_counts_add_up_to_the_input(kind, shape, strategy):
    """Created + updated + unchanged + skipped is the number of rows."""
    data = [{"sku": f"{i:03}", "stock": i} for i in range(60)]
    Product.objects.bulk_upsert(data[:40], unique_fields=["sku"])
    for row in data[:10]:
        row["stock"] += 1
    rows, words = kind(Product, data)
    result = Product.objects.bulk_upsert(
        shape(rows), unique_fields=["sku"], strategy=strategy, **words
    )
    assert result == UpsertResult(created=20, updated=10, unchanged=30)
    assert result.total == 60
    assert result.written == 30
    assert str(result) == "20 created, 10 updated, 30 unchanged, 0 skipped"


def test_instances_come_back_stored(strategy):
    """Every instance has its own row's pk and the state of a stored object; order is free."""
    Product.objects.bulk_create([Product(sku=f"{i:03}", stock=i) for i in range(0, 90, 3)])
    rows = [Product(sku=f"{i:03}", stock=i if i % 2 else -i) for i in reversed(range(90))]
    result = Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert result == UpsertResult(created=60, updated=14, unchanged=16)
    stored = dict(Product.objects.values_list("sku", "id"))
    assert {row.sku: row.pk for row in rows} == stored
    assert {(row._state.adding, row._state.db) for row in rows} == {(False, "default")}


def test_refused_instances_are_left_as_they_were(strategy):
    """After an error no instance claims to be stored."""
    rows = [Product(sku="a"), Product(sku="a")]
    with pytest.raises(DuplicateKeysError):
        Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert all(row.pk is None and row._state.adding for row in rows)


def test_trigger_that_swallows_a_row(kind, strategy, tables):
    """A row that a trigger drops is skipped, not unchanged and not created."""
    tables(
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.stock = 13 THEN RETURN NULL; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER swallow BEFORE INSERT ON tests_product FOR EACH ROW "
        "EXECUTE FUNCTION swallow()"
    )
    Product.objects.create(sku="same", stock=1)
    rows, words = kind(
        Product,
        [{"sku": "a", "stock": 13}, {"sku": "b", "stock": 1}, {"sku": "same", "stock": 1}],
    )
    result = Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy, **words)
    assert result == UpsertResult(created=1, unchanged=1, skipped=1)


def test_partitioned_table(kind, strategy, tables):
    """Created and updated are told apart on a partitioned table too."""
    tables(
        "CREATE TABLE tests_partitioned (id int PRIMARY KEY, value int) PARTITION BY RANGE (id);"
        "CREATE TABLE part_a PARTITION OF tests_partitioned FOR VALUES FROM (0) TO (9);"
        "CREATE TABLE part_b PARTITION OF tests_partitioned FOR VALUES FROM (9) TO (99)"
    )
    Partitioned.objects.create(id=1, value=1)
    Partitioned.objects.create(id=10, value=1)
    rows, words = kind(
        Partitioned,
        [{"id": 1, "value": 2}, {"id": 10, "value": 1}, {"id": 2, "value": 0}],
    )
    result = Partitioned.objects.bulk_upsert(rows, strategy=strategy, **words)
    assert result == UpsertResult(created=1, updated=1, unchanged=1)


def test_results_add_up():
    """Results of several calls can be summed."""
    total = UpsertResult(1, 2, 3, 4) + UpsertResult(10, 20, 30, 40)
    assert total == UpsertResult(11, 22, 33, 44)
    with pytest.raises(TypeError):
        total + 5


# Choice, manager, queryset -----------------------------------------------------------------


def test_choice_by_number_of_rows(django_assert_num_queries):
    """A small input is one statement; a long one is staged."""
    with django_assert_num_queries(3) as queries:  # a savepoint around it, in this test
        Product.objects.bulk_upsert([{"sku": "a"}, {"sku": "b"}], unique_fields=["sku"])
    assert "unnest" in queries[1]["sql"]
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        rows = ({"sku": f"{i}"} for i in range(12_001))
        assert Product.objects.bulk_upsert(rows, unique_fields=["sku"]).created == 12_001
    sql = [query["sql"] for query in queries]
    assert sum("COPY" in text for text in sql) == 3
    assert not any("unnest" in text for text in sql)


def test_queryset_of_ones_own(kind, strategy):
    """The queryset class works with as_manager(); a filter on it plays no part."""
    rows, words = kind(ByQuerySet, [{"key": 1}, {"key": 2}])
    result = ByQuerySet.objects.filter(deleted=True).bulk_upsert(
        rows, unique_fields=["key"], strategy=strategy, **words
    )
    assert result.created == 2


def test_long_texts_and_many_columns(strategy):
    """Chunks of megabytes travel whole."""
    rows = [{"key": i, "text": "é\\\n\t" * 50_000} for i in range(5)]
    Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    assert set(Everything.objects.values_list("text", flat=True)) == {rows[0]["text"]}


def test_nullable_column_all_null(kind, strategy):
    """A column without one value has its type all the same."""
    names = [f.name for f in Everything._meta.concrete_fields if f.name not in ("id", "key")]
    rows, words = kind(Everything, [{"key": i, **dict.fromkeys(names)} for i in range(3)])
    for status in ("created", "unchanged"):
        result = Everything.objects.bulk_upsert(
            rows, unique_fields=["key"], strategy=strategy, **words
        )
        assert getattr(result, status) == 3
