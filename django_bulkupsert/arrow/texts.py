"""Columns of Arrow's to PostgreSQL text, with no value of Python's between.

Each road is one that loops.py has for values of Python's, and for the same fields. What is out of
range has no road here: Python's finds it again, and names it.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from django.db import models

from ..fields import Field
from ..loops import INTEGER_FIELDS, least_too_big, value_field
from . import UNREADABLE


def texts_of(column: Any, field: Field, bounds: tuple[int, int] | None) -> list[str | None] | None:
    """Return the texts of a column, or None where a field's values take Python's road.

    Args:
        column: The column, a ChunkedArray.
        field: The field.
        bounds: The least and the greatest integer that the table's column takes, or None.
    """
    try:
        ready = _ready(column, value_field(field), bounds)
        return None if ready is None else ready.cast(pa.string()).to_pylist()
    except (pa.ArrowException, *UNREADABLE):  # or more than this pyarrow can do
        return None


def _ready(column: Any, field: Any, bounds: tuple[int, int] | None) -> Any:
    """Return a column whose values PostgreSQL reads as pyarrow prints them, or None."""
    kind, held = type(field), column.type
    if kind in INTEGER_FIELDS and pa.types.is_integer(held):
        low, high = _ends(column)
        fits = bounds is None or low is None or bounds[0] <= low <= high <= bounds[1]
        return column if fits else None
    if kind is models.FloatField and pa.types.is_floating(held):
        return column.cast(pa.float64())  # as Python has it: the nearest to 0.1 is another one
    if kind is models.DecimalField and pa.types.is_decimal(held) and field.max_digits is not None:
        low, high = _ends(column)
        most = least_too_big(field.max_digits, field.decimal_places or 0)
        return column if low is None or -most < low <= high < most else None
    if kind is models.DateField and pa.types.is_date32(held):
        _ends(column)
        return column
    if kind is models.DateTimeField and pa.types.is_timestamp(held) and held.tz is not None:
        moments = column.cast(pa.timestamp("us"))  # in UTC, which is what Arrow keeps
        _ends(moments)
        return pc.binary_join_element_wise(moments.cast(pa.string()), "+00", "")
    return None


def _ends(column: Any) -> tuple[Any, Any]:
    """Return the least and the greatest value; two Nones where there is none.

    Raises:
        OverflowError: Python has none that is so little, or so great.
    """
    ends = pc.min_max(column)
    return ends["min"].as_py(), ends["max"].as_py()


def plain(column: Any) -> Any:
    """Return a column as Python can have its values: decoded, and of microseconds."""
    held = column.type
    if pa.types.is_dictionary(held):
        try:
            return plain(_decoded(column))
        except pa.ArrowNotImplementedError:
            return column  # Python's values are the same, one by one
    if pa.types.is_timestamp(held) and held.unit == "ns":
        moments = column.cast(pa.timestamp("ns"))  # in UTC, or as they are where they are naive
        floored = pc.floor_temporal(moments, unit="microsecond")
        return floored.cast(pa.timestamp("us", held.tz))
    if pa.types.is_duration(held) and held.unit == "ns":
        return column.cast(pa.duration("us"), safe=False)
    if pa.types.is_time64(held) and held.unit == "ns":
        return column.cast(pa.time64("us"), safe=False)
    return column


def _decoded(column: Any) -> Any:
    """Return a column that holds the values themselves, not their places in a dictionary."""
    held = column.type.value_type
    if str(held) == "string_view":  # of which pyarrow can't take some
        held = pa.large_string()
    chunks = [chunk.dictionary.cast(held).take(chunk.indices) for chunk in column.chunks]
    return pa.chunked_array(chunks, held)
