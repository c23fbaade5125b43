"""Staged rows that constraints would refuse, taken out beforehand: asked for all rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError

from ..columns import Column
from ..errors import TAKES_NO_NULL, RowConstraintError, RowError, listing
from ..relations import StagingRelation
from ..statements.catalog import checks, has_before_triggers
from ..statements.questions import duplicates, nulls
from ..statements.screens import losers, mark, orphans, removal, texts, unchecked
from ..statements.upsert import Upsert
from .faults import no_row, one_of
from .upsert import UpsertCall

#: Keys that stand twice, of which the rows are told at a time.
KEYS_AT_A_TIME = 1_000_000


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


class ScreeningCall(UpsertCall):
    """An upsert whose rows are staged, and looked at before they are written.

    Where a trigger may change a row before it is looked at by the server, nothing is asked of it
    but which key stands twice.

    Attributes:
        gone: The numbers of the rows that were taken out.
        asks: Whether constraints may be asked for, rather than tried.
    """

    gone: list[int]
    asks = False

    def screen(self, cursor: Any, staging: StagingRelation) -> None:
        """Take out what constraints would refuse, as far as that can be asked for all rows."""
        upsert = self.upsert(staging, None)
        self.take_twice(cursor, staging, upsert)
        self._choose(cursor, staging, upsert)
        has_before_triggers(self.plan.table).execute(cursor)
        self.asks = not cursor.fetchone()[0]
        if self.asks:
            if self.plan.arbitrates:  # else an update may give the row what it lacks
                self._take_nulls(cursor, staging, upsert)
                self._take_unchecked(cursor, staging, upsert)
            while self._take_orphans(cursor, staging, upsert):
                pass  # what pointed to a row that was taken out

    # Keys -----------------------------------------------------------------------------------

    def take_twice(self, cursor: Any, staging: StagingRelation, upsert: Upsert) -> bool:
        """Take out all rows of keys that stand twice, unless one of them counts.

        Returns:
            Whether there were any.
        """
        if not upsert.judges or upsert.drops:
            return False
        names = ", ".join(part.name for part in upsert.parts)
        some, left = False, True
        while left:
            upsert.execute(cursor, duplicates(upsert, KEYS_AT_A_TIME))
            found = [ordinals for ordinals, *_ in cursor.fetchall()]
            for ordinals in found:
                why = Why(None, f"the same ({names}) in {self._places(ordinals)}", "23505")
                self.take_out(cursor, staging, ordinals, why)
            some, left = some or bool(found), len(found) == KEYS_AT_A_TIME
        self.seen.distinct = True
        return some

    def _places(self, ordinals: Sequence[int]) -> str:
        """Say where rows stand: in which lines, where they are those of a file."""
        indexes = [self.place(each) for each in ordinals]
        lines = self.source.source.lines(indexes)
        return f"rows {listing(indexes)}" if lines is None else f"lines {listing(lines)}"

    def _choose(self, cursor: Any, staging: StagingRelation, upsert: Upsert) -> None:
        """Settle which row of a key counts, once for all parts that are written."""
        if upsert.drops:
            mark(staging.name).execute(cursor)
            upsert.execute(cursor, losers(upsert, staging.name))
            staging.marks_dropped = True

    # Constraints ----------------------------------------------------------------------------

    def _take_nulls(self, cursor: Any, staging: StagingRelation, upsert: Upsert) -> None:
        for column in self.source.first_null:
            if not column.field.null and column not in self.plan.pk:
                upsert.execute(cursor, nulls(upsert, column, new=False))
                why = Why(column, TAKES_NO_NULL, "23502")
                self.take_out(cursor, staging, firsts(cursor), why)

    def _take_unchecked(self, cursor: Any, staging: StagingRelation, upsert: Upsert) -> None:
        """Take out what CHECK constraints refuse that are over columns which all rows give.

        One that fails, of a row that another refuses or of itself, is asked for alone, or not.
        """
        given = self.given(upsert)
        checks(self.plan.table).execute(cursor)
        found = [row for row in cursor.fetchall() if given.keys() >= set(row[2])]
        if found and not self._unchecked(cursor, staging, upsert, found, given):
            for each in found:
                self._unchecked(cursor, staging, upsert, [each], given)

    def _unchecked(
        self,
        cursor: Any,
        staging: StagingRelation,
        upsert: Upsert,
        found: Sequence[tuple[str, str, list[str]]],
        given: Mapping[str, Column],
    ) -> bool:
        """Take out what some constraints refuse; return whether they could be asked for."""
        columns = [given[name] for name in dict.fromkeys(name for row in found for name in row[2])]
        try:
            with self._atomic():
                upsert.execute(cursor, unchecked(upsert, [row[1] for row in found], columns))
                refused = cursor.fetchall()
        except DatabaseError:
            return False
        by_check: dict[int, list[int]] = {}
        for ordinal, number in refused:  # of each row, the first constraint
            by_check.setdefault(number, []).append(ordinal)
        for number, ordinals in by_check.items():
            name, _, names = found[number]
            one = one_of([given[each] for each in names])
            why = Why(one, f"violates check constraint {name!r}", "23514")
            self.take_out(cursor, staging, ordinals, why)
        return True

    def _take_orphans(self, cursor: Any, staging: StagingRelation, upsert: Upsert) -> bool:
        """Take out what points to no row: Django's foreign keys are checked at the end.

        Returns:
            Whether there was any.
        """
        some = False
        for column, target in self.foreign_keys(cursor, upsert):
            upsert.execute(cursor, orphans(upsert, column, target))
            ordinals = firsts(cursor)
            self.take_out(cursor, staging, ordinals, no_parent(column))
            # Other rows may have pointed to these.
            some = some or bool(ordinals and target in upsert.slot_of)
        return some

    def take_out(
        self, cursor: Any, staging: StagingRelation, ordinals: Sequence[int], why: Why
    ) -> None:
        """Take rows out of the staging table, and note why."""
        if not ordinals:
            return
        values: Mapping[int, Any] = {}
        slots = [each for each in self.slots if each.column is why.column and not each.is_flag]
        if slots:
            texts(staging.name, staging.given(slots[0]), ordinals).execute(cursor)
            values = dict(cursor.fetchall())
        name = None if why.column is None else why.column.field.name
        for ordinal in ordinals:
            error = why.kind(ordinal, name, why.reason)
            error.__cause__ = why.cause
            self.note(ordinal, error, values.get(ordinal), why.state)
        self.gone += ordinals
        removal(staging.name, ordinals).execute(cursor)

    def note(self, ordinal: int, error: RowError, value: Any, state: str | None) -> None:
        """Note a row that was taken out."""
        raise NotImplementedError


def no_parent(column: Column) -> Why:
    """Return why a row is left out that points to none."""
    return Why(column, no_row(column), "23503")


def firsts(cursor: Any) -> list[int]:
    """Return the first column of what came back."""
    return [row[0] for row in cursor.fetchall()]
