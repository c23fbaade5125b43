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

from django.db import DatabaseError, Error, connections, transaction

from .driver import settle
from .errors import BulkUpsertError
from .ours import is_a_hooks, own


class _Atomic(transaction.Atomic):
    """A transaction, or savepoint, of ours; so is an error of its commit."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection.alias, savepoint=True, durable=False)
        self.connection = connection

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        connection = self.connection
        if self not in connection.atomic_blocks:
            return  # ended already, by restore(), while a generator held it
        outer = sys.exc_info()[1]
        savepoints = connection.savepoint_ids[-1:]
        if exc_value is not None:
            settle(connection)
        try:
            super().__exit__(exc_type, exc_value, traceback)
        except BaseException as error:
            if is_a_hooks(error):
                raise
            cut = self._cut_by(error, outer)
            if cut is not None and savepoints:
                _end(connection, savepoints[0])
            if cut not in (None, error):
                raise cut from None
            if exc_type is None and isinstance(error, DatabaseError):
                own(error)
            raise

    def _cut_by(self, error: BaseException, outer: BaseException | None) -> BaseException | None:
        """Return what a handler raised, if that is why the end of a transaction failed, or None.

        Django goes on where a handler raises, and may fail for that.

        Args:
            error: Why it failed.
            outer: What was being handled before.
        """
        databases = (Error, self.connection.Database.Error)
        found: BaseException | None = error
        while isinstance(found, databases):
            found = found.__context__ if found.__context__ is not outer else None
        return found


def atomic(using: str) -> AbstractContextManager[Any]:
    """Return what runs a block in a transaction, or savepoint, of ours.

    Args:
        using: The database's alias.
    """
    return _Atomic(connections[using])


class Before:
    """What a connection was in when a call began.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.own = connection.connection
        self.state = self._state()
        self.autocommits = self.state[3]

    def _state(self) -> tuple[Any, ...]:
        connection = self.connection
        own = connection.connection
        return (
            connection.in_atomic_block,
            len(connection.atomic_blocks),
            len(connection.savepoint_ids),
            connection.settings_dict["AUTOCOMMIT"] if own is None else connection.autocommit,
            connection.settings_dict["AUTOCOMMIT"] if own is None else own.autocommit,
        )

    def restore(self, error: BaseException) -> None:
        """Put right what an error has cut short.

        Args:
            error: What ended the call.
        """
        connection = self.connection
        is_left_as_it_was = self._state() == self.state
        savepoints = self._reset()
        settle(connection)
        if connection.connection is None or connection.closed_in_transaction:
            return
        if connection.connection is not self.own:
            # Opened by the call: it may be without what Django sets once.
            if not isinstance(error, Error | BulkUpsertError):
                connection.close()
        elif connection.in_atomic_block or not self.autocommits:
            if savepoints:
                _end(connection, savepoints[0])
        elif not is_left_as_it_was:
            try:
                if not connection.run_commit_hooks_on_set_autocommit_on:
                    connection.rollback()
                connection.set_autocommit(True)
            except Error:
                connection.close()

    def close(self) -> None:
        """Give the session up, where a second error comes while one is seen to."""
        self._reset()
        self.connection.close()

    def _reset(self) -> list[str | None]:
        """Have Django believe what it did; return the savepoints that it would forget."""
        connection = self.connection
        connection.in_atomic_block, blocks, count, *_ = self.state
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
