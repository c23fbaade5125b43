"""What COPY says of an error, as the row and the field that are wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from django.db import DatabaseError, IntegrityError

from ..driver import Diagnostics, diagnostics, without_value
from ..errors import RowConstraintError, RowError, RowValueError

#: Errors whose DETAIL tells more without telling the value: out of range, untranslatable.
_TELLING = ("22003", "22P05")

#: Errors whose message names a constraint or a column, and no value: of NOT NULL, a foreign key,
#: a unique constraint, a check, an exclusion.
_NAMING = ("23502", "23503", "23505", "23514", "23P01")

#: What a constraint's error says, in PostgreSQL's own words.
_VIOLATES = re.compile(r"violates (unique|check|not-null|foreign key|exclusion) constraint")


def located(
    error: DatabaseError, table: str, labels: Mapping[str, str], indexes: Sequence[int]
) -> RowError | None:
    """Return the error of the row that COPY stumbled over, or None if it names none.

    Args:
        error: The error of a COPY.
        table: The name of the table that was filled, without its schema.
        labels: The fields of the columns that were sent, as messages name them, by the names of
            the columns.
        indexes: The position in the input of each line.
    """
    found = diagnostics(error)
    # The server may speak any language: the table, a number, and the column's name stay.
    place = re.compile("^COPY " + re.escape(table) + r", \D*(\d+)(.*)", re.MULTILINE)
    match = place.search(found.context or "")
    if match is None:
        return None
    index = indexes[int(match[1]) - 1]
    column = found.column or match[2].split(": ")[0].rstrip(" :")
    names = [name for name in labels if column.endswith(name)]
    field = labels[max(names, key=len)] if names else None
    own = match.start() == 0  # or it is a trigger's, whose message may hold anything
    kind = RowValueError if found.is_of_a_value else RowConstraintError
    return kind(index, field, reason_of(found, own=own) or str(error))


def reason_of(found: Diagnostics, *, own: bool = True) -> str:
    """Return what the server says of a row that it can't take, without values.

    Args:
        found: The error's details.
        own: Whether it is COPY's own.
    """
    message = found.message or ""
    if own and found.sqlstate in _NAMING:
        return message
    reason = without_value(message)
    if found.sqlstate in _TELLING and found.detail:
        return f"{reason} ({found.detail.rstrip('.')})"
    return reason


def as_violation(error: DatabaseError) -> IntegrityError | None:
    """Return the error that it should be, where an engine made an internal one of a constraint's.

    Citus does so of what a shard's COPY refuses; the message is the constraint's.
    """
    found = diagnostics(error)
    if found.sqlstate != "XX000" or not _VIOLATES.search(found.message or ""):
        return None
    return IntegrityError(found.message)
