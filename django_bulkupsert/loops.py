"""Per field class of Django's own: the loop that turns its values into text at C speed.

A loop is for values of exactly the type that the field's class would prepare, so that nothing
is left to prepare; what it can't vouch for after all, it hands back.
"""

from __future__ import annotations

import datetime
import decimal
import re
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


#: The longest text of a number that the server is sure to read whatever it is cast to: it takes
#: 16,383 digits after the point.
LONGEST = 16_000


class Digits:
    """The digits of a numeric column.

    Args:
        precision: How many there are.
        places: How many of these are after the point.

    Attributes:
        most: The least number that the column would round to one digit too many.
    """

    def __init__(self, precision: int, places: int) -> None:
        self.most = least_too_big(precision, places)
        self._before = precision - places
        # One more than is kept: by that the server rounds.
        self._unit = decimal.Decimal(1).scaleb(-places - 1)
        self._context = decimal.Context(prec=precision + 2, rounding=decimal.ROUND_DOWN)

    @classmethod
    def of(cls, db_type: str) -> Digits | None:
        """Return those of a type, or None if it has no limits."""
        found = re.fullmatch(r"numeric ?\((\d+), ?(\d+)\)", db_type)
        return None if found is None else cls(int(found[1]), int(found[2]))

    def too_many(self, offset: int) -> Fault:
        """Return the fault of a number that is too big."""
        return Fault(offset, f"number of more than {self._before} digits before the point")

    def text(self, item: decimal.Decimal) -> str:
        """Return the text of a number, which the server may round, but doesn't fail to read.

        Raises:
            Fault: It is too big.
        """
        text = str(item)
        if "E" not in text and len(text) <= LONGEST:
            return text
        if item.copy_abs() >= self.most:
            raise self.too_many(0)
        return str(item.quantize(self._unit, context=self._context))


def _decimal(digits: Digits, values: Sequence[decimal.Decimal]) -> Texts | None:
    texts = list(map(str, values))
    joined = "".join(texts)
    if "N" in joined or "I" in joined:  # NaN and Infinity, which Django refuses
        return None
    most = digits.most
    if max(values) >= most or min(values) <= -most:
        raise digits.too_many(next(i for i, item in enumerate(values) if item.copy_abs() >= most))
    if "E" in joined or (len(joined) > LONGEST and max(map(len, texts)) > LONGEST):
        texts = list(map(digits.text, values))
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


def least_too_big(precision: int, places: int) -> decimal.Decimal:
    """Return the least number that a decimal column would round to one digit too many."""
    digits = decimal.Decimal(1).scaleb(precision - places)
    return digits - decimal.Decimal(5).scaleb(-places - 1)


def value_field(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
    """Return the field whose values a field holds: of a foreign key the one it points to."""
    while type(field) in (models.ForeignKey, models.OneToOneField):
        field = field.target_field  # type: ignore[attr-defined]
    return field


def ready(
    field: models.Field[Any, Any],
    longest: int | None,
    bounds: tuple[int, int] | None,
    digits: Digits | None,
) -> Mapping[type, Renderer]:
    """Return the loops for a field whose class is exactly one of Django's own."""
    field = value_field(field)
    kind = type(field)
    if kind is models.JSONField:
        dumps = partial(render_json, field.encoder)  # type: ignore[attr-defined]
        return dict.fromkeys((dict, list, str, int, float, bool), dumps)
    if kind is models.DecimalField and digits is not None:
        return {decimal.Decimal: partial(_decimal, digits)}
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
