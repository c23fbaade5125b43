"""The conditions of ``--filter``: lookups, and values that are written as texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.exceptions import FieldError, ValidationError
from django.core.management.base import CommandError
from django.db import DataError, Error, NotSupportedError, ProgrammingError, models, transaction
from django.db.models.constants import LOOKUP_SEP
from django.utils import timezone

from ..csvs.values import BOOLEANS, reader_of_texts
from ..driver import diagnostics
from .refusals import REFUSED, one_line

#: Lookups whose value is one of the field's, or several.
_OF_VALUES = ("exact", "gt", "gte", "lt", "lte", "in", "range")

#: What Django raises of a lookup, or of its value.
_MEANT_WRONG = (TypeError, ValueError, LookupError, FieldError, ValidationError)

#: What the server raises of a statement, rather than of itself.
_STATED_WRONG = (DataError, NotSupportedError, ProgrammingError)


def filtered(queryset: Any, conditions: Sequence[tuple[str, str]]) -> Any:
    """Return the rows for which all of some conditions hold, each of them once.

    Args:
        queryset: The rows.
        conditions: Per condition the lookup, and the text of its value.

    Raises:
        CommandError: A lookup is none, or a value is none for its lookup.
    """
    found = queryset
    several = False
    for lookup, text in conditions:
        with _named(lookup, text):
            path, field, _, rest = queryset.query.names_to_path(
                lookup.split(LOOKUP_SEP), queryset.model._meta
            )
            found = found.filter(**{lookup: _meant(field, rest, text)})
            # Some values are looked at only here.
            found.query.get_compiler(found.db, elide_empty=False).as_sql()
            # Of several rows that belong to one, it is found as often.
            several = several or any(step.m2m for step in path)
    return queryset.filter(pk__in=found.values("pk")) if several else found


@contextmanager
def blamed(queryset: Any, conditions: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Have what the server refuses be told of the condition that it refuses, if it is one.

    Args:
        queryset: The rows, without conditions.
        conditions: The conditions.

    Raises:
        CommandError: It is one.
    """
    try:
        yield
    except _STATED_WRONG:
        if conditions and _can_be_read(queryset):
            for each in conditions:
                with _named(*each), transaction.atomic(queryset.db):
                    filtered(queryset, [each]).count()
        raise


def _can_be_read(queryset: Any) -> bool:
    try:
        with transaction.atomic(queryset.db):
            queryset.exists()
    except Error:
        return False
    return True


@contextmanager
def _named(lookup: str, text: str) -> Iterator[None]:
    """Have errors name the option.

    Raises:
        CommandError: There was one.
    """
    try:
        yield
    except (*_STATED_WRONG, *_MEANT_WRONG) as error:
        reason = diagnostics(error).message or one_line(error)  # without a part of the statement
        raise CommandError(f"--filter {lookup}={text}: {reason}", returncode=REFUSED) from error


def _meant(field: Any, rest: Sequence[str], text: str) -> Any:
    """Return the value that a text stands for, where the lookup itself won't read it.

    Args:
        field: The lookup's field.
        rest: What follows it: transforms, and how values are compared.
        text: The text.

    Raises:
        ValueError: It stands for none.
        ValidationError: So, too.
    """
    last = rest[-1] if rest else "exact"
    if last == "isnull":
        return _boolean(text)
    if last == "range" and text.count(",") != 1:
        raise ValueError("a range is two values, FROM,TO")
    read = _reader(field) if len(rest) < 2 and last in _OF_VALUES else str
    return [read(each) for each in text.split(",")] if last in ("in", "range") else read(text)


def _reader(field: Any) -> Callable[[str], Any]:
    """Return what reads a text as bulkupsert does, where Django would read another value."""
    if isinstance(field, models.BooleanField):
        return _boolean
    if isinstance(field, models.DateTimeField):
        convert = reader_of_texts(field) or field.to_python
        return lambda text: _in_zone(convert(text))
    return str


def _boolean(text: str) -> bool:
    found = BOOLEANS.get(text.strip().lower())
    if found is None:
        raise ValueError("neither true nor false")
    return found


def _in_zone(moment: Any) -> Any:
    """Return a date and time, which without a zone is of the current one."""
    return timezone.make_aware(moment) if settings.USE_TZ and timezone.is_naive(moment) else moment
