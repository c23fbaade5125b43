"""Data frames and tables as rows, by Arrow's C stream interface."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import sys
import time
import uuid

import django
import pytest
from asgiref.sync import async_to_sync
from django.db import connection, models
from django.db.models import F, JSONField, Q
from django.db.models.functions import Upper
from django.test.utils import isolate_apps
from hypothesis import given, settings
from hypothesis import strategies as st

from django_bulkupsert import (
    BulkUpsertManager,
    DuplicateKeysError,
    Excluded,
    OptionError,
    RowConstraintError,
    RowFieldsError,
    RowValueError,
    UnknownFieldError,
)
from django_bulkupsert.arrow import source as sourcing
from django_bulkupsert.arrow.source import ArrowSource, fitting
from django_bulkupsert.arrow.values import ArrowValues
from django_bulkupsert.columns import Column
from django_bulkupsert.encode import Fault
from django_bulkupsert.engine import progress as telling
from django_bulkupsert.sources import ROW_BYTES, VALUE_BYTES

from . import strategies
from .conftest import STRATEGIES, counts
from .models import (
    City,
    Clocks,
    Code,
    Country,
    Custom,
    Defaults,
    Everything,
    Mayor,
    Product,
    Reading,
    ShowroomProduct,
    Token,
)
from .test_fields import EXAMPLES, no_time_zones, thorough, written  # noqa: F401

pa = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.django_db

UTC = datetime.timezone.utc


def reader(table, most=None):
    """A stream of the table's rows, so many in a batch at most."""
    return pa.RecordBatchReader.from_batches(table.schema, iter(table.to_batches(most)))


def polars(table):
    return pytest.importorskip("polars").from_arrow(table)


def pandas(table):
    pytest.importorskip("pandas")
    return table.to_pandas()


FORMS = {
    "table": lambda table: table,
    "batch": lambda table: table.combine_chunks().to_batches()[0],
    "reader": reader,
    "small batches": lambda table: reader(table, 3),
    "polars": polars,
    "pandas": pandas,
}


@pytest.fixture(params=FORMS)
def form(request):
    """What gives the rows of a table, in each form."""
    return FORMS[request.param]


# Each type beside the same values in mappings ------------------------------------------------

#: A type of Arrow's for each field of Everything, where there is one.
TYPES = {
    "key": pa.int64(),
    "big": pa.int64(),
    "binary": pa.binary(),
    "boolean": pa.bool_(),
    "char": pa.string(),
    "mood": pa.dictionary(pa.int8(), pa.string()),
    "date": pa.date32(),
    "datetime": pa.timestamp("us", "Asia/Kolkata"),
    "decimal": pa.decimal128(20, 6),
    "duration": pa.duration("us"),
    "email": pa.large_string(),
    "file": pa.string(),
    "file_path": pa.string(),
    "float": pa.float64(),
    "integer": pa.int32(),
    "level": pa.int8(),
    "ip": pa.string(),
    "json": pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())}),
    "positive": pa.uint32(),
    "positive_big": pa.uint64(),
    "positive_small": pa.uint16(),
    "slug": pa.string(),
    "small": pa.int16(),
    "text": pa.large_string(),
    "time": pa.time64("us"),
    "url": pa.string(),
    "uuid": pa.string(),
    "integers": pa.list_(pa.int32()),
    "texts": pa.list_(pa.string()),
    "nested": pa.list_(pa.list_(pa.string())),
    "moments": pa.list_(pa.timestamp("us", "UTC")),
    "decimals": pa.list_(pa.decimal128(20, 6)),
}
SCHEMA = pa.schema(TYPES)
SPECIAL = {
    "json": st.fixed_dictionaries(
        {"a": st.none() | st.integers(-(2**53), 2**53), "b": st.lists(strategies.words(5))}
    ),
    "uuid": st.uuids().map(str),
    "mood": st.sampled_from(["good", "bad"]),
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            name: st.none() | SPECIAL.get(name, strategies.FIELDS.get(name))
            for name in TYPES
            if name != "key"
        }
    ),
    min_size=1,
    max_size=6,
).map(lambda found: [{"key": i, **row} for i, row in enumerate(found)])


@thorough
@given(rows=ROWS)
def test_the_table_is_that_of_mappings(rows):
    """The main oracle: a table leaves what the same rows as mappings leave, over each relation."""
    expected = written(lambda: Everything.objects.bulk_upsert(rows, unique_fields=["key"]))
    table = pa.Table.from_pylist(rows, SCHEMA)
    for strategy in STRATEGIES:

        def write(strategy=strategy):
            for status in ("created", "unchanged"):
                result = Everything.objects.bulk_upsert(
                    table, unique_fields=["key"], strategy=strategy
                )
                assert getattr(result, status) == len(rows)

        assert written(write) == expected
    assert written(lambda: Everything.objects.bulk_copy(reader(table, 2))) == expected


NOON = datetime.datetime(2026, 5, 1, 12, 0, 0, 5, tzinfo=UTC)
PLAIN = [
    {
        "key": 1, "big": 2**62, "binary": b"\0\xff", "boolean": True, "char": "é\\\t\n",
        "mood": "good", "date": datetime.date(2026, 5, 1), "datetime": NOON,
        "decimal": decimal.Decimal("1.500000"), "float": 0.1, "integer": -5, "level": 2,
        "text": "", "time": datetime.time(1, 2, 3), "positive_big": 2**63 - 1,
        "duration": datetime.timedelta(days=-1, microseconds=1), "integers": [1, 2],
        "json": {"a": 1, "b": ["x"]},
    },
    {
        "key": 2, "big": -1, "binary": b"", "boolean": False, "char": "NULL", "mood": "bad",
        "date": datetime.date(1, 1, 1), "datetime": NOON.replace(year=1),
        "decimal": decimal.Decimal("0.000000"), "float": -1e300, "integer": 0, "level": 1,
        "text": "\\N", "time": datetime.time(0), "positive_big": 0,
        "duration": datetime.timedelta(0), "integers": [], "json": {"a": 2, "b": []},
    },
    {"key": 3},
]  # fmt: skip


