"""What rows are matched by, and what is refused before any SQL."""

from __future__ import annotations

import datetime

import django
import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import MatchError, OptionError, UnknownFieldError

from .models import (
    Code,
    Constrained,
    NullableKey,
    Product,
    Reading,
    Token,
)

pytestmark = pytest.mark.django_db
DAY = datetime.date(2026, 5, 1)


def test_unique_together_in_any_order(kind, strategy):
    """A unique_together is a match, whatever the order of its names."""
    rows, words = kind(Reading, [{"device": "a", "day": DAY, "watts": 1.0}])
    for fields, status in [(["device", "day"], "created"), (["day", "device"], "unchanged")]:
        result = Reading.objects.bulk_upsert(rows, unique_fields=fields, strategy=strategy, **words)
        assert getattr(result, status) == 1


def test_unique_constraint(kind, strategy):
    """The fields of a UniqueConstraint are a match."""
    rows, words = kind(Constrained, [{"a": 1, "b": 2, "value": 3}])
    for status in ("created", "unchanged"):
        result = Constrained.objects.bulk_upsert(
            rows, unique_fields=["a", "b"], strategy=strategy, **words
        )
        assert getattr(result, status) == 1


@pytest.mark.parametrize("name", ["pk", "id", "code"])
def test_primary_key_by_name(name, strategy):
    """The primary key can be named as the match."""
    model = Code if name == "code" else Product
    if model is Code:
        rows = [{"code": "a", "value": 1}]
    else:
        rows = [{"id": 5, "sku": "a"}]
    result = model.objects.bulk_upsert(rows, unique_fields=[name], strategy=strategy)
    assert result.created == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (["value"], r"covers exactly \(value\); there is \(id\), 'plain' \(a, b\), 'partial'"),
        (["a"], r"covers exactly \(a\)"),
        (["a", "b", "c"], r"covers exactly \(a, b, c\)"),
        (["d"], "'deferred' is deferrable, which ON CONFLICT can't use"),
        (["e"], r"covers exactly \(e\)"),
        ([], "unique_fields is empty"),
    ],
)
def test_a_match_that_nothing_covers(fields, reason):
    """A match that no unique constraint covers is refused before any SQL, with the choices."""
    with (
        CaptureQueriesContext(connection) as queries,
        pytest.raises(MatchError, match=reason) as caught,
    ):
        Constrained.objects.bulk_upsert([{"a": 1, "b": 1}], unique_fields=fields)
    assert len(queries) == 0
    assert isinstance(caught.value, ValueError)


def test_no_row_is_read_before_the_options_are_checked():
    """A generator is not started by a call that can't be."""
    started = []

    def rows():
        started.append(True)
        yield {"sku": "a"}

    for words in ({"unique_fields": ["name"]}, {"update_fields": ["nope"]}, {"strategy": "x"}):
        with pytest.raises(OptionError):
            Product.objects.bulk_upsert(rows(), **words)
    assert not started


def test_match_that_the_rows_do_not_give():
    """A match needs its fields in the rows."""
    with pytest.raises(MatchError, match="'sku', which the rows don't give"):
        Product.objects.bulk_upsert([{"name": "a"}], unique_fields=["sku"])


@pytest.mark.parametrize(
    ("words", "error", "reason"),
    [
        ({"unique_fields": "sku"}, OptionError, r"got the string 'sku'; pass \['sku'\]"),
        ({"unique_fields": ["sku", "sku"]}, OptionError, "'sku' twice"),
        ({"unique_fields": ["skuu"]}, UnknownFieldError, "did you mean sku"),
        (
            {"unique_fields": [5]},
            UnknownFieldError,
            "a name of type int, where the name",
        ),
        ({"update_fields": ["nmae"]}, UnknownFieldError, "did you mean name"),
        ({"update_fields": ["id"]}, OptionError, "the primary key, which an update keeps"),
        ({"update_fields": ["pk"]}, OptionError, "the primary key, which an update keeps"),
        ({"update_fields": ["showroomproduct"]}, UnknownFieldError, "is no column"),
        ({"update_fields": ["price"]}, OptionError, "'price', which the rows don't give"),
        (
            {"update_fields": ["sku"], "unique_fields": ["sku"]},
            OptionError,
            "by which rows are matched",
        ),
        (
            {"update_fields": ["name"], "ignore_conflicts": True},
            OptionError,
            "mutually exclusive",
        ),
        ({"strategy": "fast"}, OptionError, "'values', 'unnest' and 'copy', not 'fast'"),
        ({"fields": []}, OptionError, "fields is empty"),
        ({"fields": ["nmae"]}, UnknownFieldError, "did you mean name"),
    ],
)
def test_options_that_cannot_be_taken(words, error, reason):
    """A wrong keyword is refused before any SQL, saying what was got and what would do."""
    with CaptureQueriesContext(connection) as queries, pytest.raises(error, match=reason):
        Product.objects.bulk_upsert([{"sku": "a", "name": "b"}], **words)
    assert len(queries) == 0


# By primary key ----------------------------------------------------------------------------


