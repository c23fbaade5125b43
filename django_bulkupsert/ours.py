"""Which errors are of a call's own statements, and not of what the caller has it run on its way.

Rows, ``progress`` and hooks of ``on_commit()`` may query, too, another database even. What they
raise goes up as it is, and nothing is tried again for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import DatabaseError, connections, transaction


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


@contextmanager
def atomic(using: str) -> Iterator[None]:
    """Run a block in a transaction, or savepoint, of ours; so is an error of its commit.

    Not one that comes when the commit is through: that is a hook's.

    Args:
        using: The database's alias.
    """
    connection = connections[using]
    commits = not connection.in_atomic_block and connection.get_autocommit()
    ended = through = False

    def note() -> None:
        nonlocal through
        through = True

    try:
        with transaction.atomic(using=using):
            if commits:
                transaction.on_commit(note, using=using)  # before the caller's
            yield
            ended = True
    except DatabaseError as error:
        if ended and not through:
            _mark(error, ours=True)
        raise


def is_our_own(error: DatabaseError) -> bool:
    """Whether an error is the server's answer to a statement of ours, as Django raises it."""
    djangos = type(error).__module__ == "django.db.utils"
    return djangos and getattr(error, "is_bulk_upserts", False)


def disown(error: DatabaseError) -> None:
    """Let an error that leaves a call be no other call's own, within which this one was made."""
    _mark(error, ours=False)


def _mark(error: DatabaseError, *, ours: bool) -> None:
    error.is_bulk_upserts = ours  # type: ignore[attr-defined]  # read by is_our_own()