@pytest.mark.parametrize("nulls", [False, True])
def test_every_form_over_every_relation(form, strategy, image, nulls):
    """Frames of each library; with NULLs where there is no row without, and without any."""
    rows = PLAIN if nulls else PLAIN[:2]
    names = [name for name in PLAIN[0] if not (nulls and name in ("big", "positive_big"))]
    rows = [{name: row.get(name) for name in names} for row in rows]  # pandas' would be floats
    Everything.objects.bulk_upsert(rows, unique_fields=["key"])
    expected = image(Everything)
    Everything.objects.all().delete()
    schema = pa.schema({name: TYPES[name] for name in names})
    table = pa.Table.from_pylist(rows, schema)
    for status in ("created", "unchanged"):
        result = Everything.objects.bulk_upsert(
            form(table), unique_fields=["key"], strategy=strategy
        )
        assert getattr(result, status) == len(rows)
    assert image(Everything) == expected


# Texts beside those of Python's values -------------------------------------------------------


def both(name, values, held):
    """Return the texts of a field's values by Arrow's road and by Python's."""
    column = Column.of(Everything._meta.get_field(name), connection)
    given = ArrowValues(pa.chunked_array([pa.array(values, held)]), column.field, 0)
    texts = column.encode(given)
    assert "values" not in vars(given), "Python's values were made"
    assert texts.nulls == (None in values)
    assert texts.sure
    pythons = column.encode(values)
    assert (texts.escape, texts.quote) == (False, False)
    return texts.values, pythons.values


def lists(values):
    return st.lists(st.none() | values, min_size=1, max_size=20)


@settings(thorough, max_examples=max(20, EXAMPLES))
@given(
    data=st.data(),
    case=st.sampled_from(
        [
            ("big", 64, True), ("integer", 32, True), ("small", 16, True), ("small", 8, True),
            ("positive", 32, False), ("positive_small", 16, False), ("positive_small", 8, False),
            ("key", 32, True),
        ]
    ),
)  # fmt: skip
def test_texts_of_integers(data, case):
    """Signed and not, of any width that the column takes."""
    name, bits, signed = case
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2 ** (bits - 1) - 1)
    values = data.draw(lists(st.integers(least, most)))
    held = getattr(pa, f"{'' if signed else 'u'}int{bits}")()
    ours, pythons = both(name, values, held)
    assert ours == pythons


@thorough
@given(values=lists(st.floats()))
def test_texts_of_floats(values):
    """The same number to the last bit; NaN and infinities as Python's."""
    ours, pythons = both("float", values, pa.float64())
    assert [t and repr(float(t)) for t in ours] == [t and repr(float(t)) for t in pythons]


@thorough
@given(values=lists(st.floats(width=32)))
def test_texts_of_short_floats(values):
    """A float of 32 bits is what Python makes of it."""
    ours, pythons = both("float", values, pa.float32())
    assert [t and repr(float(t)) for t in ours] == [t and repr(float(t)) for t in pythons]


@thorough
@given(values=lists(strategies.decimals), places=st.integers(6, 12))
def test_texts_of_decimals(values, places):
    """To the last zero: 1.00 is another image than 1.0."""
    step = decimal.Decimal(1).scaleb(-places)
    values = [
        None if v is None else v.quantize(step, context=decimal.Context(prec=40)) for v in values
    ]
    ours, pythons = both("decimal", values, pa.decimal128(38, places))
    assert ours == pythons


@thorough
@given(values=lists(st.dates()))
def test_texts_of_dates(values):
    """All of Python's."""
    ours, pythons = both("date", values, pa.date32())
    assert ours == pythons


