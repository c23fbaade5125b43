"""``bulk_upsert``: the statement's parts, and its answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any

from django.db import ProgrammingError

from ..chunks import Chunk
from ..columns import Column
from ..marks import Marks
from ..plans.upsert import UpsertPlan
from ..relations import Relation, TransformedRelation
from ..result import STATUSES, ReturnedRow, Status, UpsertResult, in_order
from ..rows import Rows
from ..seen import SeenKeys
from ..server import created_by, has_citus, sees_anew
from ..sql import Fragment
from ..statements.catalog import writes_all
from ..statements.matched import MatchedUpsert
from ..statements.over import Over
from ..statements.questions import any_twice, lock_table, stored_rows
from ..statements.upsert import Upsert
from .attempts import Attempts
from .bound import Bound
from .faults import Faults
from .progress import Progress


class UpsertCall(Faults):
    """A ``bulk_upsert`` under way."""

    def __init__(
        self, plan: UpsertPlan, source: Rows, progress: Progress, attempts: Attempts
    ) -> None:
        super().__init__(plan, source, progress, attempts)
        reader = source.reader
        self.bound = reader.keep("bound", partial(Bound, plan, reader, self.slots))
        self.returns, self.olds = self.bound.returns, self.bound.olds
        self.seen = SeenKeys(*self.bound.judged)
        if plan.options.batch_size is not None:
            self.chunk_rows = plan.options.batch_size
        self.marks = Marks(self.bound.told, reader.constants, self.connection.alias)

    @property
    def key(self) -> Any:
        """The columns by which rows are matched."""
        return tuple(map(self.plan.column, self.plan.key_fields)) or self.plan.pk

    def take(self, chunk: Chunk) -> None:
        """See a chunk before it is sent."""
        self.seen.add(chunk)

    def unstaged(self, _chunk: Chunk) -> AbstractContextManager[Any]:
        """Make the call all or nothing.

        One statement is that by itself, if nothing is told after it; inside a transaction of the
        caller's, a savepoint keeps it usable after an error.
        """
        one = len(self._parts()) == 1 and self.plan.options.lock is None
        if one and not self.progress.is_wanted and self.connection.get_autocommit():
            return nullcontext()
        return self._atomic()

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """Forget what an attempt has noted, if it fails."""
        before = len(self.marks.outcomes)
        try:
            yield
        except BaseException:
            del self.marks.outcomes[before:]
            raise

    def finish(self) -> None:
        """Tell the instances what became of them, now that it is certain."""
        self.marks.apply(self.source.objects or ())

    # Merging ------------------------------------------------------------------------------

    def _parts(self) -> list[bool | None]:
        """Return the statements that the rows need: those with a primary key, those without.

        Matched by primary key, a row that has none is an insert; one statement can't do both,
        because a key that is drawn must not run into a stored row and update that.
        """
        source, plan = self.source, self.plan
        made = any(transform.column in plan.pk for transform in plan.transforms)
        if not plan.matched_by_pk or len(plan.pk) > 1 or made:
            return [None]
        return [part for part, n in ((True, source.with_pk), (False, source.without_pk)) if n]

    def begin(self, cursor: Any) -> None:
        """Lock the table before the first statement, where that one's snapshot is for all.

        Else it is locked as late as can be: when the rows are there.
        """
        if self.plan.options.lock is not None and not sees_anew(cursor):
            lock_table(self.plan.table).execute(cursor)

    def merge(self, cursor: Any, relation: Relation) -> UpsertResult:
        """Write the rows that a relation carries."""
        if self.plan.options.lock is not None:
            lock_table(self.plan.table).execute(cursor)
        if self.plan.key and not self.plan.arbitrates:
            return self.with_locks(
                lambda locks: self._take(cursor, self._matched_upsert(relation, locks=locks))
            )
        sure = relation.exact_types and self._is_sure(cursor)
        first, *others = [
            self._take(cursor, self.upsert(relation, part, sure=sure)) for part in self._parts()
        ]
        return in_order(sum(others, first)) if others else first

    def _is_sure(self, cursor: Any) -> bool:
        """Whether what is not written was left out by the statement: no trigger nor rule may."""
        if has_citus(self.connection):
            return False
        writes_all(self.plan.table).execute(cursor)
        return bool((cursor.fetchone() or [False])[0])

    def _take(self, cursor: Any, upsert: Upsert) -> UpsertResult:
        """Run a statement and read its answer."""
        try:
            upsert.execute(cursor, self.statement(upsert))
        except ProgrammingError as error:
            self.check_constraint(error)
            raise
        if upsert.per_row:
            return self._take_rows(cursor, upsert)
        return self._take_counts(cursor, upsert, self.size(upsert.part))

    def size(self, part: bool | None) -> int:
        """Return how many rows a statement is over: all, or those with a primary key or without."""
        source = self.source
        return {None: source.count, True: source.with_pk, False: source.without_pk}[part]

    def place(self, ordinal: int) -> int:
        """Return the place in the input of the row with a number."""
        return ordinal

    def upsert(self, relation: Relation, part: bool | None, *, sure: bool = False) -> Upsert:
        """Return the statement of a part of the rows; see Proposed for ``sure``."""
        upsert = Upsert(**self._words(relation, part, sure=sure))
        # ON CONFLICT refuses keys that stand twice, unless some of the rows are left out.
        trusts = sure and upsert.matches and not (upsert.drops or upsert.tells or upsert.leaves)
        return replace(upsert, distinct=True) if trusts else upsert

    def _matched_upsert(self, relation: Relation, *, locks: bool) -> MatchedUpsert:
        plan = self.plan
        made = (each.column for each in plan.transforms if each.column.field.null)
        nulls = {*self.source.nullable, *made}
        return MatchedUpsert(**self._words(relation, None), nulls=nulls, locks=locks)

    def _words(
        self, relation: Relation, part: bool | None, *, sure: bool = False
    ) -> dict[str, Any]:
        source = self.source
        return {
            "plan": self.plan,
            "relation": self._transformed(relation),
            "slots": self.slots,
            "constants": source.reader.constants,
            "part": part,
            "write": self.bound.write,
            "lent": source.reader.lent,
            "created_by": created_by(self.connection, self.plan.table),
            "per_row": source.objects is not None or self.plan.returning is not None,
            "pk_given": True if not source.without_pk else None if source.with_pk else False,
            "returns": self.returns,
            "olds": self.olds,
            "distinct": self.seen.distinct,
            "looks_up": self.bound.looks_up
            and not relation.exact_types
            and not has_citus(self.connection),
            "sure": sure,
        }

    def _transformed(self, relation: Relation) -> Relation:
        """Return the rows as the transforms leave them."""
        if not self.plan.transforms:
            return relation
        before = Over(self.plan, relation, self.slots, self.source.reader.constants)

        def transforms() -> dict[Column, Fragment]:
            return {
                transform.column: transform.fragment(
                    lambda field: before.incoming(self.plan.column(field), "bu_s")
                )
                for transform in self.plan.transforms
            }

        return TransformedRelation(relation, self.slots, transforms)

    def _take_counts(self, cursor: Any, upsert: Upsert, n: int) -> UpsertResult:
        twice, wanted, unchanged, created, written = cursor.fetchone()
        if upsert.distinct and not self.seen.distinct and written < n:
            upsert.execute(cursor, any_twice(upsert))
            twice = cursor.fetchone()
        if twice:
            raise self.duplicates(cursor, upsert)
        if upsert.streams:
            wanted = written
        left = 0 if wanted is None else n - wanted
        if unchanged is None:
            unchanged = 0 if self.plan.options.ignore_conflicts else left
        return UpsertResult(
            created=created,
            updated=written - created,
            unchanged=unchanged,
            skipped=n - unchanged - written,
        )

    def _take_rows(self, cursor: Any, upsert: Upsert) -> UpsertResult:
        """Count the rows that came back, and keep what became of each."""
        rows = cursor.fetchall()
        if rows and rows[0][1] is None:
            raise self.duplicates(cursor, upsert)
        codes = list(map(itemgetter(1), rows))
        counts = [codes.count(code) for code in range(len(STATUSES))]
        claimed = {row[0]: row for row in rows}
        # What was written under another key than its row's is no input row's: that one seems
        # to be skipped.
        if claimed.pop(None, None) is not None:
            strays = [row for row in rows if row[0] is None]
            counts[Status.SKIPPED.code] -= len(strays)
            self._claim(strays, claimed)
        if upsert.matches and None in map(itemgetter(2), claimed.values()):
            lost = {ordinal for ordinal, row in claimed.items() if row[2] is None}
            # Another call may have created them meanwhile: ask with a snapshot that sees them.
            columns = (*self.plan.pk, *self.returns, *self.olds)
            upsert.execute(cursor, stored_rows(upsert, columns))
            for ordinal, *values in cursor.fetchall():
                if ordinal in lost:
                    claimed[ordinal] = (ordinal, Status.SKIPPED.code, *values, True)
        if self.source.objects is not None:
            # In the order of the rows, which lie side by side in memory.
            known = map(claimed.get, range(self.source.count))
            self.marks.outcomes += [row for row in known if row and row[2] is not None]
        created, updated, unchanged, skipped = counts
        returned = self._returned(claimed) if self.plan.returning is not None else ()
        return UpsertResult(created, updated, unchanged, skipped, returned)

    def _claim(self, strays: Iterable[Sequence[Any]], claimed: dict[int, Sequence[Any]]) -> None:
        """Give written rows whose key a trigger has changed to the rows that matched them."""
        last = 2 + len(self.plan.pk)
        written = {tuple(row[2:last]): row for row in strays}
        for ordinal, row in claimed.items():
            stray = written.get(tuple(row[2:last]))
            if stray is not None and row[1] == Status.SKIPPED.code:
                before = last + len(self.returns)
                claimed[ordinal] = (ordinal, *stray[1:before], *row[before:])

    def _returned(self, rows: Mapping[int, Sequence[Any]]) -> list[ReturnedRow]:
        """Return what the caller asked for of each row, in the order of the input."""
        first = 2 + len(self.plan.pk)
        before = first + len(self.returns)
        places = [
            (name, self.returns.index(column), column.loader)
            for name, column in self.plan.returning or ()
        ]

        def values(row: Sequence[Any], start: int) -> dict[str, Any]:
            return {
                name: row[start + i] if load is None else load(row[start + i])
                for name, i, load in places
            }

        returned = []
        for index in sorted(rows):
            row = rows[index]
            old = values(row, before) if self.olds and row[-1] else None
            place = self.place(index)
            returned.append(ReturnedRow(place, values(row, first), STATUSES[row[1]], old))
        return returned
