"""JSON values as text: by orjson exactly where that makes the same as the standard library."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import uuid
from functools import partial

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from hypothesis import given
from hypothesis import strategies as st

from django_bulkupsert import jsons
from django_bulkupsert.encode import Fault
from django_bulkupsert.loops import _datetime, _float, _integer, _utc

from .models import Everything

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | numbers | st.text()
values = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@pytest.fixture(params=["orjson", "standard"])
def library(request, monkeypatch):
    """With and without the extra "speed"."""
    if request.param == "standard":
        monkeypatch.setattr(jsons, "dumps", None)
    elif jsons.dumps is None:
        pytest.skip("orjson is not installed")
    return request.param


def texts(items, encoder=None):
    return jsons.render_json(encoder, items).values


class Colour(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Name(str):
    __slots__ = ()


@given(st.lists(values.filter(lambda item: item is not None), min_size=1))
def test_both_mean_the_same(items):
    """Whatever JSON can hold; null and NULL characters, and text of any script."""
    if jsons.dumps is None:
        pytest.skip("orjson is not installed")
    try:
        fast = texts(items)
    except Fault as fault:
        assert "surrogate" in fault.reason  # noqa: PT017 (what the standard library may write)
        return
    for item, text in zip(items, fast, strict=True):
        assert json.loads(text) == json.loads(json.dumps(item))
        assert text.count("\0") == 0


@pytest.mark.parametrize(
    "item",
    [
        math.nan, [math.inf], {"a": [-math.inf]}, uuid.UUID(int=1), [uuid.UUID(int=1)], Colour.RED,
        {"a": Colour.RED}, datetime.date(2026, 5, 1), decimal.Decimal(1), b"x", {1, 2}, object(),
        {(1, 2): 3}, {uuid.UUID(int=1): 1}, 1j,
    ],
)  # fmt: skip
def test_what_is_not_json(library, item):
    """Refused by both, with its place."""
    with pytest.raises(Fault) as caught:
        texts([{"a": 1}, [None], item, {"b": "null"}])
    assert caught.value.offset == 2


@pytest.mark.parametrize(
    "item",
    [
        {1: 2}, {None: 1}, {True: 1}, {1.5: 1}, 2**70, -(2**70), [2**64], (1, 2), Number.ONE,
        [Number.ONE], Name("x"), {"a": Name("x")}, {"null": None, "a": "null"}, "\ud800", "\0",
        "é\n", 1e16, -0.0, 5e-324, [[[[]]]], {}, "",
    ],
)  # fmt: skip
def test_what_only_one_takes_is_taken(library, item):
    """By both, and means the same."""
    (before, text, after) = texts([{"a": 1}, item, [None, "null"]])
    assert json.loads(text) == json.loads(json.dumps(item))
    assert json.loads(before) == {"a": 1}
    assert json.loads(after) == [None, "null"]


def test_a_fields_own_encoder(library):
    """What the model says how to encode is encoded so."""
    item = {"day": datetime.date(2026, 5, 1), "id": uuid.UUID(int=5), "n": decimal.Decimal("1.50")}
    (text,) = texts([item], DjangoJSONEncoder)
    assert text == json.dumps(item, cls=DjangoJSONEncoder)


def test_what_is_deep(library):
    """Deeper than one of them goes."""
    deep: list = []
    for _ in range(400):
        deep = [deep]
    assert json.loads(texts([deep])[0]) == deep
    deep.append(deep)
    with pytest.raises(Fault, match="not JSON"):
        texts([deep])


@pytest.mark.django_db
def test_rows(library, strategy):
    """Through the database."""
    items = [{"a": None, "ü": [1.5, True]}, [], {"n": 2**70}, "text", 5, {"x\\": 'q"\n'}]
    rows = [{"key": i, "json": item} for i, item in enumerate(items)]
    Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    assert list(Everything.objects.order_by("key").values_list("json", flat=True)) == items
    result = Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    assert result.unchanged == len(items)


@pytest.mark.parametrize("library", ["orjson", "standard"], indirect=True)
@pytest.mark.parametrize(
    "items",
    [[1], [0, -5, 2**63 - 1, -(2**63)], [2**64, 2**70, 1], [1.5, -0.0, 1e16, 1e-7, 5e-324, 1.7e308],
     [0.1, math.nan, 2.0], [math.inf, -math.inf]],
)  # fmt: skip
def test_numbers(library, items):
    """Many at a time mean what each means by itself."""
    column = _float if isinstance(items[0], float) else partial(_integer, None)
    for item, text in zip(items, column(items).values, strict=True):
        assert type(item)(text) == item or (math.isnan(item) and text == "nan")
        assert str(type(item)(text)) == str(item)


moments = st.datetimes(timezones=st.just(datetime.timezone.utc))


@given(st.lists(moments, min_size=1, max_size=40))
def test_moments_of_utc(items):
    """Many at a time are written as one by one: as isoformat() does."""
    rendered = _datetime(items * 11)
    assert rendered is not None
    assert rendered.values == _utc(items * 11) == [item.isoformat() for item in items * 11]


def test_moments_at_the_ends():
    """The first and the last that Python knows, and midnights."""
    utc = datetime.timezone.utc
    items = [
        datetime.datetime.min.replace(tzinfo=utc),
        datetime.datetime.max.replace(tzinfo=utc),
        datetime.datetime(2024, 2, 29, 23, 59, 59, 1, tzinfo=utc),
        datetime.datetime(1970, 1, 1, tzinfo=utc),
    ] * 5
    rendered = _datetime(items)
    assert rendered is not None
    assert rendered.values == [item.isoformat() for item in items]


def test_other_zones():
    """Fixed offsets, alone and among UTC's."""
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=45))
    items = [datetime.datetime(2026, 5, 1, 12, tzinfo=zone)] * 20
    utc = [datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.timezone.utc)]
    for some in (items, items + utc):
        rendered = _datetime(some)
        assert rendered is not None
        assert rendered.values == [item.isoformat() for item in some]