@thorough
@given(
    values=lists(strategies.moments),
    unit=st.sampled_from(["s", "ms", "us", "ns"]),
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "America/St_Johns", "-03:30"]),
)
def test_texts_of_moments(values, unit, zone):
    """In any unit and zone the same moment."""
    steps = {"s": 1_000_000, "ms": 1_000}.get(unit, 1)
    years = range(1700, 2200) if unit == "ns" else range(1, 10_000)
    values = [
        None if v is None else v.replace(microsecond=v.microsecond // steps * steps)
        for v in values
        if v is None or v.year in years
    ] or [None]  # fmt: skip
    ours, pythons = both("datetime", values, pa.timestamp(unit, zone))
    assert list(map(_moment, ours)) == list(map(_moment, pythons))


def _moment(text):
    whole = text and text.removesuffix("+00") + "+00:00" * text.endswith("+00")  # for Python 3.10
    return text and datetime.datetime.fromisoformat(whole).astimezone(UTC)


def test_nanoseconds(strategy):
    """Python has none: they are cut off, before 1970 too."""
    table = pa.table(
        {
            "key": [1, 2],
            "datetime": pa.array([-1, 1_999], pa.timestamp("ns", "UTC")),
            "duration": pa.array([1_999, 2_000], pa.duration("ns")),
            "time": pa.array([1_999, 2_000], pa.time64("ns")),
        }
    )
    Everything.objects.bulk_upsert(table, unique_fields=["key"], strategy=strategy)
    first, second = Everything.objects.order_by("key")
    epoch = datetime.datetime(1970, 1, 1, tzinfo=UTC)
    assert first.datetime == epoch - datetime.timedelta(microseconds=1)
    assert second.datetime == epoch + datetime.timedelta(microseconds=1)
    assert first.duration == datetime.timedelta(microseconds=1)
    assert first.time == datetime.time(microsecond=1)


def test_naive_moments(strategy):
    """Django's warning, and its meaning, as with mappings."""
    naive = datetime.datetime(2026, 5, 1, 12)
    table = pa.table({"key": [1], "datetime": [naive]})
    with pytest.warns(RuntimeWarning, match="received a naive datetime"):
        Everything.objects.bulk_upsert(table, unique_fields=["key"], strategy=strategy)
    assert Everything.objects.get().datetime.replace(tzinfo=None) == naive + datetime.timedelta(
        hours=5
    )


@pytest.mark.usefixtures("no_time_zones")
def test_moments_with_time_zones_off(strategy):
    """The same moments, naive ones as they are."""
    for moment in (NOON, NOON.replace(tzinfo=None)):
        rows = [{"key": 1, "datetime": moment}]
        table = pa.Table.from_pylist(rows)
        Everything.objects.bulk_upsert(table, unique_fields=["key"], strategy=strategy)
        assert Everything.objects.bulk_upsert(rows, unique_fields=["key"]).unchanged == 1


@pytest.mark.parametrize(
    ("name", "column", "stored"),
    [
        ("integer", pa.array(["5", "6"]), [5, 6]),
        ("integer", pa.array([5.0, 6.0]), [5, 6]),
        ("float", pa.array([5, 6]), [5.0, 6.0]),
        ("decimal", pa.array([5, 6]), [decimal.Decimal(5), decimal.Decimal(6)]),
        ("decimal", pa.array(["1.5", "2"]), [decimal.Decimal("1.5"), decimal.Decimal(2)]),
        ("text", pa.array([5, 6]), ["5", "6"]),
        ("text", pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        ("integer", pa.array([7, 8]).dictionary_encode(), [7, 8]),
        ("date", pa.array([0, 86_400_000], pa.date64()), None),
        ("date", pa.array(["2026-05-01", "2026-05-02"]), None),
        ("datetime", pa.array(["2026-05-01T12:00Z", "2026-05-02T12:00Z"]), None),
        ("boolean", pa.array([1, 0]), [True, False]),
        ("json", pa.array([1.5, 2.5]), [1.5, 2.5]),
        ("json", pa.array(["1", "2"]), ["1", "2"]),
        ("decimal", pa.array([1, 2], pa.decimal256(50, 6)), None),
        ("text", pa.array([None, None]), [None, None]),
        ("integer", pa.array([None, None], pa.int64()), [None, None]),
    ],
)
def test_types_that_are_not_the_fields(name, column, stored, strategy):
    """What is of another type means what the same values of Python's mean in mappings."""
    table = pa.table({"key": [1, 2], name: column})
    Everything.objects.bulk_upsert(table, unique_fields=["key"], strategy=strategy)
    if stored is None:
        result = Everything.objects.bulk_upsert(table.to_pylist(), unique_fields=["key"])
        assert result.unchanged == 2
    else:
        found = Everything.objects.order_by("key").values_list(name, flat=True)
        assert list(found) == stored


@pytest.mark.parametrize("held", ["string_view", "binary_view", "large_string", "uuid"])
def test_types_of_later_versions(held, strategy):
    """Those that not every pyarrow has."""
    if not hasattr(pa, held):
        pytest.skip("a later pyarrow has it")
    if held == "binary_view":
        binary = pa.array([b"a"], pa.binary_view())
        for column in (binary, pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), binary)):
            table = pa.table({"key": [1], "binary": column})
            Everything.objects.bulk_upsert(table, unique_fields=["key"], strategy=strategy)
            assert bytes(Everything.objects.get().binary) == b"a"
            Everything.objects.all().delete()
        return
    if held == "uuid":
        token = uuid.uuid4()
        column = pa.array([token.bytes], pa.uuid())
        Token.objects.bulk_upsert(pa.table({"id": column, "name": ["a"]}), strategy=strategy)
        assert Token.objects.get().pk == token
        return
    text = pa.array(["a\\b"], getattr(pa, held)())
    words = pa.DictionaryArray.from_arrays(pa.array([0], pa.uint32()), text)
    for column in (text, words):
        Product.objects.bulk_upsert(
            pa.table({"sku": ["x"], "name": column}), unique_fields=["sku"], strategy=strategy
        )
        assert Product.objects.get().name == "a\\b"
        Product.objects.all().delete()


# All that a call does ------------------------------------------------------------------------


def products(count):
    sku = pa.array([f"{i}" for i in range(count)], pa.string())
    return pa.table({"sku": sku, "stock": pa.array(range(count), pa.int64())})


def test_created_unchanged_updated(form, strategy):
    """Counted as ever; columns that are not given have their defaults, clocks their time."""
    expected = [((25, 0, 0, 0), 0), ((0, 0, 25, 0), 0), ((0, 25, 0, 0), 1_000)]
    for counted, more in expected:
        table = pa.table({"sku": [f"{i}" for i in range(25)], "stock": range(more, more + 25)})
        result = Product.objects.bulk_upsert(form(table), unique_fields=["sku"], strategy=strategy)
        assert counts(result) == counted
    assert set(Product.objects.values_list("name", "stock")) == {
        ("", i) for i in range(1_000, 1_025)
    }
    assert Product.objects.filter(created__isnull=False, updated__isnull=False).count() == 25


