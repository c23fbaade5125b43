"""Everything that a call can raise of its own, as one tree.

::

    BulkUpsertError
    ├── UnsupportedDatabase     NotSupportedError   the alias is not PostgreSQL
    ├── UnsupportedModel        NotSupportedError   the model has a shape that is not handled
    ├── OptionError             ValueError          a keyword that can't be taken
    │   ├── UnknownFieldError   FieldDoesNotExist   a name that is no column of the model
    │   └── MatchError                              rows can't be matched by these fields
    ├── MissingConstraintError  ProgrammingError    the table lacks a constraint of the model's
    ├── DuplicateKeysError      IntegrityError      the input holds a key more than once
    ├── CsvError                ValueError          a file can't be read as CSV: .line
    ├── DeferredConstraintError IntegrityError      a constraint, checked last, refuses some row
    └── RowError                                    one row is at fault: .index, .field
        ├── RowExpressionError  FieldError, ValueError  an expression that can't be used there
        ├── RowTypeError        TypeError           the row is of no kind that is taken
        ├── RowFieldsError      ValueError          the row lacks a field, or gives one too many
        ├── RowValueError       DataError, ValueError   a value that the column can't hold
        ├── UnsavedRelatedError ValueError          a related object without a primary key
        └── RowConstraintError  IntegrityError      a constraint refuses the row

Each class is also of the class (second column) that code written for Django would catch. What
the server refuses without saying which row it was comes up as Django's own exception.

Messages hold no values of a row, so they can be logged, but for these: a key that stands twice in
the input, and what names a row of another model (``country__code``) and none has, because there the
value is the news; and what code of yours says: a trigger, a validator, a JSON encoder. (The cause
of an error, which a traceback shows too, is the server's, and does.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import DataError, IntegrityError, NotSupportedError, ProgrammingError

#: The reason where a row gives NULL to a column that refuses it.
TAKES_NO_NULL = "None, where the column takes no NULL"


class BulkUpsertError(Exception):
    """The root of the tree: every exception that django_bulkupsert makes itself."""


class UnsupportedDatabase(BulkUpsertError, NotSupportedError):
    """The database behind the alias is not PostgreSQL."""

    def __init__(self, alias: str, vendor: str) -> None:
        super().__init__(
            f"django_bulkupsert writes to PostgreSQL only, and the database alias {alias!r} "
            f"is {vendor}; pass another alias with using(), or point {alias!r} at PostgreSQL"
        )
        self.alias = alias
        self.vendor = vendor


class UnsupportedModel(BulkUpsertError, NotSupportedError):
    """The model has a shape that this version does not handle."""


class OptionError(BulkUpsertError, ValueError):
    """A keyword of the call can't be taken. Nothing was written; mostly, nothing was sent."""


class UnknownFieldError(OptionError, FieldDoesNotExist):
    """A name in an option, or a key of the first row, is no column of the model."""


class MatchError(OptionError):
    """Rows can't be matched by these fields: for an upsert, no unique constraint covers them."""


class MissingConstraintError(BulkUpsertError, ProgrammingError):
    """The table has no unique index that does what the model says; nothing was written."""


