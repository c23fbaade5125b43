"""Which errors are of a call's own statements, and not of what the caller has it run on its way.

Rows, ``progress`` and hooks of ``on_commit()`` may query, too, another database even. What they
raise goes up as it is, and nothing is tried again for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from traceback import walk_tb
from types import CodeType
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def our_own() -> Iterator[None]:
    """Mark an error that the server raises as one of a statement of ours, not of the caller's."""
    try:
        yield
    except DatabaseError as error:
        own(error)
        raise


_last: ContextVar[bool] = ContextVar("last", default=False)


@contextmanager
def last() -> Iterator[None]:
    """Run the last call of a transaction of ours: nothing that a constraint minds comes after it.

    So it can check what is deferred to the commit, while its rows can be asked which it is.
    """
    token = _last.set(True)
    try:
        yield
    finally:
        _last.reset(token)


def is_last() -> bool:
    """Whether the call at hand is the last one of its transaction."""
    return _last.get()


def is_a_hooks(error: BaseException) -> bool:
    """Whether an error is a hook's of ``on_commit()``: then the commit is through."""
    return passes_through(error, BaseDatabaseWrapper.run_and_clear_commit_hooks.__code__)


def passes_through(error: BaseException, code: CodeType, of: Any = None) -> bool:
    """Whether an error was raised within a function, as a method of an object if one is given."""
    return any(
        frame.f_code is code and (of is None or frame.f_locals.get("self") is of)
        for frame, _ in walk_tb(error.__traceback__)
    )


def is_our_own(error: DatabaseError) -> bool:
    """Whether an error is the server's answer to a statement of ours, as Django raises it."""
    djangos = type(error).__module__ == "django.db.utils"
    return djangos and getattr(error, "is_bulk_upserts", False)


def own(error: DatabaseError) -> None:
    """Let an error be one of a call's own."""
    _mark(error, ours=True)


def disown(error: DatabaseError) -> None:
    """Let an error that leaves a call be no other call's own, within which this one was made."""
    _mark(error, ours=False)


def _mark(error: DatabaseError, *, ours: bool) -> None:
    error.is_bulk_upserts = ours  # type: ignore[attr-defined]  # read by is_our_own()
