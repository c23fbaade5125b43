"""One column of a block of a file: texts, and the values that they stand for."""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import re
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from ..encode import Fault, Texts, check_text, spread
from ..errors import RowValueError
from ..fields import Field, wanted
from ..lazy import LazyValues
from ..loops import INTEGER_FIELDS, TEXT_FIELDS, value_field

#: What reading a text as a value raises, if it is none.
UNREADABLE = (ValueError, TypeError, ArithmeticError, LookupError, ValidationError)

#: How files write a boolean.
BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}

#: Fields of django.contrib.postgres whose values the server may read, by what those begin with:
#: in Django's own form they are JSON.
_LITERALS = {"ArrayField": "{", "HStoreField": '"', "RangeField": "[(e"}

#: How PostgreSQL writes an interval; one of months, or of more than 24 hours, is no timedelta's.
_INTERVAL = re.compile(
    r"(?=.)([+-]?\d+ (year|mon|day)s? ?)*([+-]?\d+:\d\d:\d\d(\.\d{1,6})?)?", re.ASCII
)


class CsvValues(LazyValues):
    """The values of a field in a block of a file.

    Args:
        texts: The texts; None where the file has the text that stands for NULL.
        field: The field.
        start: The index of the first row.
        label: What messages call the field.
    """

    def __init__(self, texts: Sequence[str | None], field: Field, start: int, label: str) -> None:
        self.held = texts
        self.field = field
        self.start = start
        self.label = label

    def texts(self, bounds: tuple[int, int] | None) -> Texts | None:  # noqa: ARG002
        """Return the texts themselves, where it is the server that reads them best."""
        present = [text for text in self.held if text is not None]
        if not all(map(is_literal(value_field(self.field)), present)):
            return None
        try:
            escape = check_text(present)
        except Fault as fault:
            places = [offset for offset, text in enumerate(self.held) if text is not None]
            raise Fault(places[fault.offset], fault.reason) from fault.__cause__
        held = self.held
        if type(value_field(self.field)) is models.DurationField:
            held = [text if text is None else _signed(text) for text in held]
        return Texts(held, len(present) < len(held), escape)

    @cached_property
    def values(self) -> Sequence[Any]:
        """The values as Python's.

        Raises:
            RowValueError: A text stands for none.
        """
        convert = reader_of_texts(self.field)
        if convert is None:
            return self.held
        try:
            read = list(map(convert, [text for text in self.held if text is not None]))
            return read if len(read) == len(self.held) else spread(self.held, read)
        except UNREADABLE:
            return list(map(self._value, range(len(self.held))))

    def _value(self, offset: int) -> Any:
        text = self.held[offset]
        convert: Any = reader_of_texts(self.field)
        try:
            return None if text is None else convert(text)
        except UNREADABLE as error:
            reason = f"this text can't be read as {wanted(self.field)}"
            raise RowValueError(self.start + offset, self.label, reason) from error

    def picked(self, offsets: Sequence[int]) -> CsvValues:
        """Return those at some offsets."""
        picked = [self.held[offset] for offset in offsets]
        return CsvValues(picked, self.field, self.start, self.label)

    def __len__(self) -> int:
        return len(self.held)


def is_literal(field: Any) -> Callable[[str], bool]:
    """Return what tells whether a text is the server's own form of a field's value."""
    if type(field) is models.JSONField:
        return lambda _: True
    if type(field) is models.DurationField:
        return lambda text: _INTERVAL.fullmatch(text) is not None
    for kind in type(field).__mro__:
        starts = _LITERALS.get(kind.__name__)
        if starts and kind.__module__.startswith("django.contrib.postgres."):
            return lambda text: text[:1] in starts
    return lambda _: False


def reader_of_texts(field: Field) -> Callable[[str], Any] | None:
    """Return what makes a value of a text, as the field's own class would; None: it is a text."""
    own: Any = value_field(field)
    kind = type(own)
    if kind in TEXT_FIELDS or kind is models.JSONField:
        return None
    if kind in INTEGER_FIELDS:
        return int
    if kind is models.DateTimeField:
        return _moment(own)
    found = _READ.get(kind)
    if found is not None:
        return found(own)
    literal = is_literal(own)
    if kind is models.DurationField:
        return lambda text: _signed(text) if literal(text) else own.to_python(text)
    return lambda text: text if literal(text) else own.to_python(text)


def _signed(text: str) -> str:
    """Return an interval each of whose parts has a sign, where the first one has a minus.

    With IntervalStyle sql_standard that would be the sign of all.
    """
    return re.sub(r"(?<=\s)(?=\d)", "+", text) if text.startswith("-") else text


def _moment(field: Any) -> Callable[[str], datetime.datetime]:
    """Read a date and time; one without a zone is of the current one."""
    zone = timezone.get_current_timezone() if settings.USE_TZ else None

    def read(text: str) -> datetime.datetime:
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            moment = field.to_python(text)
        if zone is not None and moment.tzinfo is None:
            return moment.replace(tzinfo=zone)
        return moment

    return read


def _date(field: Any) -> Callable[[str], datetime.date]:
    def read(text: str) -> datetime.date:
        try:
            return datetime.date.fromisoformat(text)
        except ValueError:
            return field.to_python(text)  # type: ignore[no-any-return]

    return read


def _boolean(text: str) -> bool:
    return BOOLEANS[text.strip().lower()]


def _bytes(text: str) -> bytes:
    """Read PostgreSQL's form of bytes, or base64, which is Django's in its own files."""
    if text.startswith("\\x"):
        return bytes.fromhex(text[2:])
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("neither \\x and hexadecimal digits, nor base64") from error


_READ: dict[type, Callable[[Any], Callable[[str], Any]]] = {
    models.BinaryField: lambda _: _bytes,
    models.BooleanField: lambda _: _boolean,
    models.DateField: _date,
    models.DecimalField: lambda _: decimal.Decimal,
    models.FloatField: lambda _: float,
    models.UUIDField: lambda _: uuid.UUID,
}