@pytest.mark.parametrize("size", [None, 1_000, 7_000])
def test_many_rows(size):
    """12,000 rows, staged and copied, whatever the batches are."""
    table = products(12_000)

    def rows():
        return table if size is None else reader(table, size)

    result = Product.objects.bulk_upsert(rows(), unique_fields=["sku"])
    assert result.created == 12_000
    assert Product.objects.bulk_upsert(rows(), unique_fields=["sku"]).unchanged == 12_000
    Product.objects.all().delete()
    assert Product.objects.bulk_copy(rows()) == 12_000
    assert Product.objects.get(sku="11999").stock == 11_999


@pytest.mark.parametrize(
    "empty",
    [
        pa.table({"sku": pa.array([], pa.string())}),
        pa.table({}),
        reader(products(0)),
        pa.RecordBatchReader.from_batches(
            pa.schema({"sku": pa.string()}),
            iter([pa.RecordBatch.from_pydict({"sku": pa.array([], "str")})]),
        ),
    ],
    ids=["table", "no columns", "reader", "empty batch"],
)
def test_empty(empty, strategy, django_assert_num_queries):
    """No rows: nothing is sent."""
    with django_assert_num_queries(0):
        result = Product.objects.bulk_upsert(empty, unique_fields=["sku"], strategy=strategy)
    assert result.total == 0


def test_no_columns():
    """Rows that give nothing are refused, as empty mappings are."""
    batch = pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))
    with pytest.raises(RowFieldsError, match="row 0: a table without columns"):
        Product.objects.bulk_upsert(pa.Table.from_batches([batch]), unique_fields=["sku"])


def test_copy(form):
    """bulk_copy takes the same."""
    assert Product.objects.bulk_copy(form(products(20)), batch_size=7) == 20
    with pytest.raises(RowConstraintError, match="row 1: duplicate key"):
        Product.objects.bulk_copy(pa.table({"sku": ["new", "7"]}))


def test_options(strategy):
    """Expressions, conditions, transforms, returning and duplicates are those of mappings."""
    Product.objects.bulk_upsert(products(3), unique_fields=["sku"])
    table = pa.table({"sku": ["1", "2", "a", "A"], "stock": [5, 0, 7, 8]})
    result = Product.objects.bulk_upsert(
        table,
        unique_fields=["sku"],
        update_fields={"stock": F("stock") + Excluded("stock")},
        where=Q(stock__lt=Excluded("stock")),
        transform={"sku": Upper("sku")},
        duplicates="last",
        returning=["sku", "stock"],
        strategy=strategy,
    )
    assert counts(result) == (1, 1, 0, 2)
    told = [(row.index, row["sku"], row["stock"], str(row.status)) for row in result.rows]
    assert told[0] == (0, "1", 6, "updated")
    assert (3, "A", 8, "created") in told


def test_duplicates(strategy):
    """Two rows of one key, in one batch or in two."""
    table = pa.table({"sku": ["a", "b", "c", "a"]})
    for rows in (table, reader(table, 2)):
        with pytest.raises(DuplicateKeysError, match="rows 0 and 3"):
            Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)


def test_primary_keys(strategy):
    """Rows with one and without, in one table."""
    table = pa.table({"id": [1_000_001, None, 1_000_002, None], "sku": list("abcd")})
    result = Product.objects.bulk_upsert(table, strategy=strategy)
    assert result.created == 4
    assert Product.objects.get(sku="c").pk == 1_000_002
    assert Product.objects.bulk_upsert(table.slice(2, 1), strategy=strategy).unchanged == 1


def test_relations(strategy):
    """A foreign key by its value, under either name; also one that is the primary key."""
    country = Country.objects.create(code="de")
    for name in ("country", "country_id"):
        table = pa.table({"name": ["a"], name: [country.pk], "by_code_id": ["de"]})
        City.objects.bulk_upsert(table, unique_fields=["name"], strategy=strategy)
        city = City.objects.get()
        assert (city.country_id, city.by_code_id) == (country.pk, "de")
    table = pa.table({"city": [city.pk], "name": ["m"]})
    assert Mayor.objects.bulk_upsert(table, strategy=strategy).created == 1


def test_fields_that_are_asked(strategy):
    """Custom fields, defaults that are called, and a field that fills itself."""
    table = pa.table({"key": [1, 2], "spaced": ["abc", None], "document": ["a.txt", "b.txt"]})
    Custom.objects.bulk_upsert(table, unique_fields=["key"], strategy=strategy)
    stored = Custom.objects.order_by("key").values_list("spaced", "stamp", "document")
    assert list(stored) == [("abc", "stamp 1", "a.txt"), (None, "stamp 2", "b.txt")]
    Defaults.objects.bulk_upsert(
        pa.table({"key": range(5)}), unique_fields=["key"], strategy=strategy
    )
    assert set(Defaults.objects.values_list("constant", "called")) == {("plain", 10)}
    Token.objects.bulk_upsert(pa.table({"name": list("abcd")}), unique_fields=["name"])
    assert Token.objects.count() == 4


def test_clocks(strategy):
    """A clock's column in the table doesn't count, as with mappings."""
    table = pa.table({"key": [1], "touched": [NOON.replace(year=1990)]})
    Clocks.objects.bulk_upsert(table, unique_fields=["key"], strategy=strategy)
    assert Clocks.objects.get().touched.year > 2000


