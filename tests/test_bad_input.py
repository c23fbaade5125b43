"""Values that can't be stored: a clear error with row and field, and nothing written."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import pickle
import uuid

import pytest
from django.core.exceptions import FieldDoesNotExist
from django.db import DataError, IntegrityError, connection
from django.db.models import Count, F, Value
from django.db.models.functions import Lower

import django_bulkupsert
from django_bulkupsert import CsvRows, RowConstraintError, RowError, RowValueError
from django_bulkupsert.errors import DuplicateKeysError, UnknownFieldError, listing

from .models import Constrained, Custom, Everything, Partitioned, Product

pytestmark = pytest.mark.django_db

NUL = r"NUL \(0x00\) character"
BAD = [
    ("char", "a\0b", NUL),
    ("text", "\0", NUL),
    ("slug", "a\0", NUL),
    ("texts", ["a\0"], NUL),
    ("char", "\ud800", "lone surrogate"),
    ("text", "ok \udfff", "lone surrogate"),
    ("texts", ["\ud800"], "lone surrogate"),
    ("char", "x" * 31, "text of 31 characters, where the column takes 30"),
    ("char", "é" * 31, "text of 31 characters, where the column takes 30"),
    ("char", "x" * 30 + " ", "text of 31 characters"),
    ("slug", "x" * 51, "where the column takes 50"),
    ("email", "x" * 255, "where the column takes 254"),
    ("integer", 2**31, "integer out of the column's range, -2147483648 to 2147483647"),
    ("integer", -(2**31) - 1, "out of the column's range"),
    ("small", 2**15, "out of the column's range, -32768 to 32767"),
    ("big", 2**63, "out of the column's range"),
    ("big", 10**400, "out of the column's range"),
    ("positive_small", 2**15, "out of the column's range"),
    ("level", 2**15, "out of the column's range"),
    ("relation_id", 2**63, "out of the column's range"),
    ("relation_id", "x", "this str can't be read as the key of tests.Country, an integer"),
    ("positive", -1, "out of the column's range, 0 to 2147483647"),
    ("positive_small", -1, "out of the column's range, 0 to 32767"),
    ("positive_big", "-1", "out of the column's range, 0 to"),
    ("integer", "abc", "this str can't be read as an integer$"),
    ("integer", "99999999999", "out of the column's range"),
    ("integer", [1], "this list can't be read as an integer$"),
    ("float", "abc", "this str can't be read as a number$"),
    ("boolean", "maybe", "this str can't be read as true or false$"),
    ("date", "2026-02-30", "this str can't be read as a date$"),
    ("date", 5, "this int can't be read as a date$"),
    ("datetime", "yesterday", "this str can't be read as a date and time$"),
    ("time", "25:00", "this str can't be read as a time$"),
    ("uuid", "not-a-uuid", "this str can't be read as a UUID$"),
    ("decimal", "abc", "this str can't be read as a finite decimal number$"),
    ("decimal", decimal.Decimal("NaN"), "this Decimal can't be read as a finite decimal number$"),
    ("decimal", decimal.Decimal("sNaN"), "this Decimal can't be read as a finite decimal number$"),
    ("decimal", decimal.Decimal("Infinity"), "this Decimal can't be read as a finite"),
    ("decimal", float("nan"), "this float can't be read as a finite decimal number$"),
    ("decimal", decimal.Decimal(10) ** 15, "number of more than 14 digits before the point"),
    ("json", float("nan"), "JSON can't hold NaN or an infinity"),
    ("json", {"a": [float("inf")]}, "JSON can't hold NaN or an infinity"),
    ("json", {"a": {1, 2}}, "not JSON: Object of type set"),
    ("json", {"a": decimal.Decimal(1)}, "not JSON: Object of type Decimal"),
    ("json_encoded", {"a": float("-inf")}, "JSON can't hold NaN or an infinity"),
    ("json", {"a": "\0"}, r"unsupported Unicode escape sequence \(.*0000 cannot"),
    ("json", "\ud800", "invalid input syntax for type json"),
    ("texts", ["x" * 21], "value too long for type character varying"),
    ("integers", [2**31], "is out of range for type integer"),
    ("nested", [["a"], ["b", "c"]], "malformed array literal"),
    ("int_range", (5, 1), "range lower bound must be less than or equal"),
    ("int_range", [1], "this list can't be read as a value of IntegerRangeField$"),
    ("int_range", [], "this list can't be read as a value of IntegerRangeField$"),
    ("big_range", [None], "this list can't be read as a value of BigIntegerRangeField$"),
    ("date_range", [datetime.date.min], "this list can't be read as a value of DateRangeField$"),
    ("moment_range", (5,), "this tuple can't be read as a value of DateTimeRangeField$"),
    ("file", 7, r"the field's pre_save\(\) can't take this int$"),
    ("file", ["a"], r"the field's pre_save\(\) can't take this list$"),
    ("ip", "300.1.1.1", "invalid input syntax for type inet|can't be read as an IP address"),
    ("date", datetime.date.max, None),
]


@pytest.mark.parametrize(("field", "value", "reason"), BAD)
def test_bad_values(kind, strategy, field, value, reason):
    """The message names the row, the field and what is wrong; good rows are not written."""
    data = [{"key": i, field: None} for i in range(3)] + [{"key": 3, field: value}]
    rows, words = kind(Everything, data)
    if reason is None:  # a value that is fine
        assert Everything.objects.bulk_upsert(
            rows, unique_fields=["key"], strategy=strategy, **words
        )
        return
    with pytest.raises(RowValueError, match=reason) as caught:
        Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
    assert (caught.value.index, caught.value.field) == (3, field.removesuffix("_id"))
    assert isinstance(caught.value, DataError)
    assert isinstance(caught.value, ValueError)
    assert not Everything.objects.exists()


@pytest.mark.parametrize("error", [KeyError, AttributeError])
def test_a_field_that_cannot_take_a_value(kind, monkeypatch, error):
    """What a field's own code stumbles over is told with the row and the field."""
    field = Custom._meta.get_field("stamp")

    def stumble(instance, add):
        if instance.key == 2:
            raise error("what")
        return "stamp"

    monkeypatch.setattr(type(field), "pre_save", lambda _, instance, add: stumble(instance, add))
    rows, words = kind(Custom, [{"key": i, "stamp": "x"} for i in range(4)])
    with pytest.raises(RowValueError, match="row 2, field 'stamp': the field's pre_save") as caught:
        Custom.objects.bulk_copy(rows, **words)
    assert isinstance(caught.value.__cause__, error)


