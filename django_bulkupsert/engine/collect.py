"""``on_error="collect"``: the rows that can't be stored are left out, and the others written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import DatabaseError, DataError, IntegrityError

from ..columns import Column
from ..driver import diagnostics
from ..errors import RowConstraintError, RowError, RowValueError, listing
from ..names import resolve
from ..plans.upsert import UpsertPlan
from ..relations import Relation, SievedStaging, Slot, StagedPart, StagingRelation
from ..result import UpsertResult
from ..sieve import SievedRows
from ..statements.questions import duplicates, nulls
from ..statements.screens import checks, orphans, removal, size, texts, unchecked
from ..statements.upsert import Upsert
from .progress import Progress
from .upsert import UpsertCall

#: SQLSTATEs of errors that are a row's: of a value, a constraint, or by a trigger's own words.
ROW_STATES = ("22", "23", "P0001")

#: Keys that stand twice, of which the rows are told at a time.
MOST_KEYS = 1_000_000


@dataclass(frozen=True)
class Why:
    """Why rows are left out.

    Attributes:
        column: The column at fault, or None.
        reason: What is wrong.
        state: The SQLSTATE, if no error of the server has it.
        kind: The error that a row is.
        cause: The server's error, if there is one.
    """

    column: Column | None
    reason: str
    state: str | None = None
    kind: type[RowError] = RowConstraintError
    cause: Exception | None = None


class CollectingCall(UpsertCall):
    """A ``bulk_upsert`` under way that leaves out what can't be stored.

    All rows are staged. What constraints would refuse is asked of the server beforehand, by a query
    for all rows; what they refuse all the same is found by halving.
    """

    source: SievedRows

    def __init__(self, plan: UpsertPlan, source: SievedRows, progress: Progress) -> None:
        super().__init__(plan, source, progress)
        self.rejects = source.rejects
        self._size = 0, 0

    def run(self) -> UpsertResult:
        """Stage the rows that can be taken, and write those that can be stored."""
        return self.staged([])

    def stage(self, cursor: Any) -> StagingRelation:
        """Return the staging table, which takes what COPY doesn't refuse."""
        return SievedStaging(self.connection, cursor, self.slots, self.reject)

    def merged(self, cursor: Any, staging: StagingRelation) -> UpsertResult:
        """Write the rows that a staging table holds."""
        self._screen(cursor, staging)
        result = self._written(cursor, staging, 0, self.source.count)
        return replace(result, rejected=self.rejects.sorted())

    def size(self, part: bool | None) -> int:
        """Return how many rows the statement at hand is over."""
        count, with_pk = self._size
        return {None: count, True: with_pk, False: count - with_pk}[part]

    def place(self, ordinal: int) -> int:
        """Return the place in the input of a row with a number."""
        return self.rejects.place(ordinal)

    def reject(self, ordinal: int, error: RowError, value: Any = None) -> None:
        """Note a row that is staged, or was to be."""
        self.rejects.reject(ordinal, error, value)

    # Before the write -----------------------------------------------------------------------

    def _screen(self, cursor: Any, staging: StagingRelation) -> None:
        """Take out what constraints would refuse, as far as that can be asked for all rows."""
        upsert = self.upsert(staging, None)
        for column in self.source.first_null:
            if not column.field.null and column not in self.plan.pk:
                self._take_nulls(cursor, staging, upsert, column)
        self._take_unchecked(cursor, staging, upsert)
        for slot in self.slots:
            if not slot.is_flag:
                self._take_orphans(cursor, staging, upsert, slot.column)
        self._take_twice(cursor, staging, upsert)

    def _take_nulls(
        self, cursor: Any, staging: StagingRelation, upsert: Upsert, column: Column
    ) -> None:
        upsert.execute(cursor, nulls(upsert, column, new=False))
        why = Why(column, "None, where the column takes no NULL", "23502")
        self._take_out(cursor, staging, _firsts(cursor), why)

    def _take_unchecked(self, cursor: Any, staging: StagingRelation, upsert: Upsert) -> None:
        """Take out what CHECK constraints refuse that are over columns which all rows give."""
        given = {
            column.field.column: column
            for column in (*upsert.slot_of, *(each.column for each in self.source.reader.constants))
            if column not in self.plan.pk
        }
        checks(self.plan.table).execute(cursor)
        found = [row for row in cursor.fetchall() if given.keys() >= set(row[2])]
        if not found:
            return
        columns = [given[name] for name in dict.fromkeys(name for row in found for name in row[2])]
        upsert.execute(cursor, unchecked(upsert, [row[1] for row in found], columns))
        by_check: dict[int, list[int]] = {}
        for ordinal, number in cursor.fetchall():
            by_check.setdefault(number, []).append(ordinal)
        gone: set[int] = set()
        for number, ordinals in by_check.items():
            name, _, names = found[number]
            one = given[names[0]] if len(names) == 1 else None
            left = [ordinal for ordinal in ordinals if ordinal not in gone]
            gone.update(left)
            why = Why(one, f"violates check constraint {name!r}", "23514")
            self._take_out(cursor, staging, left, why)

    def _take_orphans(
        self, cursor: Any, staging: StagingRelation, upsert: Upsert, column: Column
    ) -> None:
        """Take out what points to no stored row: Django's foreign keys are checked at the end."""
        field: Any = column.field
        if not (field.is_relation and getattr(field, "db_constraint", False)):
            return
        target = self.plan.column(field.target_field)
        upsert.execute(cursor, orphans(upsert, column, target))
        why = Why(column, f"no row of {field.related_model._meta.label} has this key", "23503")
        self._take_out(cursor, staging, _firsts(cursor), why)

    def _take_twice(self, cursor: Any, staging: StagingRelation, upsert: Upsert) -> None:
        """Take out all rows of keys that stand twice, unless one of them counts."""
        if not upsert.judges or upsert.drops:
            return
        upsert.execute(cursor, duplicates(upsert, MOST_KEYS))
        names = ", ".join(part.name for part in upsert.parts)
        gone: list[int] = []
        for ordinals, *_ in cursor.fetchall():
            places = listing(self.place(each) for each in ordinals)
            for ordinal in ordinals:
                error = RowConstraintError(ordinal, None, f"the same ({names}) in rows {places}")
                self.rejects.reject(ordinal, error, state="23505")
            gone += ordinals
        if gone:
            removal(staging.name, gone).execute(cursor)
        self.seen.distinct = True

    def _take_out(
        self, cursor: Any, staging: StagingRelation, ordinals: Sequence[int], why: Why
    ) -> None:
        """Take rows out of the staging table, and note why."""
        if not ordinals:
            return
        values: Mapping[int, Any] = {}
        slots = [each for each in self.slots if each.column is why.column and not each.is_flag]
        if slots:
            texts(staging.name, slots[0].alias, ordinals).execute(cursor)
            values = dict(cursor.fetchall())
        name = None if why.column is None else why.column.field.name
        for ordinal in ordinals:
            error = why.kind(ordinal, name, why.reason)
            error.__cause__ = why.cause
            self.rejects.reject(ordinal, error, values.get(ordinal), why.state)
        removal(staging.name, ordinals).execute(cursor)

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
            with self._atomic():
                return self.merge(cursor, relation)
        except DatabaseError as error:  # whose class depends on the driver
            state = diagnostics(error).sqlstate or ""
            if state == "21000" and self.seen.distinct:
                # To the server keys may be one though their texts differ.
                self.seen.distinct = False
                self._take_twice(cursor, staging, self.upsert(staging, None))
                return self._written(cursor, staging, low, high)
            if not state.startswith(ROW_STATES):
                raise
            if self._take_named(cursor, staging, error):
                return self._written(cursor, staging, low, high)
            if high - low == 1:
                self._take_one(cursor, staging, low, error)
                return UpsertResult()
        middle = (low + high) // 2
        first = self._written(cursor, staging, low, middle)
        return first + self._written(cursor, staging, middle, high)

    def _pk_slot(self) -> Slot | None:
        pk = self.plan.pk[0]
        return next((slot for slot in self.slots if slot.column is pk and not slot.is_flag), None)

    def _take_named(self, cursor: Any, staging: StagingRelation, error: Exception) -> bool:
        """Take out all rows that lack a value, if that is the error; return whether it was."""
        if not isinstance(error, IntegrityError):
            return False
        upsert = self.upsert(staging, None)
        for column, reason, new in self.null_reasons(error, upsert):
            upsert.execute(cursor, nulls(upsert, column, new=new))
            ordinals = _firsts(cursor)
            self._take_out(cursor, staging, ordinals, Why(column, reason, cause=error))
            if ordinals:
                return True
        return False

    def _take_one(
        self, cursor: Any, staging: StagingRelation, ordinal: int, error: Exception
    ) -> None:
        """Take out the one row that the server refused."""
        found = diagnostics(error)
        named = {slot.column.field.column: slot.column for slot in self.slots}
        column = named.get(found.column or "")
        for constraint in self.plan.model._meta.constraints:
            fields: Any = getattr(constraint, "fields", ())
            if constraint.name == found.constraint and len(fields) == 1:
                column = self.plan.column(resolve(self.plan.model, fields[0], "constraint"))
        kind = RowValueError if isinstance(error, DataError) else RowConstraintError
        why = Why(column, found.message or str(error), kind=kind, cause=error)
        self._take_out(cursor, staging, [ordinal], why)


def _firsts(cursor: Any) -> list[int]:
    return [row[0] for row in cursor.fetchall()]