@pytest.mark.skipif(django.VERSION < (5, 0), reason="db_default is new in Django 5.0")
def test_database_defaults(strategy):
    """Left out, the database fills it; given, it is what the table says."""
    from .models import DatabaseDefaults

    table = pa.table({"key": [1, 2], "number": [5, 6]})
    for rows in (table, pa.table({"key": [3]})):
        DatabaseDefaults.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    stored = DatabaseDefaults.objects.order_by("key").values_list("number", flat=True)
    assert list(stored) == [5, 6, 7]
    with pytest.raises(OptionError, match="'doubled' is generated"):
        DatabaseDefaults.objects.bulk_upsert(pa.table({"key": [1], "doubled": [1]}))


@pytest.mark.parametrize("count", [5, 12_000])
def test_progress(count, monkeypatch):
    """The number of all is told where the table knows it."""
    monkeypatch.setattr(telling, "INTERVAL", 0)
    table = products(count)
    for rows, total in ((table, count), (reader(table), None)):
        told = []
        Product.objects.bulk_upsert(
            rows, unique_fields=["sku"], progress=lambda *both, told=told: told.append(both)
        )
        assert told[-1] == (count, total)
        assert {each for _, each in told} == {total}


# pandas --------------------------------------------------------------------------------------


def test_pandas_indexes(strategy):
    """An index with a name is a column; one without, which filtering leaves, is none."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"sku": list("abcd"), "stock": [1, 2, 3, 4]}, index=[3, 1, 4, 1])
    some = frame[frame.stock != 2]
    assert "__index_level_0__" in pa.RecordBatchReader.from_stream(some).schema.names
    words = {"unique_fields": ["sku"], "strategy": strategy}
    assert Product.objects.bulk_upsert(some, **words).created == 3
    assert Product.objects.bulk_upsert(some.set_index("sku"), **words).unchanged == 3
    with pytest.raises(UnknownFieldError, match="'number'"):
        Product.objects.bulk_upsert(some.rename_axis("number"), **words)


def test_pandas_missing(strategy):
    """NaN and NaT, pandas' own word for what is missing, are NULL."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "key": [1, 2],
            "float": [1.5, float("nan")],
            "datetime": pd.to_datetime(["2026-05-01T12:00Z", None]),
            "integer": pd.array([1, None], "Int64"),
            "text": ["a", None],
        }
    )
    Everything.objects.bulk_upsert(frame, unique_fields=["key"], strategy=strategy)
    assert Everything.objects.filter(
        float=None, datetime=None, integer=None, text=None, key=2
    ).exists()
    assert Everything.objects.filter(
        float=1.5, datetime="2026-05-01T12:00Z", integer=1, text="a", key=1
    ).exists()


def test_pandas_columns_of_mixed_types():
    """What pandas can't hand over is refused; its error tells why, and is none of ours."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"sku": pd.Series(["secret", 5], dtype=object), "stock": [1, 2]})
    for write in (Product.objects.bulk_upsert, Product.objects.bulk_copy):
        with pytest.raises(
            OptionError,
            match=r"can't read one DataFrame as a table; make column 'sku' one type, or pass .*"
            r'to_dict\("records"\)$',
        ) as caught:
            write(frame)
        assert isinstance(caught.value.__cause__, pa.ArrowInvalid | TypeError)
        assert "secret" not in str(caught.value)
    assert Product.objects.bulk_copy(frame.astype({"sku": str})) == 2
    frame = pd.DataFrame({"float": [1 + 2j]})
    with pytest.raises(OptionError, match="make column 'float' one type"):
        Everything.objects.bulk_copy(frame)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_series(library):
    """One column has no name that is sure to be a field's."""
    series = pytest.importorskip(library).Series([1, 2])
    if not hasattr(series, "__arrow_c_stream__"):
        pytest.skip("a later pandas has it")
    with pytest.raises(OptionError, match=r"as a table; pass a frame with named columns$"):
        Product.objects.bulk_copy(series)


def test_a_frame_that_is_lazy():
    """The error says how to have its rows."""
    frame = pytest.importorskip("polars").LazyFrame({"sku": ["a"]})
    for write in (Product.objects.bulk_upsert, Product.objects.bulk_copy):
        with pytest.raises(OptionError, match=r"not one LazyFrame; \.collect\(\) it$"):
            write(frame)
    assert Product.objects.bulk_copy(frame.collect()) == 1


# JSON ----------------------------------------------------------------------------------------


def documents(texts, known=True):
    """A table with a column of Arrow's JSON, which pyarrow knows or doesn't."""
    column = pa.array(texts, pa.string())
    field = pa.field("json", pa.string(), metadata={"ARROW:extension:name": "arrow.json"})
    if known:
        column = column.cast(pa.json_())
        field = pa.field("json", pa.json_())
    return pa.table([range(len(texts)), column], pa.schema([pa.field("key", pa.int64()), field]))


@pytest.fixture(params=[True, False], ids=["known", "unknown"])
def known(request):
    """Whether pyarrow knows the type."""
    if request.param and not hasattr(pa, "json_"):
        pytest.skip("a later pyarrow knows the type")
    return request.param


#: Texts of JSON, and what is stored.
DOCUMENTS = [
    ('{"a": [1, null], "b\\t\\"\\\\": "é\\u00e9"}', {"a": [1, None], 'b\t"\\': "éé"}),
    (' "a\\nb" ', "a\nb"),
    ("1.5", 1.5),
    ("[]", []),
    ("true", True),
    ("null", None),
]