FINE = [
    ("1E-100000", "0"),
    ("-1E-100000", "0"),
    ("1E-999999999999", "0"),
    ("0E+999999999999", "0"),
    ("0E-100000", "0"),
    ("5E-7", "0.000001"),
    ("4.99E-7", "0"),
    ("-5E-7", "-0.000001"),
    ("1E+3", "1000"),
    ("0.1234565" + "0" * 17_000 + "1", "0.123457"),
    ("0.1234564" + "9" * 17_000, "0.123456"),
    ("99999999999999.9999994" + "9" * 17_000, "99999999999999.999999"),
]


@pytest.mark.parametrize("of", [decimal.Decimal, str])
def test_decimals_with_more_digits_than_the_server_reads(strategy, of):
    """They are rounded as all others are, however they travel."""
    rows = [{"key": i, "decimal": of(text)} for i, (text, _) in enumerate(FINE)]
    words = {"unique_fields": ["key"], "strategy": strategy}
    expected = [decimal.Decimal(stored) for _, stored in FINE]
    stored = Everything.objects.order_by("key").values_list("decimal", flat=True)
    Everything.objects.bulk_upsert(rows, **words)
    assert list(stored.all()) == expected
    assert Everything.objects.bulk_upsert(rows, **words).unchanged == len(rows)
    keys = dict(Everything.objects.values_list("key", "pk"))
    Everything.objects.update(decimal=None)
    objs = [Everything(pk=keys[row["key"]], **row) for row in rows]
    Everything.objects.bulk_update(objs, ["decimal"], strategy=strategy)
    assert list(stored.all()) == expected
    Everything.objects.all().delete()
    assert Everything.objects.bulk_copy(rows) == len(rows)
    assert list(stored.all()) == expected


@pytest.mark.parametrize("of", [decimal.Decimal, str])
@pytest.mark.parametrize("text", ["1E+100000", "-1E+14", "1E+999999999999"])
def test_decimals_that_are_too_big(strategy, of, text):
    """Those in the notation of science are refused as others are."""
    rows = [{"key": 1, "decimal": of("1E-3")}, {"key": 2, "decimal": of(text)}]
    for write in (
        lambda: Everything.objects.bulk_upsert(rows, strategy=strategy),
        lambda: Everything.objects.bulk_copy(rows),
    ):
        with pytest.raises(RowValueError, match="row 1, field 'decimal': number of more than 14"):
            write()


