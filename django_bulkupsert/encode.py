"""Python values to PostgreSQL's text form, and that text into COPY lines and array literals.

Pure: nothing here knows a model or talks to a database. Formats: PostgreSQL's manual, the
file format of COPY (text) and "Array Input and Output Syntax".
"""

from __future__ import annotations

import datetime
import decimal
import ipaddress
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from .driver import BINARY_TYPES, INET_TYPES, JSON_TYPES, RANGE_TYPES, unwrap
from .sql import Fragment


@dataclass(slots=True)
class Texts:
    """One column of a chunk as PostgreSQL text.

    Attributes:
        values: One text per row; None is SQL's NULL.
        nulls: Whether any is None.
        escape: Whether a text may hold what COPY wants escaped.
        quote: Whether a text may hold what an array literal wants quoted.
        cells: Per row offset, what can't be carried as text: an SQL expression, or a value
            that only the driver can adapt. The text at that offset is None.
        sure: Whether the server is sure to read each text as the column's type.
    """

    values: Sequence[str | None]
    nulls: bool
    escape: bool = True
    quote: bool = True
    cells: Mapping[int, Fragment] | None = None
    sure: bool = False


def plain(values: list[str]) -> Texts:
    """Return a column of texts of which none is None, nor holds anything to escape or quote."""
    return Texts(values, nulls=False, escape=False, quote=False, sure=True)


class Fault(Exception):
    """A value that can't be stored: its offset among the values at hand, and the reason."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason


class NoText(Exception):
    """A prepared value whose text form is not known here."""


# --- one value --------------------------------------------------------------------------------


@singledispatch
def text_of(value: Any) -> str:
    """Return the text form of a value as Django's fields prepare it for the driver.

    Raises:
        NoText: The value is of a type that only the driver can adapt.
    """
    raise NoText(type(value).__qualname__)


@text_of.register
def _(value: str) -> str:
    return str.__str__(value)  # an enum's member is its value, not its name


@text_of.register
def _(value: bool) -> str:
    return "t" if value else "f"


@text_of.register
def _(value: int) -> str:
    return int.__repr__(value)


@text_of.register
def _(value: float) -> str:
    return float.__repr__(value)


@text_of.register(decimal.Decimal)
@text_of.register(uuid.UUID)
@text_of.register(ipaddress.IPv4Address)
@text_of.register(ipaddress.IPv6Address)
@text_of.register(ipaddress.IPv4Interface)
@text_of.register(ipaddress.IPv6Interface)
@text_of.register(ipaddress.IPv4Network)
@text_of.register(ipaddress.IPv6Network)
def _(value: Any) -> str:
    return str(value)


@text_of.register(datetime.date)
@text_of.register(datetime.time)
def _(value: datetime.date | datetime.time) -> str:
    return value.isoformat()


@text_of.register
def _(value: datetime.timedelta) -> str:
    # Each part with its sign: with IntervalStyle sql_standard the first one's would spread.
    return f"{value.days:+} days {value.seconds:+} seconds {value.microseconds:+} microseconds"


@text_of.register(bytes)
@text_of.register(bytearray)
@text_of.register(memoryview)
def _(value: bytes | bytearray | memoryview) -> str:
    return "\\x" + value.hex()


@text_of.register(list)
@text_of.register(tuple)
def _(value: list[Any] | tuple[Any, ...]) -> str:
    return array_text(value)


@text_of.register
def _(value: dict) -> str:  # type: ignore[type-arg]  # what singledispatch can read
    return ", ".join(
        f"{quoted(text_of(key))}=>{'NULL' if item is None else quoted(text_of(item))}"
        for key, item in value.items()
    )


def _json(value: Any) -> str:
    return str((value.dumps or json.dumps)(unwrap(value)))


def _binary(value: Any) -> str:
    data = unwrap(value)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"bytes are wanted, not {type(data).__name__}")
    return text_of(data)


def _range(value: Any) -> str:
    if value.isempty:
        return "empty"
    lower, upper = (
        "" if end is None else quoted(text_of(end)) for end in (value.lower, value.upper)
    )
    return f"{'[' if value.lower_inc else '('}{lower},{upper}{']' if value.upper_inc else ')'}"


for _type in JSON_TYPES:
    text_of.register(_type)(_json)
for _type in BINARY_TYPES:
    text_of.register(_type)(_binary)
for _type in INET_TYPES:
    text_of.register(_type)(lambda value: str(value.addr))
for _type in RANGE_TYPES:
    text_of.register(_type)(_range)


def quoted(text: str) -> str:
    """Quote a text for an array, a range or an hstore: all three agree on this form."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def array_text(values: Iterable[Any]) -> str:
    """Return the array literal of ``values``; a nested list is a further dimension."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple):
        return array_text(value)
    return quoted(text_of(value))


# --- one column -------------------------------------------------------------------------------


def check_text(texts: Sequence[str], longest: int | None = None) -> bool:
    """Check that PostgreSQL can hold each text; return whether COPY wants any of them escaped.

    One pass at C speed over all texts joined; the single text is only looked for when
    something is wrong.

    Args:
        texts: The texts.
        longest: The most characters that the column takes, or None.

    Raises:
        Fault: A NUL character, a lone surrogate, or too many characters.
    """
    joined = "".join(texts)
    if "\0" in joined:
        offset = next(i for i, text in enumerate(texts) if "\0" in text)
        raise Fault(offset, "text with a NUL (0x00) character, which PostgreSQL can't store")
    if not joined.isascii():
        try:
            joined.encode()
        except UnicodeEncodeError:
            raise Fault(
                next(i for i, text in enumerate(texts) if has_surrogate(text)),
                "text with a lone surrogate, which is no character and has no UTF-8 form",
            ) from None
    if longest is not None and len(joined) > longest and max(map(len, texts)) > longest:
        offset = next(i for i, text in enumerate(texts) if len(text) > longest)
        raise Fault(
            offset, f"text of {len(texts[offset])} characters, where the column takes {longest}"
        )
    return "\\" in joined or "\n" in joined or "\t" in joined or "\r" in joined


def has_surrogate(text: str) -> bool:
    """Whether a text holds a lone surrogate, which has no UTF-8 form."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return True
    return False