@pytest.mark.parametrize("count", [1, len(DOCUMENTS)])
def test_json(strategy, known, count):
    """Its texts are documents, not strings that hold some."""
    rows = documents([text for text, _ in DOCUMENTS[:count]] + [None], known)
    stored = Everything.objects.order_by("key").values_list("json", flat=True)
    result = Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    assert result.created == count + 1
    assert list(stored.all()) == [held for _, held in DOCUMENTS[:count]] + [None]
    assert Everything.objects.get(json__isnull=True).key == count
    again = Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    assert again.unchanged == count + 1
    Everything.objects.all().delete()
    assert Everything.objects.bulk_copy(rows) == count + 1
    assert list(stored.all()) == [held for _, held in DOCUMENTS[:count]] + [None]


def test_json_of_fields_that_are_none(strategy, known):
    """To a text's field it is text; and text in a JSONField stays a string."""
    texts = ['{"a": 1}', None, "not JSON"]
    held = documents(texts, known).column("json")
    rows = pa.table(
        [range(3), held, pa.array(texts)],
        pa.schema(
            [
                pa.field("key", pa.int64()),
                documents(texts, known).schema.field("json").with_name("text"),
                pa.field("json", pa.string()),
            ]
        ),
    )
    Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    stored = Everything.objects.order_by("key")
    assert list(stored.values_list("text", flat=True)) == texts
    assert list(stored.values_list("json", flat=True)) == texts


@isolate_apps("tests")
def test_json_of_a_field_of_anothers(strategy, known, tables):
    """A class of another's has the values that it would have from mappings."""

    class Own(JSONField):
        def get_db_prep_value(self, value, connection, prepared=False):
            if isinstance(value, dict):
                value = {"own": value}
            return super().get_db_prep_value(value, connection, prepared)

    class Mine(models.Model):
        key = models.IntegerField(primary_key=True)
        json = Own(null=True)
        objects = BulkUpsertManager()

        class Meta:
            app_label = "tests"

    tables("CREATE TABLE tests_mine (key int PRIMARY KEY, json jsonb)")
    Mine.objects.bulk_upsert(documents(['{"a": 1}', "2", None], known), strategy=strategy)
    stored = Mine.objects.order_by("key").values_list("json", flat=True)
    assert list(stored) == [{"own": {"a": 1}}, 2, None]
    with pytest.raises(RowValueError, match="row 1, field 'json': this text can't be read"):
        Mine.objects.bulk_upsert(documents(["1", "x"], known), strategy=strategy)
    if strategy != "unnest":  # null is an expression, unlike None
        Mine.objects.bulk_upsert(documents(["null"], known), strategy=strategy)
        assert Mine.objects.get(json__isnull=True).key == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "this text can't be read as JSON$"),
        ("", "this text can't be read as JSON$"),
        ("NaN", "this text can't be read as JSON$"),
        ('{"a": -Infinity}', "this text can't be read as JSON$"),
        ("[" * 100_000, "this text can't be read as JSON$"),
        (r'"\u0000"', "unsupported Unicode escape sequence"),
        (r'"\ud800"', "invalid input syntax for type json"),
        ("1e1000000", "out of range|overflows"),
    ],
)
def test_texts_that_are_not_json(strategy, known, bad, reason):
    """The row and the field are named, and nothing is written."""
    rows = documents(["1", None, bad, "2"], known)
    for write in (
        lambda: Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy),
        lambda: Everything.objects.bulk_copy(rows),
    ):
        with pytest.raises(RowValueError, match=f"row 2, field 'json': .*{reason}"):
            write()
    assert not Everything.objects.exists()


def test_not_a_number(strategy):
    """NaN in a float's column is a number of PostgreSQL's, as with mappings."""
    table = pa.table({"key": [1, 2], "float": pa.array([float("nan"), None])})
    Everything.objects.bulk_upsert(table, unique_fields=["key"], strategy=strategy)
    assert Everything.objects.get(float__isnull=True).key == 2
    assert repr(Everything.objects.get(key=1).float) == "nan"


# Errors --------------------------------------------------------------------------------------


#: A value of each field that it can have, before the one that it can't.
GOOD = {
    "small": 1,
    "positive": 1,
    "big": 1,
    "decimal": decimal.Decimal(1),
    "text": "a",
    "slug": "a",
    "datetime": NOON.replace(microsecond=0),
    "date": NOON.date(),
    "integer": "1",
    "uuid": str(uuid.UUID(int=1)),
}
NOT_UTF8 = [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("small", pa.array([2**15]), "integer out of the column's range, -32768 to 32767"),
        ("positive", pa.array([-1]), "integer out of the column's range, 0 to 2147483647"),
        ("big", pa.array([2**63], pa.uint64()), "integer out of the column's range"),
        (
            "decimal",
            pa.array([decimal.Decimal(10) ** 14], pa.decimal128(21, 6)),
            "number of more than 14 digits before the point",
        ),
        ("text", pa.array(["a\0b"]), "text with a NUL"),
        ("slug", pa.array(["x" * 51]), "text of 51 characters, where the column takes 50"),
        (
            "datetime",
            pa.array([2**40], pa.timestamp("s", "UTC")),
            r"this timestamp\[s, tz=UTC\] can't be read as a date and time",
        ),
        ("date", pa.array([2**24], pa.date32()), "can't be read as a date"),
        ("integer", pa.array(["x"]), "this str can't be read as an integer"),
        ("uuid", pa.array(["x"]), "this str can't be read as a UUID"),
        ("text", pa.Array.from_buffers(pa.string(), 1, NOT_UTF8), "can't be read as a value of"),
    ],
)
@pytest.mark.parametrize("before", [4, 6_000])
def test_values_that_do_not_fit(name, bad, message, before, strategy):
    """The error names the row and the field, and is that of mappings where these can have it."""
    good = pa.array([GOOD[name] if i % 2 else None for i in range(before)], type=bad.type)
    rows = pa.table({"key": range(before + 1), name: pa.chunked_array([good, bad])})
    with pytest.raises(
        RowValueError, match=rf"row {before}, field '{name}': .*{message}"
    ) as caught:
        Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    assert (caught.value.index, caught.value.field) == (before, name)
    assert not Everything.objects.exists()
    try:
        mappings = rows.to_pylist()
    except (OverflowError, ValueError):
        return
    with pytest.raises(RowValueError) as pythons:
        Everything.objects.bulk_upsert(mappings, unique_fields=["key"], strategy=strategy)
    assert str(pythons.value) == str(caught.value)