@pytest.mark.parametrize("field", ["char", "text", "texts", "json", "integer"])
def test_messages_do_not_hold_the_value(strategy, field):
    """What goes to a log does not hold what was in the row."""
    secret = "swordfish"
    value = {"char": secret * 9, "texts": [secret * 9], "json": {secret: {1}}}.get(
        field, secret + "\0"
    )
    with pytest.raises(RowValueError) as caught:
        Everything.objects.bulk_upsert(
            [{"key": 1, field: value}], unique_fields=["key"], strategy=strategy
        )
    assert secret not in str(caught.value)


def test_far_rows(strategy):
    """The index counts through chunks, and through COPY's own lines."""
    rows = [{"key": i, "char": "a", "texts": ["a"]} for i in range(6_000)]
    for field, value in [("char", "x" * 31), ("texts", ["x" * 21])]:
        bad = [dict(row) for row in rows]
        bad[5_500][field] = value
        with pytest.raises(RowValueError) as caught:
            Everything.objects.bulk_upsert(iter(bad), unique_fields=["key"], strategy=strategy)
        assert (caught.value.index, caught.value.field) == (5_500, field)
    assert not Everything.objects.exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (F("char"), "reads a column, such as F"),
        (Lower("char"), "reads a column"),
        (Count("*"), "an aggregate or a window expression"),
    ],
)
def test_expressions_that_cannot_be_inserted(strategy, value, reason):
    """An expression that needs a stored row is refused."""
    if strategy == "unnest":
        pytest.skip("unnest takes no expression at all")
    with pytest.raises(RowValueError, match=reason):
        Everything.objects.bulk_upsert(
            [{"key": 1, "char": value}], unique_fields=["key"], strategy=strategy
        )


def test_expressions_travel(strategy):
    """An SQL expression in some rows of a column is computed by the server."""
    rows = [
        {"key": 1, "char": "plain"},
        {"key": 2, "char": Lower(Value("SHOUT"))},
        {"key": 3, "char": None},
    ]
    if strategy == "unnest":
        strategy = None
    result = Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    assert result.created == 3
    again = Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    assert again.unchanged == 3
    assert list(Everything.objects.order_by("key").values_list("char", flat=True)) == [
        "plain",
        "shout",
        None,
    ]


def test_expression_far_in_a_stream():
    """An expression late in a long generator still works: its chunk goes another way."""
    rows = ({"key": i, "char": Lower(Value("X")) if i == 9_000 else "y"} for i in range(10_000))
    assert Everything.objects.bulk_upsert(rows, unique_fields=["key"]).created == 10_000
    assert Everything.objects.get(key=9_000).char == "x"


# Constraints -------------------------------------------------------------------------------


@pytest.mark.parametrize("nullable", [None, 1])
def test_null_in_a_partition(kind, strategy, tables, nullable):
    """The server names the partition; the row is found all the same."""
    tables(
        "CREATE TABLE tests_partitioned (id int PRIMARY KEY, value int NOT NULL) "
        "PARTITION BY RANGE (id)"
    )
    tables("CREATE TABLE some_part PARTITION OF tests_partitioned FOR VALUES FROM (0) TO (9)")
    given = [{"id": 1, "value": nullable}, {"id": 2, "value": None}]
    rows, words = kind(Partitioned, given)
    index = 0 if nullable is None else 1
    with pytest.raises(RowConstraintError, match=f"row {index}, field 'value': None, where"):
        Partitioned.objects.bulk_upsert(rows, strategy=strategy, **words)
    Partitioned.objects.bulk_upsert([{"id": 1, "value": 5}, {"id": 2, "value": 6}])
    with pytest.raises(RowConstraintError, match=f"row {index}, field 'value': None, where"):
        Partitioned.objects.bulk_update(
            [Partitioned(**row) for row in given], ["value"], strategy=strategy
        )


