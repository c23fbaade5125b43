"""Per field class of Django's own: the loop that turns its values into text at C speed.

A loop is for values of exactly the type that the field's class would prepare, so that nothing
is left to prepare; what it can't vouch for after all, it hands back.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from operator import attrgetter, sub
from typing import Any

from django.conf import settings
from django.db import models

from .encode import Fault, Texts, check_text, plain, text_of
from .jsons import listed, render_json

#: Renders values of one known type, none of which is None. None: they are not in the known form
#: after all.
Renderer = Callable[[Sequence[Any]], Texts | None]


def _text(longest: int | None, values: Sequence[str]) -> Texts:
    escape = check_text(values, longest)
    return Texts(list(values), nulls=False, escape=escape, sure=True)


def check_range(values: Sequence[int], bounds: tuple[int, int]) -> None:
    """Check that each integer is within its column's bounds.

    Raises:
        Fault: One doesn't.
    """
    low, high = bounds
    if min(values) < low or max(values) > high:
        offset = next(i for i, item in enumerate(values) if not low <= item <= high)
        raise Fault(offset, f"integer out of the column's range, {low} to {high}")


def _integer(bounds: tuple[int, int] | None, values: Sequence[int]) -> Texts:
    if bounds is not None:
        check_range(values, bounds)
    return plain(listed(values) or list(map(str, values)))


def _float(values: Sequence[float]) -> Texts:
    return plain(listed(values) or list(map(repr, values)))


def _bool(values: Sequence[bool]) -> Texts:
    return plain(["t" if item else "f" for item in values])


def _decimal(most: decimal.Decimal, values: Sequence[decimal.Decimal]) -> Texts | None:
    texts = list(map(str, values))
    joined = "".join(texts)
    if "N" in joined or "I" in joined:  # NaN and Infinity, which Django refuses
        return None
    if max(values) >= most or min(values) <= -most:
        offset = next(i for i, item in enumerate(values) if item.copy_abs() >= most)
        digits = len(str(int(most + 1))) - 1
        raise Fault(offset, f"number of more than {digits} digits before the point")
    return plain(texts)


def _uuid(values: Sequence[uuid.UUID]) -> Texts:
    return plain(list(map(str, values)))


def _date(values: Sequence[datetime.date]) -> Texts:
    return plain([item.isoformat() for item in values])


def _datetime(values: Sequence[datetime.datetime]) -> Texts | None:
    kinds = set(map(type, map(_zone, values)))
    many = kinds == {datetime.timezone} and len(values) > 10
    if many and set(map(_zone, values)) == {datetime.timezone.utc}:
        return plain(listed(values) or _utc(values))
    if settings.USE_TZ and not kinds <= _ZONES and any(item.utcoffset() is None for item in values):
        return None  # Django warns, and makes them aware
    return plain(list(map(datetime.datetime.isoformat, values)))


_zone = attrgetter("tzinfo")


def _utc(values: Sequence[datetime.datetime]) -> list[str]:
    """Return what isoformat() does, which asks the time zone of each again, and takes its time."""
    days, minutes = _Days(), _MINUTES
    spans = list(map(sub, values, repeat(_FIRST)))
    micros = any(span.microseconds for span in spans)
    if micros:
        return [
            f"{days[span.days]}{minutes[span.seconds // 60]}{span.seconds % 60:02}"
            f"{f'.{span.microseconds:06}' if span.microseconds else ''}+00:00"
            for span in spans
        ]
    return [
        f"{days[span.days]}{minutes[span.seconds // 60]}{span.seconds % 60:02}+00:00"
        for span in spans
    ]


class _Days(dict[int, str]):
    """The dates of days since the first one."""

    def __missing__(self, day: int) -> str:
        self[day] = f"{datetime.date.fromordinal(day + 1).isoformat()}T"
        return self[day]


_FIRST = datetime.datetime(1, 1, 1, tzinfo=datetime.timezone.utc)
_MINUTES = [f"{minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60)]


#: Time zones that always have an offset.
_ZONES = {datetime.timezone, zoneinfo.ZoneInfo}


def _timedelta(values: Sequence[datetime.timedelta]) -> Texts:
    return Texts(list(map(text_of, values)), nulls=False, escape=False, sure=True)


def _bytes(values: Sequence[bytes]) -> Texts:
    return Texts(["\\x" + item.hex() for item in values], nulls=False, sure=True)


def least_too_big(field: Any) -> decimal.Decimal:
    """Return the least number that a decimal column would round to one digit too many."""
    places = field.decimal_places or 0
    digits = decimal.Decimal(1).scaleb(field.max_digits - places)
    return digits - decimal.Decimal(5).scaleb(-places - 1)


def value_field(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
    """Return the field whose values a field holds: of a foreign key the one it points to."""
    while type(field) in (models.ForeignKey, models.OneToOneField):
        field = field.target_field  # type: ignore[attr-defined]
    return field


def ready(
    field: models.Field[Any, Any], longest: int | None, bounds: tuple[int, int] | None
) -> Mapping[type, Renderer]:
    """Return the loops for a field whose class is exactly one of Django's own."""
    field = value_field(field)
    kind = type(field)
    if kind is models.JSONField:
        dumps = partial(render_json, field.encoder)  # type: ignore[attr-defined]
        return dict.fromkeys((dict, list, str, int, float, bool), dumps)
    if kind is models.DecimalField and field.max_digits is not None:  # type: ignore[attr-defined]
        return {decimal.Decimal: partial(_decimal, least_too_big(field))}
    if kind in TEXT_FIELDS:
        return {str: partial(_text, longest)}
    if kind in INTEGER_FIELDS:
        return {int: partial(_integer, bounds)}
    return _READY.get(kind, {})


TEXT_FIELDS = {
    models.CharField, models.TextField, models.SlugField, models.EmailField, models.URLField,
    models.FilePathField,
}  # fmt: skip
INTEGER_FIELDS = {
    models.IntegerField, models.SmallIntegerField, models.BigIntegerField,
    models.PositiveIntegerField, models.PositiveSmallIntegerField, models.PositiveBigIntegerField,
    models.AutoField, models.SmallAutoField, models.BigAutoField,
}  # fmt: skip
_READY: Mapping[type, Mapping[type, Renderer]] = {
    models.FloatField: {float: _float},
    models.BooleanField: {bool: _bool},
    models.UUIDField: {uuid.UUID: _uuid},
    models.DateField: {datetime.date: _date},
    models.TimeField: {datetime.time: _date},
    models.DateTimeField: {datetime.datetime: _datetime},
    models.DurationField: {datetime.timedelta: _timedelta},
    models.BinaryField: {bytes: _bytes},
}