@pytest.mark.parametrize("day", [2**24, -(2**24)])
@pytest.mark.parametrize("before", [4, 6_000])
def test_days_beyond_pythons(day, before, strategy):
    """PostgreSQL could have them, and Python could not read them back."""
    days = pa.chunked_array([pa.array([0] * before, pa.date32()), pa.array([day], pa.date32())])
    rows = pa.table({"device": [f"{i}" for i in range(before + 1)], "day": days})
    with pytest.raises(RowValueError, match=rf"row {before}, field 'day': this date32"):
        Reading.objects.bulk_upsert(rows, unique_fields=["device", "day"], strategy=strategy)


def test_null_in_a_column_that_takes_none(strategy):
    """Found by the server, or before; the row is named."""
    table = pa.table({"sku": ["a", "b"], "stock": [1, None]})
    with pytest.raises(RowConstraintError, match="row 1, field 'stock': None"):
        Product.objects.bulk_upsert(table, unique_fields=["sku"], strategy=strategy)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"skuu": ["a"]}), "rows: 'skuu' is no field of tests.Product; did you mean sku"),
        (pa.table({"sku": ["a"], "": [1]}), "rows: '' is no field"),
        (pa.table([["a"], ["b"]], names=["sku", "sku"]), "rows names 'sku' twice"),
        (pa.table({"id": [1], "pk": [1]}), "rows names 'id' twice, once as 'pk'"),
    ],
)
def test_names(table, message):
    """Columns are named as keys of mappings are, and refused as these."""
    with pytest.raises((OptionError, UnknownFieldError), match=message):
        Product.objects.bulk_upsert(table, unique_fields=["sku"])


def test_refused(form):
    """What a table can't go with, and where none is taken."""
    table = products(2)
    with pytest.raises(OptionError, match="fields= names what sequences hold; the columns"):
        Product.objects.bulk_upsert(form(table), fields=["sku"], unique_fields=["sku"])
    with pytest.raises(OptionError, match="mixed_keys is for rows that are mappings, not a data"):
        Product.objects.bulk_upsert(form(table), mixed_keys=True, unique_fields=["sku"])
    with pytest.raises(OptionError, match="objs is an iterable of model instances, not a data"):
        Product.objects.bulk_update(form(table), ["stock"])
    with pytest.raises(
        OptionError, match=r"rows are instances of tests\.ShowroomProduct, .* not a"
    ):
        ShowroomProduct.objects.bulk_upsert(form(table), unique_fields=["sku"])
    assert not Product.objects.exists()


@pytest.mark.parametrize("single", [pa.chunked_array([[1]]), pa.chunked_array([["a"]])])
def test_a_single_column(single):
    """A stream of values is no table."""
    if not hasattr(single, "__arrow_c_stream__"):
        pytest.skip("a later pyarrow has it")
    with pytest.raises(OptionError, match="can't read one ChunkedArray as a table"):
        Product.objects.bulk_upsert(single, unique_fields=["sku"])