def test_partition_by_primary_key(shape, strategy):
    """Rows with a primary key are updated or inserted, rows without are inserted."""
    one = Product.objects.create(sku="one")
    rows = [
        Product(sku="new"),
        Product(pk=one.pk, sku="one", name="changed"),
        Product(pk=one.pk + 1000, sku="chosen"),
        Product(sku="newer"),
    ]
    result = Product.objects.bulk_upsert(shape(rows), strategy=strategy)
    assert (result.created, result.updated, result.unchanged) == (3, 1, 0)
    for row in rows:
        assert Product.objects.get(sku=row.sku).pk == row.pk
    assert Product.objects.get(pk=one.pk).name == "changed"


def test_partition_of_mappings(shape, strategy):
    """Mappings whose primary key is None are inserts."""
    one = Product.objects.create(sku="one")
    rows = [{"id": None, "sku": "a"}, {"id": one.pk, "sku": "uno"}, {"id": None, "sku": "b"}]
    result = Product.objects.bulk_upsert(shape(rows), strategy=strategy)
    assert (result.created, result.updated) == (2, 1)
    assert set(Product.objects.values_list("sku", flat=True)) == {"a", "uno", "b"}


def test_rows_without_primary_key_never_update(strategy):
    """A key that the sequence draws but that is taken is an error, not an update."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('tests_product', 'id'))")
        last = cursor.fetchone()[0]
    Product.objects.create(pk=last + 1, sku="taken", name="kept")
    for rows in ([{"id": None, "sku": "new"}, {"id": 1, "sku": "other"}], [Product(sku="new")]):
        with pytest.raises(IntegrityError):
            Product.objects.bulk_upsert(rows, strategy=strategy)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence('tests_product', 'id'), %s)", [last]
            )
    assert Product.objects.get().name == "kept"


def test_mixed_primary_keys_with_a_match(strategy):
    """Matched by another key, a new row keeps the primary key it has, or gets one."""
    stored = Product.objects.create(sku="stored")
    rows = [
        Product(sku="stored", name="x"),
        Product(pk=stored.pk + 500, sku="chosen"),
        Product(sku="drawn"),
    ]
    result = Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert (result.created, result.updated) == (2, 1)
    assert rows[0].pk == stored.pk
    assert rows[1].pk == stored.pk + 500 == Product.objects.get(sku="chosen").pk
    assert rows[2].pk == Product.objects.get(sku="drawn").pk


def test_uuid_rows_keep_the_stored_key(strategy):
    """An update never writes the primary key, though the instance brought another."""
    stored = Token.objects.create(name="a")
    row = Token(name="a", uses=1)
    Token.objects.bulk_upsert([row], unique_fields=["name"], strategy=strategy)
    assert row.pk == stored.pk == Token.objects.get().pk


# NULL in the key ---------------------------------------------------------------------------


def test_null_keys_never_match(kind, strategy):
    """Under NULLS DISTINCT a row whose key is NULL is new, each time, and no duplicate."""
    data = [{"code": None, "value": 1}, {"code": None, "value": 1}, {"code": "a", "value": 1}]
    rows, words = kind(NullableKey, data)
    result = NullableKey.objects.bulk_upsert(
        rows, unique_fields=["code"], strategy=strategy, **words
    )
    assert result.created == 3
    rows, words = kind(NullableKey, data)
    result = NullableKey.objects.bulk_upsert(
        rows, unique_fields=["code"], strategy=strategy, **words
    )
    assert (result.created, result.unchanged) == (2, 1)


def test_null_keys_get_their_primary_keys(strategy):
    """Instances without a key get the primary key of their own row, each another."""
    stored = NullableKey.objects.create(code="c", value=1)
    rows = [NullableKey(value=i) for i in range(5)]
    rows += [NullableKey(code="c", value=99), NullableKey(code="d", value=7)]
    result = NullableKey.objects.bulk_upsert(rows, unique_fields=["code"], strategy=strategy)
    assert (result.created, result.updated) == (6, 1)
    for row in rows:
        assert NullableKey.objects.get(pk=row.pk).value == row.value
    assert rows[5].pk == stored.pk
    again = [NullableKey(code="c", value=99), NullableKey(code="c2"), NullableKey(value=50)]
    result = NullableKey.objects.bulk_upsert(again, unique_fields=["code"], strategy=strategy)
    assert (result.created, result.unchanged) == (2, 1)
    assert again[0].pk == stored.pk
    assert NullableKey.objects.get(pk=again[2].pk).value == 50


@pytest.mark.skipif(django.VERSION < (5, 0), reason="nulls_distinct is new in Django 5.0")
def test_nulls_that_are_one_key(kind, strategy):
    """With nulls_distinct=False a NULL is a key like any other."""
    from .models import NullsTogether

    if connection.pg_version < 150000:
        pytest.skip("NULLS NOT DISTINCT is new in PostgreSQL 15")
    data = [{"a": None, "b": 1, "value": 1}, {"a": None, "b": None, "value": 1}]
    for status in ("created", "unchanged"):
        rows, words = kind(NullsTogether, data)
        result = NullsTogether.objects.bulk_upsert(
            rows, unique_fields=["a", "b"], strategy=strategy, **words
        )
        assert getattr(result, status) == 2
