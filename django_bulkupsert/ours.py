"""Which errors are of a call's own statements, and not of what the caller has it run on its way.

Rows, ``progress`` and hooks of ``on_commit()`` may query, too, another database even. What they
raise goes up as it is, and nothing is tried again for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from traceback import walk_tb
from typing import Any

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def our_own() -> Iterator[None]:
    """Mark an error that the server raises as one of a statement of ours, not of the caller's."""
    try:
        yield
    except DatabaseError as error:
        _mark(error, ours=True)
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


class _Atomic(transaction.Atomic):
    """A transaction, or savepoint, of ours; so is an error of its commit.

    A class of Django's own kind: a signal finds no more gaps in it than in Django's.
    """

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        try:
            super().__exit__(exc_type, exc_value, traceback)
        except DatabaseError as error:
            if exc_type is None and not _is_a_hooks(error):
                _mark(error, ours=True)
            raise


def _is_a_hooks(error: DatabaseError) -> bool:
    """Whether an error is a hook's of ``on_commit()``: then the commit is through."""
    hooks = BaseDatabaseWrapper.run_and_clear_commit_hooks.__code__
    return any(frame.f_code is hooks for frame, _ in walk_tb(error.__traceback__))


def atomic(using: str) -> AbstractContextManager[Any]:
    """Return what runs a block in a transaction, or savepoint, of ours.

    Args:
        using: The database's alias.
    """
    return _Atomic(using, savepoint=True, durable=False)


def is_our_own(error: DatabaseError) -> bool:
    """Whether an error is the server's answer to a statement of ours, as Django raises it."""
    djangos = type(error).__module__ == "django.db.utils"
    return djangos and getattr(error, "is_bulk_upserts", False)


def disown(error: DatabaseError) -> None:
    """Let an error that leaves a call be no other call's own, within which this one was made."""
    _mark(error, ours=False)


def _mark(error: DatabaseError, *, ours: bool) -> None:
    error.is_bulk_upserts = ours  # type: ignore[attr-defined]  # read by is_our_own()
