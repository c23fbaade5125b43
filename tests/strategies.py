"""Hypothesis: values of every field class that Django ships."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.db.backends.postgresql.psycopg_any import (
    DateRange,
    DateTimeTZRange,
    NumericRange,
)
from django.db.models import JSONField, Value
from hypothesis import strategies as st

from .models import Level, Mood

# What PostgreSQL can store: any character but NUL and lone surrogates.
characters = st.characters(codec="utf-8", exclude_characters="\0")
text = st.text(characters) | st.sampled_from(
    ["", "NULL", "\\N", "\\.", "\\", '"', "'", "{}", "{a,b}", "a\tb", "a\nb", "a\rb", " a ", "é%s"]
)


def words(most: int) -> st.SearchStrategy[str]:
    """Texts of at most ``most`` characters."""
    return st.text(characters, max_size=most) | st.sampled_from(["", "a\\", "a\t", '"', "NULL"])


zones = st.sampled_from(
    [datetime.timezone.utc, ZoneInfo("Asia/Kolkata"), ZoneInfo("America/St_Johns")]
)
# A day away from the ends of what Python can hold, since the zone moves them.
moments = st.datetimes(
    datetime.datetime(1, 1, 3), datetime.datetime(9999, 12, 28), timezones=zones
).filter(lambda value: value.utcoffset().microseconds == 0 and value.utcoffset().seconds % 60 == 0)
decimals = st.decimals(-(10**13), 10**13, places=6, allow_nan=False, allow_infinity=False)
# Django sends -0.0 as the number 0; that ours keeps the sign is another test's.
floats = st.floats(allow_nan=False).map(lambda value: value + 0.0)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(characters)
    | st.floats(allow_nan=False, allow_infinity=False, width=32).filter(lambda x: abs(x) < 1e15),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words(5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def ranges(kind, ends, step=None):
    """Ranges whose ends are in order, open or closed, empty, endless."""

    def build(pair, lower, upper, bounds):
        low, high = sorted(pair)
        return kind(low if lower else None, high if upper else None, bounds)

    bounds = st.just("[)") if step else st.sampled_from(["[)", "[]", "()", "(]"])
    built = st.builds(build, st.tuples(ends, ends), st.booleans(), st.booleans(), bounds)
    return built | st.just(kind(empty=True))


FIELDS: dict[str, st.SearchStrategy] = {
    "big": st.integers(-(2**63), 2**63 - 1),
    "binary": st.binary(max_size=50),
    "boolean": st.booleans(),
    "char": words(30),
    "mood": st.sampled_from(Mood),
    "date": st.dates(),
    "datetime": moments,
    "decimal": decimals,
    "duration": st.timedeltas(datetime.timedelta(days=-(10**6)), datetime.timedelta(days=10**6)),
    "email": words(254),
    "file": st.just("a/b c.txt"),
    "file_path": words(100),
    "float": floats,
    "integer": st.integers(-(2**31), 2**31 - 1),
    "level": st.sampled_from(Level),
    # Django rewrites addresses that IPv6 maps from IPv4.
    "ip": st.ip_addresses().map(str).filter(lambda value: not value.startswith("::")),
    "json": json_values.filter(lambda value: value is not None),
    "json_encoded": st.dictionaries(words(5), st.dates().map(str), max_size=3),
    "positive": st.integers(0, 2**31 - 1),
    "positive_big": st.integers(0, 2**63 - 1),
    "positive_small": st.integers(0, 2**15 - 1),
    "slug": words(50),
    "small": st.integers(-(2**15), 2**15 - 1),
    "text": text,
    "time": st.times(),
    "url": words(200),
    "uuid": st.uuids() | st.just(uuid.UUID(int=0)),
    "integers": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
    "texts": st.lists(st.none() | words(20), max_size=4),
    "nested": st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(text, min_size=width, max_size=width), max_size=3)
    ),
    "moments": st.lists(moments, max_size=3),
    "decimals": st.lists(decimals, max_size=3),
    "int_range": ranges(NumericRange, st.integers(-(2**31), 2**31 - 2), 1),
    "big_range": ranges(NumericRange, st.integers(-(2**63), 2**63 - 2), 1),
    "decimal_range": ranges(NumericRange, decimals),
    "date_range": ranges(DateRange, st.dates(max_value=datetime.date(9999, 12, 30)), 1),
    "moment_range": ranges(DateTimeTZRange, moments),
    "to_integer_id": st.integers(-(2**63), 2**63 - 1),
    "to_uuid_id": st.uuids(),
    "to_text_id": words(10),
}

#: Fields of which no two rows have the same value, by the row's place.
ONES: dict[str, Callable[[int], st.SearchStrategy]] = {
    "one_integer_id": lambda i: st.integers(i << 32, (i << 32) + 2**32 - 1),
    "one_uuid_id": lambda i: st.integers(0, 2**64).map(lambda low: uuid.UUID(int=(i << 96) + low)),
    "one_text_id": lambda i: words(9).map(lambda text: f"{i}{text}"),
}

JSON_NULL = Value(None, JSONField())


def rows(most: int = 6) -> st.SearchStrategy[list[dict]]:
    """Rows of Everything: each field None now and then, the key counted."""

    def row(i: int) -> st.SearchStrategy[dict]:
        values = FIELDS | {name: value(i) for name, value in ONES.items()}
        optional = {name: st.none() | value for name, value in values.items()}
        return st.fixed_dictionaries({"key": st.just(i), **optional})

    return st.integers(1, most).flatmap(lambda count: st.tuples(*map(row, range(count)))).map(list)
