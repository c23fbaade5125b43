"""``on_error="collect"``: the rows that can't be stored are left out, and the others written."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction

from ..columns import Column
from ..driver import diagnostics
from ..errors import RowConstraintError, RowError, RowValueError
from ..names import resolve
from ..plans.upsert import UpsertPlan
from ..relations import Relation, SievedStaging, Slot, StagedPart, StagingRelation
from ..result import UpsertResult
from ..sieve import SievedRows
from ..statements.catalog import check_now, deferred
from ..statements.questions import nulls
from ..statements.screens import removal, size, stored_orphans
from ..statements.upsert import Upsert
from .attempts import Attempts
from .faults import one_of
from .found import take_keyless
from .progress import Progress
from .screening import ScreeningCall, Why, firsts, no_parent

#: SQLSTATEs of errors that are no row's: of the connection, the transaction, what was rolled back,
#: resources, locks, time limits, the system, and the server itself.
OTHER_STATES = ("08", "25", "40", "53", "55", "57", "58", "F0", "XX")


class CollectingCall(ScreeningCall):
    """A ``bulk_upsert`` under way that leaves out what can't be stored.

    All rows are staged. What constraints would refuse is asked of the server beforehand; what they
    refuse all the same is found by writing ever smaller parts.
    """

    source: SievedRows
    has_to_stage = True

    def __init__(
        self, plan: UpsertPlan, source: SievedRows, progress: Progress, attempts: Attempts
    ) -> None:
        super().__init__(plan, source, progress, attempts)
        self.rejects = source.rejects
        self.gone = []
        self._size = 0, 0
        self._deferred: str | None = None

    def run(self) -> UpsertResult:
        """Stage the rows that can be taken, and write those that can be stored."""
        return self.staged([])

    def stage(self, cursor: Any) -> StagingRelation:
        """Return the staging table, which takes what COPY doesn't refuse."""
        coded = self.source.reader.coded
        return SievedStaging(self.connection, cursor, self.slots, coded, self.rejects.reject)

    def find_keys(self, cursor: Any, staging: StagingRelation) -> None:
        """Find the keys that staged rows give by another field; take out the rows without one."""
        for error, value in take_keyless(cursor, staging):
            self.rejects.reject(error.index, error, value)

    def merged(self, cursor: Any, staging: StagingRelation) -> UpsertResult:
        """Write the rows that a staging table holds."""
        self.screen(cursor, staging)
        self._deferred = self._deferrable(cursor)
        result = self._whole(cursor, staging)
        return replace(result, rejected=self.rejects.sorted())

    def size(self, part: bool | None) -> int:
        """Return how many rows the statement at hand is over."""
        count, with_pk = self._size
        return {None: count, True: with_pk, False: count - with_pk}[part]

    def place(self, ordinal: int) -> int:
        """Return the place in the input of a row with a number."""
        return self.rejects.place(ordinal)

    def note(self, ordinal: int, error: RowError, value: Any, state: str | None) -> None:
        """Note a row that was taken out."""
        self.rejects.reject(ordinal, error, value, state)

    def _deferrable(self, cursor: Any) -> str | None:
        """Return the table's constraints that are checked at the end, by their names; else None.

        Foreign keys are looked at otherwise. What is wrong already is not for this call to tell.
        """
        deferred(self.plan.table).execute(cursor)
        names = cursor.fetchone()[0]
        try:
            self._check(cursor, names)
        except DatabaseError:
            return None
        return names  # type: ignore[no-any-return]

    def _check(self, cursor: Any, names: str | None) -> None:
        """Check constraints now that are checked at the end; they still will be."""
        if names is not None:
            with self._atomic():
                check_now(names).execute(cursor)
                transaction.set_rollback(True, self.connection.alias)

    def _whole(self, cursor: Any, staging: StagingRelation) -> UpsertResult:
        """Write all rows; again, without rows that turn out to point to none of those written."""
        while True:
            outcomes = len(self.marks.outcomes)
            with self._atomic():
                result = self._written(cursor, staging, 0, self.source.count)
                bad = self._orphaned(cursor, staging)
                if bad:
                    transaction.set_rollback(True, self.connection.alias)
            if not bad:
                return result
            del self.marks.outcomes[outcomes:]
            removal(staging.name, self.gone).execute(cursor)  # the rollback brought some back
            for column, ordinals in bad.items():
                self.take_out(cursor, staging, ordinals, no_parent(column))

    # The write ------------------------------------------------------------------------------

    def _written(self, cursor: Any, staging: StagingRelation, low: int, high: int) -> UpsertResult:
        """Write the rows with numbers from ``low`` to below ``high``; halve them if they fail."""
        whole = low == 0 and high == self.source.count
        relation: Relation = staging if whole else StagedPart(staging, low, high)
        size(relation, self._pk_slot()).execute(cursor)
        self._size = cursor.fetchone()
        if not self._size[0]:
            return UpsertResult()
        try:
            return self.tried(cursor, relation, partial(self._check, names=self._deferred))
        except DatabaseError as error:  # whose class depends on the driver
            if error is self.attempts.ending:
                raise  # no row's fault, but more than these has to be run again
            self._check_is_a_rows(cursor, staging, error)
            if self._took(cursor, staging, error):
                return self._written(cursor, staging, low, high)
            if high - low == 1:
                self._take_one(cursor, staging, low, error)
                return UpsertResult()
        middle = (low + high) // 2
        first = self._written(cursor, staging, low, middle)
        return first + self._written(cursor, staging, middle, high)

    def _check_is_a_rows(self, cursor: Any, staging: StagingRelation, error: DatabaseError) -> None:
        """Raise an error that is no row's: of the server, or of the statement whatever its rows."""
        found = diagnostics(error)
        state = found.sqlstate
        if not state or state.startswith(OTHER_STATES) or found.is_of_a_gone_row:
            raise error
        if state.startswith(("22", "23")):
            return
        self._size = 0, 0
        try:
            with self._atomic():
                self.merge(cursor, StagedPart(staging, 0, 0))
        except DatabaseError:
            raise error from error.__cause__

    def _pk_slot(self) -> Slot | None:
        pk = self.plan.pk[0]
        return next((slot for slot in self.slots if slot.column is pk and not slot.is_flag), None)

    def _orphaned(self, cursor: Any, staging: StagingRelation) -> dict[Column, list[int]]:
        """Return the rows that were written and point to no row of the same table, by the key."""
        upsert = self.upsert(staging, None)
        found = {}
        if self.plan.key:
            for column, target in self.foreign_keys(cursor, upsert):
                if target.table == self.plan.table:
                    upsert.execute(cursor, stored_orphans(upsert, column, target))
                    found[column] = firsts(cursor)
        return {column: ordinals for column, ordinals in found.items() if ordinals}

    # What is at fault -----------------------------------------------------------------------

    def _took(self, cursor: Any, staging: StagingRelation, error: DatabaseError) -> bool:
        """Take out all rows with the same fault, if they can be asked for; return if any were."""
        state = diagnostics(error).sqlstate
        upsert = self.upsert(staging, None)
        if state == "21000":  # to the server keys may be one though their texts differ
            self.seen.distinct = False
            return self.take_twice(cursor, staging, self.upsert(staging, None))
        if state == "23502" and self.asks and isinstance(error, IntegrityError):
            return self._took_nulls(cursor, staging, upsert, error)
        if state == "23505" and self.asks:
            return self._took_occupied(cursor, staging, upsert, error)
        return False

    def _took_nulls(
        self, cursor: Any, staging: StagingRelation, upsert: Upsert, error: IntegrityError
    ) -> bool:
        for column, reason, new in self.null_reasons(error, upsert):
            upsert.execute(cursor, nulls(upsert, column, new=new))
            ordinals = firsts(cursor)
            self.take_out(cursor, staging, ordinals, Why(column, reason, cause=error))
            if ordinals:
                return True
        return False

    def _took_occupied(
        self, cursor: Any, staging: StagingRelation, upsert: Upsert, error: DatabaseError
    ) -> bool:
        """Take out the rows whose values of a unique index another row has."""
        found = diagnostics(error)
        columns = self.indexed(cursor, upsert, found.constraint)
        if not columns:
            return False
        for question in self.questions(upsert, columns):
            upsert.execute(cursor, question)
            ordinals = firsts(cursor)
            why = Why(one_of(columns), found.message or str(error), cause=error)
            self.take_out(cursor, staging, ordinals, why)
            if ordinals:
                return True
        return False

    def _take_one(
        self, cursor: Any, staging: StagingRelation, ordinal: int, error: DatabaseError
    ) -> None:
        """Take out the one row that the server refused."""
        found = diagnostics(error)
        named = {slot.column.field.column: slot.column for slot in self.slots}
        column = named.get(found.column or "")
        for constraint in self.plan.model._meta.constraints:
            fields: Any = getattr(constraint, "fields", ())
            if constraint.name == found.constraint and len(fields) == 1:
                column = self.plan.column(resolve(self.plan.model, fields[0], "constraint"))
        kind = RowValueError if found.is_of_a_value else RowConstraintError
        why = Why(column, found.told or str(error), kind=kind, cause=error)
        self.take_out(cursor, staging, [ordinal], why)