class Stream:
    """Something of another library's, which has Arrow's interface and nothing else."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def test_any_stream(strategy):
    """The interface is enough."""
    stream = Stream(products(3))
    assert Product.objects.bulk_upsert(
        stream, unique_fields=["sku"], strategy=strategy
    ).created == 3  # fmt: skip


@pytest.mark.parametrize("call", ["bulk_upsert", "bulk_copy"])
def test_without_pyarrow(call, monkeypatch):
    """The error says what to install."""
    stream = Stream(products(3))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OptionError, match=r"Stream takes pyarrow: pip install .*\[arrow\]"):
        getattr(Product.objects, call)(stream)


@pytest.mark.parametrize("count", [3, 8_000])
def test_an_error_of_the_stream(count):
    """It comes through as it is, and nothing is written."""

    def batches():
        yield from products(count).to_batches(1_000)
        raise KeyError("mine")

    rows = pa.RecordBatchReader.from_batches(products(0).schema, batches())
    with pytest.raises(KeyError, match="mine"):
        Product.objects.bulk_upsert(rows, unique_fields=["sku"])
    assert not Product.objects.exists()


def test_a_stream_that_queries():
    """Between chunks the connection is free."""
    Product.objects.bulk_upsert(products(9_000), unique_fields=["sku"])

    def batches():
        for start in range(0, 9_000, 3_000):
            some = Product.objects.order_by("id")[start : start + 3_000]
            yield pa.RecordBatch.from_pydict({"key": [int(each.sku) for each in some]})

    rows = pa.RecordBatchReader.from_batches(pa.schema({"key": pa.int64()}), batches())
    assert Everything.objects.bulk_upsert(rows, unique_fields=["key"]).created == 9_000


# Asynchronous calls --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 6_000])
def test_asynchronous(form, strategy, count):
    """abulk_upsert and abulk_copy take the same, and tell of the same."""
    told = []

    async def work():
        result = await Product.objects.abulk_upsert(
            form(products(count)),
            unique_fields=["sku"],
            strategy=strategy,
            progress=lambda *both: told.append(both),
        )
        new = pa.table({"sku": [f"x{i}" for i in range(count)]})
        return result.created, await Product.objects.abulk_copy(form(new))

    assert async_to_sync(work)() == (count, count)
    assert told[-1][0] == count
    assert Product.objects.count() == 2 * count


def test_asynchronous_refusals(monkeypatch):
    """The errors are those of the twins."""

    async def work():
        with pytest.raises(OptionError, match="objs is an iterable of model instances, not a data"):
            await Product.objects.abulk_update(products(2), ["stock"])
        stream = Stream(products(2))
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(OptionError, match="takes pyarrow"):
            await Product.objects.abulk_upsert(stream, unique_fields=["sku"])

    async_to_sync(work)()


@pytest.mark.django_db(transaction=True)
def test_cancelled_while_a_stream_runs():
    """A reader is stopped at its next batch, and what was sent is rolled back."""
    seen = []

    def batches():
        for start in range(0, 10**6, 1_000):
            seen.append(start)
            time.sleep(0.02)
            yield pa.RecordBatch.from_pydict({"sku": [f"{start + i}" for i in range(1_000)]})

    async def work():
        rows = pa.RecordBatchReader.from_batches(pa.schema({"sku": pa.string()}), batches())
        task = asyncio.ensure_future(
            Product.objects.abulk_upsert(rows, unique_fields=["sku"], strategy="copy")
        )
        while len(seen) < 12:
            await asyncio.sleep(0.01)
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 20

    async_to_sync(work)()
    assert len(seen) < 500
    assert not Product.objects.exists()


# What is pulled ------------------------------------------------------------------------------


def test_pulls_are_slices():
    """Nothing is copied: what is pulled points into the stream's own memory."""
    batch = pa.RecordBatch.from_pydict({"key": range(12_000)})
    source = ArrowSource(batch)
    before = pa.total_allocated_bytes()
    held = [source.pull(5_000) for _ in range(3)]
    assert pa.total_allocated_bytes() == before
    assert list(map(len, held)) == [5_000, 5_000, 2_000]
    assert source.is_done
    assert len(source.pull(5_000)) == 0
    addresses = {table.column(0).chunk(0).buffers()[1].address for table in held}
    assert addresses == {batch.column(0).buffers()[1].address}
    assert held[1].column(0)[0].as_py() == 5_000


def test_small_batches_are_put_together():
    """A chunk is as long as ever, whatever the batches are; empty ones are passed over."""
    batches = [*products(1_000).to_batches(7), *products(0).to_batches()]
    rows = pa.RecordBatchReader.from_batches(products(0).schema, iter(batches))
    source = ArrowSource(rows)
    assert [len(source.pull(600)) for _ in range(3)] == [600, 400, 0]
    source = ArrowSource(reader(products(1_000), 7))
    assert (len(source.pull(None)), source.is_done) == (1_000, True)


def test_pulls_are_bounded_by_bytes(monkeypatch):
    """Heavy rows come in shorter chunks, one by one at the least, and all of them."""
    monkeypatch.setattr(sourcing, "PULL_BYTES", 100_000)
    text = pa.array(["x" * 1_000 for _ in range(1_000)])
    held = [text, text.dictionary_encode(), pa.array([[each] for each in text.to_pylist()])]
    if hasattr(pa, "string_view"):
        held.append(text.cast(pa.string_view()))
    for column in held:
        source = ArrowSource(pa.table({"a": column}))
        sizes = []
        while rows := source.pull(5_000):
            sizes.append(len(rows))
        assert sum(sizes) == 1_000
        assert max(sizes) <= 101
        assert min(sizes[:-1]) >= 80
    source = ArrowSource(pa.table({"a": ["x" * 10**6] * 3}))
    assert [len(source.pull(5_000)) for _ in range(4)] == [1, 1, 1, 0]


def test_what_fits():
    """Rows are weighed by samples; a value that Python has none for weighs little."""
    batch = pa.RecordBatch.from_pydict(
        {"a": pa.array([2**60] * 600, pa.timestamp("s")), "b": range(600)}
    )
    rows, weight = fitting(batch, 10**6)
    each = ROW_BYTES + 2 * VALUE_BYTES + 32
    assert (rows.num_rows, weight) == (600, 600 * each)
    rows, weight = fitting(batch, each * 300)
    assert (rows.num_rows, weight) == (300, each * 300)
    assert fitting(batch, 1)[0].num_rows == 1


def test_python_has_no_value_where_none_is_asked_for():
    """The values are made once, if at all."""
    column = Column.of(Code._meta.get_field("value"), connection)
    values = ArrowValues(pa.chunked_array([[1, 2, 10**10]]), column.field, 70)
    assert (len(values), values[1], list(values)) == (3, 2, [1, 2, 10**10])
    assert values.values is values.values
    with pytest.raises(Fault) as caught:
        column.encode(values)
    assert caught.value.offset == 2
