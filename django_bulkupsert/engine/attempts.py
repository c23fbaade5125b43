"""What another call's timing made fail is undone, and done again; and what a call was doing.

Two calls that lock the same rows in the same order don't deadlock, but a foreign writer may have
another order. ON CONFLICT looks at one unique index, so two calls at once that bring the same new
row may meet at another, where the second one fails although its row is the first one's. Neither is
the fault of a row: the statement is rolled back to a savepoint and run again, which in READ
COMMITTED sees what the other call has written. In REPEATABLE READ and SERIALIZABLE a transaction
goes on seeing what it saw first, so all of it has to be run again: that is done here if nothing of
the caller's is in it, and the rows can be walked again.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from time import sleep
from typing import Any, TypeVar

from django.db import DatabaseError, OperationalError

from ..driver import Diagnostics, diagnostics
from ..ours import disown, is_our_own
from ..server import sees_anew
from ..sources import is_walkable_again
from ..transactions import Before

logger = logging.getLogger("django_bulkupsert")

ResultT = TypeVar("ResultT")

#: SQLSTATEs of errors that may pass (manual: "PostgreSQL Error Codes").
DEADLOCK, NOT_SERIALIZABLE, TAKEN = "40P01", "40001", "23505"

#: SQLSTATEs of a system column that the table hasn't: it is of another kind than was known.
OTHER_KIND = ("42703", "0A000")

#: SQLSTATEs of what ends a statement that takes too long (statement_timeout, or a cancellation, and
#: lock_timeout), and of what a role or a transaction may not do.
TIMEOUTS, FORBIDDEN, READ_ONLY = ("57014", "55P03"), "42501", "25006"

#: Seconds before the first retry, at most; twice as many before each that follows.
PAUSE = 0.02


class Attempts:
    """The attempts at a call.

    Args:
        connection: The database's connection.
        call: What the call is, for messages.
        needs: The privileges that it needs on the table, for messages.
        most: How often something is tried again, at most.
        rows: The caller's rows.

    Attributes:
        count: How often something was tried again.
        doing: What the call is doing, for messages.
        ending: The error that may pass, but not by what raised it: more has to be run again.
    """

    def __init__(self, connection: Any, call: str, needs: str, most: int, rows: Any) -> None:
        self.connection = connection
        self.call = call
        self.needs = needs
        self.most = most
        self.count = 0
        self.doing = "preparing"
        self.ending: DatabaseError | None = None
        # Asked of Django: there may be no connection yet, nor need for one.
        autocommit = connection.autocommit
        if connection.connection is None:
            autocommit = connection.settings_dict["AUTOCOMMIT"]
        self._owns = autocommit and not connection.in_atomic_block
        self._is_walkable = is_walkable_again(rows)
        self._is_inside = False  # whether a part of a part is run
        self._inner_tries = 0

    def whole(self, run: Callable[[], ResultT]) -> ResultT:
        """Run a whole call, and again if that may help.

        Raises:
            DatabaseError: It didn't. The server's answer to a statement of the call's is told
                without the values that it may hold, and with more of what took too long, or is not
                allowed.
        """
        if self.connection.vendor != "postgresql":
            return self._whole(run)  # which refuses it
        before = Before(self.connection)
        try:
            return self._whole(run)
        except BaseException as error:
            try:
                before.restore(error)
            except BaseException:
                before.close()
                raise
            raise

    def _whole(self, run: Callable[[], ResultT]) -> ResultT:
        while True:
            self.ending = None
            try:
                return run()
            except DatabaseError as error:
                if not is_our_own(error):
                    raise
                disown(error)
                lost = self._owns and diagnostics(error).sqlstate in (DEADLOCK, NOT_SERIALIZABLE)
                passes = (error is self.ending or lost) and self.count < self.most
                if not (passes and self._owns and self._is_walkable):
                    raise self._told(error, why=passes) from error.__cause__
                self._pause(error)

    def part(
        self,
        attempt: Callable[[], ResultT],
        *,
        passes: Callable[[DatabaseError], int] | None,
        alone: bool,
    ) -> ResultT:
        """Run a part of a call, and again if that may help.

        What is a part of another one is undone with that, which holds its locks.

        Args:
            attempt: Does the work, in a transaction or savepoint of its own.
            passes: How often to try again where another row has a value (23505), which may be this
                call's own next time, or the table is of another kind than was known; None: a part
                of this one says.
            alone: Whether the attempt is a whole transaction.
        """
        if self._is_inside:
            return self._inner(attempt, passes)
        tried = 0
        while True:
            self.ending, self._is_inside = None, passes is None
            try:
                return attempt()
            except DatabaseError as error:
                self._is_inside = False
                if tried >= self._tries(error, passes) or self.count >= self.most:
                    raise
                if not alone and not self._sees_anew(error):
                    self.ending = error
                    raise
                tried += 1
                self._pause(error)
            finally:
                self._is_inside = False

    def _inner(
        self, attempt: Callable[[], ResultT], passes: Callable[[DatabaseError], int] | None
    ) -> ResultT:
        """Run a part of a part, and note whether its error may pass."""
        try:
            return attempt()
        except DatabaseError as error:
            known = is_our_own(error) and diagnostics(error).sqlstate in (TAKEN, *OTHER_KIND)
            if passes is not None and known:
                self._inner_tries = passes(error)
                if self._inner_tries:
                    self.ending = error
            raise

    def _tries(self, error: DatabaseError, passes: Callable[[DatabaseError], int] | None) -> int:
        """Return how often to try again what ended with an error."""
        if not is_our_own(error):
            return 0
        found = diagnostics(error)
        state = found.sqlstate
        if state in OTHER_KIND or (state == TAKEN and self.count < self.most):
            if passes is None:
                return self._inner_tries if error is self.ending else 0
            return passes(error)
        if state not in (DEADLOCK, NOT_SERIALIZABLE) and not found.is_of_a_gone_row:
            return 0
        # The caller's transaction may hold the very locks that the other one waits for.
        return self.most if self._owns else 1

    def _sees_anew(self, error: DatabaseError) -> bool:
        """Whether a statement sees what was committed since the last one: in READ COMMITTED.

        Raises:
            DatabaseError: The one at hand, if that can't be asked.
        """
        try:
            with self.connection.cursor() as cursor:
                return sees_anew(cursor)
        except DatabaseError:
            raise error from error.__cause__

    def _told(self, error: DatabaseError, *, why: bool) -> DatabaseError:
        """Return an error as it is told: without values, and with what there is to say."""
        found = diagnostics(error)
        if found.is_of_a_gone_row:
            error = OperationalError(
                f"{self.call} was {self.doing}, when another transaction (or a trigger) deleted a "
                "row that it was to update; nothing of it was written"
                + ("" if why else "; run it again")
            )
            found = Diagnostics()
        said = str(error).rstrip()
        notes = [
            f"HINT:  {found.hint}" if found.hint else None,
            self._why_not() if why else None,
            self._note(found.sqlstate),
        ]
        told = "\n".join([found.told or said, *filter(None, notes)])
        return error if told == said else type(error)(told)

    def _note(self, state: str | None) -> str | None:
        """Return what to say beside the server's error."""
        if state in TIMEOUTS:
            return f"{self.call} was {self.doing}; nothing of it was written"
        if state == READ_ONLY:
            return f"{self.call}: the transaction is read-only, or the server is a standby"
        if state == FORBIDDEN:
            return (
                f"{self.call} was {self.doing}; on the table it needs {self.needs}, and where that "
                "has row-level security, policies that let the rows through; USAGE on a sequence "
                "that draws primary keys; and to stage many rows TEMPORARY on the database"
            )
        return None

    def _why_not(self) -> str:
        if self._owns:
            return (
                f"{self.call} was not tried again: its transaction sees only what was there when "
                "it began, and its rows come from an iterator, which can't be walked again"
            )
        return (
            f"{self.call} was not tried again: the transaction that it is in sees only what was "
            "there when that began; run the whole transaction again"
        )

    def _pause(self, error: DatabaseError) -> None:
        """Wait a while, so that calls which met don't meet again."""
        self.count += 1
        found = diagnostics(error)
        seconds = random.uniform(0, PAUSE * 2 ** (self.count - 1))  # noqa: S311 (no secret)
        logger.warning(
            "%s: %s (%s), while %s; trying again, %d of %d times, in %.3f s",
            self.call,
            found.told,
            found.sqlstate,
            self.doing,
            self.count,
            self.most,
            seconds,
        )
        sleep(seconds)
