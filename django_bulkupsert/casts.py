"""Which types a value may be cast to without losing what it holds."""

from __future__ import annotations

import re

from .fields import Field

_INTEGER_BITS = {"smallint": 15, "integer": 31, "bigint": 63}

#: Types whose casts can't cut a value: those of Django's own fields, and their like.
_CASTABLE = {
    "bigint", "boolean", "bytea", "cidr", "citext", "date", "daterange", "double precision",
    "hstore", "inet", "int4range", "int8range", "integer", "json", "jsonb", "macaddr", "numrange",
    "real", "smallint", "text", "tsquery", "tsrange", "tstzrange", "tsvector", "uuid", "varchar",
    "xml",
}  # fmt: skip
#: Types whose length rounds, or fails, as assigning does.
_ROUNDING = re.compile(
    r"(numeric|decimal)( ?\(\d+(, ?-?\d+)?\))?"
    r"|(time|timestamp|interval)( ?\(\d\))?( with(out)? time zone)?"
)


def cast_type(db_type: str) -> str | None:
    """Return a type as a cast may name it; None where no cast is safe.

    A length that would silently cut a value is left out. One that rounds stays: 1 and 1.00 are
    different images of a number, and it is as images that stored and incoming values are
    compared. Of a type that is not known (a domain, char(n), bit(n), an extension's) nothing can
    be said, and only the table itself has it right.

    >>> cast_type("varchar(3)"), cast_type("numeric(5, 2)[4]"), cast_type("char(3)")
    ('varchar', 'numeric(5, 2)[]', None)
    """
    bare = re.sub(r"(\[\d*\])+$", "", db_type)
    brackets = db_type.count("[") - bare.count("[")
    known = re.sub(r"^(varchar|character varying) ?(\(\d+\))?$", "varchar", bare)
    if known not in _CASTABLE and not _ROUNDING.fullmatch(known):
        return None
    return known + "[]" * brackets


def integer_bounds(field: Field, base: str | None) -> tuple[int, int] | None:
    """Return the bounds of an integer column; some of Django's are positive, by a CHECK."""
    bits = _INTEGER_BITS.get(base or "")
    if bits is None:
        return None
    positive = field.get_internal_type().startswith("Positive")
    return (0 if positive else -(1 << bits)), (1 << bits) - 1