# --- many columns -----------------------------------------------------------------------------

# A whole column is escaped at once, joined with a character that no text holds (check_text).
_SEAM = "\0"


def copy_lines(columns: Sequence[Texts]) -> bytes:
    """Return the lines of COPY's text format: one text of each column."""
    lines = list(map("\t".join, zip(*map(_copy_column, columns), strict=True)))
    lines.append("")
    return "\n".join(lines).encode()


def _copy_column(texts: Texts) -> Sequence[str]:
    values: Sequence[str | None] = texts.values
    if texts.escape:
        present = [text for text in values if text is not None] if texts.nulls else values
        joined = _SEAM.join(present)  # type: ignore[arg-type]  # no None is left
        for special, escaped in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
            joined = joined.replace(special, escaped)
        escaped_texts = joined.split(_SEAM)
        values = spread(values, escaped_texts) if texts.nulls else escaped_texts
    if texts.nulls:
        values = ["\\N" if text is None else text for text in values]
    return values  # type: ignore[return-value]  # no None is left


def array_literal(texts: Texts) -> str:
    """Return the text[] literal of a column."""
    values = texts.values
    if not texts.quote:
        if texts.nulls:
            values = ["NULL" if text is None else text for text in values]
        return "{" + ",".join(values) + "}"  # type: ignore[arg-type]  # no None is left
    if texts.nulls:
        return "{" + ",".join(["NULL" if text is None else quoted(text) for text in values]) + "}"
    return "{" + quoted(_SEAM.join(values)).replace(_SEAM, '","') + "}"  # type: ignore[arg-type]


def spread(values: Sequence[Any], texts: Iterable[str | None]) -> list[str | None]:
    """Lay the texts of the values that are not None back beside the Nones."""
    take = iter(texts)
    return [None if value is None else next(take) for value in values]
