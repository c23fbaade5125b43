"""Transactions of a call, which end as they should wherever a signal's handler raises.

A handler, of Ctrl-C or of a task's time limit, runs between any two instructions: in the midst of
what Django does to begin or end a transaction, or of what psycopg 3 does to send a statement. Then
Django goes on believing in a transaction that is none, or the driver waits for an answer that
nobody reads. So a call leaves both as it has found them.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from django.db import DatabaseError, Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .driver import is_aborted, settle
from .ours import is_a_hooks, own, passes_through

#: What opens a connection.
_CONNECT = getattr(BaseDatabaseWrapper.connect, "__wrapped__", BaseDatabaseWrapper.connect).__code__

#: The blocks of ours whose end has not been seen, of each connection.
_open: WeakKeyDictionary[Any, list[_Atomic]] = WeakKeyDictionary()


class _Atomic(transaction.Atomic):
    """A transaction, or savepoint, of ours; so is an error of its commit."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection.alias, savepoint=True, durable=False)
        self.connection = connection
        self.is_over = False

    def __enter__(self) -> None:
        connection = self.connection
        _open.setdefault(connection, []).append(self)
        super().__enter__()
        self.depth = len(connection.atomic_blocks), len(connection.savepoint_ids)

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if self.is_over:
            return  # by restore(), while a generator held it
        connection = self.connection
        if _forget(connection, _open[connection].index(self) + 1):
            _cut_back(connection, *self.depth)
        outer = sys.exc_info()[1]
        savepoints = connection.savepoint_ids[-1:]
        if exc_value is not None:
            settle(connection)
        try:
            super().__exit__(exc_type, exc_value, traceback)
        except Error as error:
            if not savepoints and connection.connection is not None and not connection.autocommit:
                cut = self._cut_by(error, outer)
                if cut is not None:
                    raise cut from cut.__cause__  # and restore() sees to it
            elif exc_type is None and isinstance(error, DatabaseError) and not is_a_hooks(error):
                own(error)
            self._note_end()
            raise
        except BaseException as error:
            if is_a_hooks(error):
                self._note_end()
            elif savepoints:
                _end(connection, savepoints[0])
            raise  # and what is around it sees to what Django goes on believing
        self._note_end()

    def _note_end(self) -> None:
        _open[self.connection].remove(self)

    def _cut_by(self, error: Error, outer: BaseException | None) -> BaseException | None:
        """Return what a handler raised, if that is why a transaction didn't end, or None.

        Django goes on where a handler raises, and fails for that.

        Args:
            error: Why it failed.
            outer: What was being handled before.
        """
        databases = (Error, self.connection.Database.Error)
        seen: list[BaseException] = []
        found: BaseException | None = error
        while isinstance(found, databases) and found not in seen:
            seen.append(found)
            found = found.__context__ if found.__context__ is not outer else None
        return None if isinstance(found, databases) else found


def atomic(using: str) -> AbstractContextManager[Any]:
    """Return what runs a block in a transaction, or savepoint, of ours.

    Args:
        using: The database's alias.
    """
    return _Atomic(connections[using])


class Before:
    """What a connection was in when a call began.

    Args:
        connection: The connection, to PostgreSQL.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.count = len(_open.get(connection, ()))
        self.state = self._state()

    def _state(self) -> tuple[Any, ...]:
        connection = self.connection
        driver = connection.connection
        autocommits = connection.settings_dict["AUTOCOMMIT"]
        return (
            connection.in_atomic_block,
            len(connection.atomic_blocks),
            len(connection.savepoint_ids),
            autocommits if driver is None else connection.autocommit,
            autocommits if driver is None else driver.autocommit,
        )

    def restore(self, error: BaseException) -> None:
        """Put right what an error has cut short.

        What ended as it should, by whatever error, is left alone.

        Args:
            error: What ended the call.
        """
        connection = self.connection
        is_handlers = not isinstance(error, Error)
        was_cut = _forget(connection, self.count) and self._state() != self.state
        savepoints = self._reset() if was_cut else []
        settle(connection)
        driver = connection.connection
        if is_handlers and driver is not None:
            # It may have given up, or Django not have set what it sets once.
            is_fit = not driver.closed and not passes_through(error, _CONNECT, connection)
            if not is_fit:
                connection.close()
        if connection.connection is None or connection.closed_in_transaction:
            return
        *_, autocommits, _ = self.state
        if connection.in_atomic_block or not autocommits:
            if savepoints:
                _end(connection, savepoints[0])
            if is_handlers and is_aborted(connection):
                connection.needs_rollback = True
        elif was_cut:
            try:
                if not connection.run_commit_hooks_on_set_autocommit_on:
                    connection.rollback()
                connection.set_autocommit(True)
            except Error:
                connection.close()

    def close(self) -> None:
        """Give the session up, where a second error comes while one is seen to."""
        _forget(self.connection, self.count)
        self._reset()
        self.connection.close()

    def _reset(self) -> list[str | None]:
        """Have Django believe what it did; return the savepoints that it would forget."""
        self.connection.in_atomic_block, blocks, savepoints, *_ = self.state
        return _cut_back(self.connection, blocks, savepoints)


def _forget(connection: Any, count: int) -> bool:
    """Forget all but so many blocks of ours whose end has not been seen; return whether any was."""
    blocks = _open.get(connection, [])
    forgotten = blocks[count:]
    for each in forgotten:
        each.is_over = True
    del blocks[count:]
    return bool(forgotten)


def _cut_back(connection: Any, blocks: int, count: int) -> list[str | None]:
    """Have Django believe in so many blocks and savepoints; return the other savepoints."""
    savepoints: list[str | None] = connection.savepoint_ids[count:]
    del connection.atomic_blocks[blocks:]
    del connection.savepoint_ids[count:]
    return savepoints


def _end(connection: Any, savepoint: str | None) -> None:
    """Roll back to a savepoint of ours, unless it has ended already.

    Args:
        connection: The connection, in a transaction.
        savepoint: The savepoint; None: there was none, since the transaction can't go on anyway.
    """
    settle(connection)
    connection.needs_rollback = savepoint is None
    if savepoint is None:
        return
    inner = None
    try:
        with suppress(DatabaseError):  # that the transaction is aborted: then it hasn't ended
            inner = connection.savepoint()
        try:
            _roll_back(connection, savepoint)
        except DatabaseError:
            if inner is None:
                raise
            _roll_back(connection, inner)
    except Error:
        connection.needs_rollback = True


def _roll_back(connection: Any, savepoint: str) -> None:
    connection.savepoint_rollback(savepoint)
    connection.savepoint_commit(savepoint)
