"""Transactions of a call, which end as they should wherever a signal's handler raises.

A handler, of Ctrl-C or of a task's time limit, runs between any two instructions: in the midst of
what Django does to begin or end a transaction, or of what psycopg 3 does to send a statement. Then
Django goes on believing in a transaction that is none, or the driver waits for an answer that
nobody reads. So a call leaves both as it has found them.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
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
        if exc_value is not None:
            settle(connection)
        try:
            super().__exit__(exc_type, exc_value, traceback)
        except Error as error:
            cut = self._cut_by(error, outer)
            if cut is not None:
                raise cut from None
            if exc_type is None and isinstance(error, DatabaseError) and not is_a_hooks(error):
                own(error)
            raise
        except BaseException:
            if connection.in_atomic_block:  # who knows whether the savepoint is gone
                connection.needs_rollback = True
            raise

    def _cut_by(self, error: Error, outer: BaseException | None) -> BaseException | None:
        """Return what a handler raised, if that is why the end of a transaction failed.

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
        connection.in_atomic_block, blocks, savepoints, autocommit, _ = self.state
        del connection.atomic_blocks[blocks:]
        del connection.savepoint_ids[savepoints:]
        settle(connection)
        if connection.connection is None or connection.closed_in_transaction:
            return
        if connection.connection is not self.own:
            # Opened by the call: it may be without what Django sets once.
            if not isinstance(error, Error | BulkUpsertError):
                connection.close()
        elif is_left_as_it_was:
            return
        elif connection.in_atomic_block:
            connection.needs_rollback = True
        else:
            try:
                if not connection.run_commit_hooks_on_set_autocommit_on:
                    connection.rollback()
                connection.set_autocommit(autocommit)
            except Error:
                connection.close()