def test_null_in_a_table_of_a_triggers(kind, strategy, tables):
    """A trigger's own write is no row's fault, whatever the column there is called."""
    tables("CREATE TABLE log (price numeric NOT NULL)")
    tables(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO log VALUES (NEW.price); RETURN NEW; END $$"
    )
    tables(
        "CREATE TRIGGER note AFTER INSERT OR UPDATE ON tests_product "
        "FOR EACH ROW EXECUTE FUNCTION note()"
    )
    rows, words = kind(Product, [{"sku": "a", "price": 1}, {"sku": "b", "price": None}])
    with pytest.raises(IntegrityError) as caught:
        Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy, **words)
    assert not isinstance(caught.value, RowError)


def test_null_where_none_may_be(kind, strategy):
    """The row that gave NULL is named."""
    data = [{"sku": f"{i}", "name": "a"} for i in range(4)]
    data[2]["name"] = None
    rows, words = kind(Product, data)
    with pytest.raises(RowConstraintError, match="row 2, field 'name': None") as caught:
        Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy, **words)
    assert isinstance(caught.value, IntegrityError)
    assert not Product.objects.exists()


def test_column_that_is_not_given(strategy):
    """A new row that lacks a required column is refused by the column's name."""
    with pytest.raises(RowConstraintError, match="field 'day': not given"):
        from .models import Reading

        Reading.objects.bulk_upsert([{"device": "a"}], strategy=strategy)


def test_check_constraint(kind, strategy):
    """A CHECK is Django's IntegrityError, and nothing is written."""
    rows, words = kind(Constrained, [{"a": 1, "b": 1, "value": 1}, {"a": 2, "b": 2, "value": 1000}])
    with pytest.raises(IntegrityError, match="below_1000"):
        Constrained.objects.bulk_upsert(rows, unique_fields=["a", "b"], strategy=strategy, **words)
    assert not Constrained.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")  # the connection is usable


# Messages ----------------------------------------------------------------------------------


def test_row_errors_can_be_pickled():
    """A row error survives the way out of a worker process."""
    error = RowValueError(5, "name", "too long")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.index, copy.field, str(copy)) == (5, "name", "row 5, field 'name': too long")


def test_duplicate_errors_can_be_pickled():
    """So does the one that lists keys."""
    error = DuplicateKeysError(("a",), [("1",)], [(0, 1)])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_every_error_is_in_the_tree():
    """Each error is a BulkUpsertError, and is the class that Django's users catch."""
    assert issubclass(UnknownFieldError, FieldDoesNotExist)
    for name in django_bulkupsert.__all__:
        item = getattr(django_bulkupsert, name)
        if isinstance(item, type) and issubclass(item, Exception):
            assert issubclass(item, django_bulkupsert.BulkUpsertError)
    assert issubclass(RowError, django_bulkupsert.BulkUpsertError)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        ([1, 2, 3], "1, 2 and 3"),
        (range(12), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"),
    ],
)
def test_listing(values, text):
    """Lists in messages read well."""
    assert listing(values) == text


def test_uuid_of_wrong_type(strategy):
    """A value of a type that Django converts is converted."""
    Everything.objects.bulk_upsert(
        [{"key": "5", "uuid": str(uuid.UUID(int=7)), "integer": "6", "float": 1}],
        unique_fields=["key"],
        strategy=strategy,
    )
    row = Everything.objects.get()
    assert (row.key, row.uuid, row.integer, row.float) == (5, uuid.UUID(int=7), 6, 1.0)


@pytest.mark.parametrize("count", [10, 6_000])
@pytest.mark.parametrize("kind", ["list", "generator", "instances", "file"])
def test_the_first_bad_row_is_told(count, kind, strategy):
    """Whichever of its columns is wrong, and though rows are read column by column."""
    given = [{"sku": f"S{n}", "name": "x", "stock": n, "price": 1} for n in range(count)]
    given[count - 1]["sku"] = "x" * 99
    given[count - 2]["name"] = "x" * 999
    given[count - 3]["price"] = "dime"
    given[count - 4]["stock"] = "three"
    if kind == "file":
        out = io.StringIO()
        writer = csv.DictWriter(out, list(given[0]))
        writer.writeheader()
        writer.writerows(given)
        given = CsvRows(io.StringIO(out.getvalue()))
    elif kind == "instances":
        given = [Product(**row) for row in given]
    elif kind == "generator":
        given = iter(given)
    with pytest.raises(RowValueError, match=rf"row {count - 4}\b.*'stock'"):
        Product.objects.bulk_upsert(given, unique_fields=["sku"], strategy=strategy)
    assert not Product.objects.exists()