class DuplicateKeysError(BulkUpsertError, IntegrityError):
    """The input holds the same key more than once; nothing was written.

    Attributes:
        fields: The names of the key's fields.
        keys: Up to ten of the keys, each as the tuple of its parts in PostgreSQL's text form.
        indexes: For each of ``keys``, the positions (from 0) of its rows in the input.
        lines: For each of ``keys``, the lines of its rows, where they are those of a file; or None.
        more: Whether there are further ones.
        choice: Whether it can be said which of a key's rows counts.
    """

    def __init__(
        self,
        fields: Sequence[str],
        keys: Sequence[tuple[str, ...]],
        indexes: Sequence[tuple[int, ...]],
        *,
        more: bool = False,
        choice: bool = True,
        lines: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        advice = "pass each key once"
        if choice:
            advice += ", or say which of its rows counts: duplicates='first' or 'last'"
        shown = "; ".join(
            f"({', '.join(fields)}) = ({', '.join(key)}) in {'lines' if lines else 'rows'} "
            f"{listing(places)}"
            for key, places in zip(keys, lines or indexes, strict=True)
        )
        super().__init__(
            "the input holds the same key more than once: "
            f"{shown}{'; and more' if more else ''}; {advice}"
        )
        self.fields = tuple(fields)
        self.keys = list(keys)
        self.indexes = list(indexes)
        self.lines = None if lines is None else list(lines)
        self.more = more
        self.choice = choice

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild = partial(type(self), more=self.more, choice=self.choice, lines=self.lines)
        return rebuild, (self.fields, self.keys, self.indexes)


class CsvError(BulkUpsertError, ValueError):
    """A file can't be read as CSV; nothing was written.

    Attributes:
        line: The line, from 1, at which reading stopped.
        reason: What is wrong, without the line.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason

    def __reduce__(self) -> tuple[type[CsvError], tuple[int, str]]:
        return type(self), (self.line, self.reason)


class DeferredConstraintError(BulkUpsertError, IntegrityError):
    """A constraint that is checked when all rows are there refuses one; nothing was written.

    Which row that is, the server doesn't say. Django's foreign keys are such constraints, and so
    are unique constraints that are deferred.

    Attributes:
        fields: The names of the constraint's fields.
        constraint: Its name in the database.
        reason: What is wrong, in the server's words.
    """

    def __init__(self, fields: Sequence[str], constraint: str, reason: str) -> None:
        what = "field" if len(fields) == 1 else "fields"
        super().__init__(f"some row, {what} {listing(map(repr, fields))}: {reason}")
        self.fields = tuple(fields)
        self.constraint = constraint
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.fields, self.constraint, self.reason)


class RowError(BulkUpsertError):
    """One row of the input is at fault; nothing was written.

    Attributes:
        index: The row's position in the input, from 0.
        field: The name of the field at fault, or None where the row as a whole is.
        reason: What is wrong, without the position.
        line: Of a row of a file, the line on which it begins, from 1; else None.
    """

    def __init__(self, index: int, field: str | None, reason: str, line: int | None = None) -> None:
        where = f"row {index}" if line is None else f"line {line} (row {index})"
        super().__init__(f"{where}{'' if field is None else f', field {field!r}'}: {reason}")
        self.index = index
        self.field = field
        self.reason = reason
        self.line = line

    def __reduce__(self) -> tuple[type[RowError], tuple[int, str | None, str, int | None]]:
        return type(self), (self.index, self.field, self.reason, self.line)


class RowTypeError(RowError, TypeError):
    """The row is of a type that is not taken, or of another type than the first row."""


class RowFieldsError(RowError, ValueError):
    """The row lacks a field, such as its primary key, or gives one that the first row doesn't."""


class RowExpressionError(RowError, FieldError, ValueError):
    """The row holds an SQL expression that can't be used there."""


class RowValueError(RowError, DataError, ValueError):
    """The value can't be stored in the field's column."""


class UnsavedRelatedError(RowError, ValueError):
    """The row points to a related object that has no primary key yet."""


class RowConstraintError(RowError, IntegrityError):
    """A constraint of the table refuses the row."""


@contextmanager
def counted_in(indexes: Sequence[int]) -> Iterator[None]:
    """Have errors name rows by their positions in the whole input.

    Args:
        indexes: The position of each row of the part that is being written.
    """
    try:
        yield
    except RowError as error:
        raise type(error)(indexes[error.index], error.field, error.reason) from error
    except DuplicateKeysError as error:
        places = [tuple(indexes[i] for i in rows) for rows in error.indexes]
        raise DuplicateKeysError(
            error.fields, error.keys, places, more=error.more, choice=error.choice
        ) from error


def counted(rows: int) -> str:
    """Return a number of rows as a message has it."""
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def listing(values: Iterable[object], most: int = 10, of: int = 0) -> str:
    """Return ``values``, the first ``of`` so many, as "a, b and c", cut after ``most`` of them."""
    words = [str(value) for value in values]
    more = max(len(words), of) - len(words[:most])
    if more:
        return ", ".join(words[:most]) + f" and {more} more"
    if len(words) > 1:
        return ", ".join(words[:-1]) + " and " + words[-1]
    return "".join(words)
