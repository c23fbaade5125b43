"""Models that keep their fields in several tables: parents first, then what points to them.

Each table is an upsert of its own, in one transaction. The first finds the rows, by what the
caller names; what follows goes by the primary keys that are known by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from django.db import models

from ..arrow import refuse_table
from ..csvs import refuse_file
from ..errors import RowTypeError, counted_in
from ..fields import Field
from ..marks import Marks
from ..names import Model, pk_fields
from ..plans.inherited import InheritedPlan, links, origin
from ..plans.upsert import UpsertPlan
from ..readers import TableReader
from ..readers.base import described
from ..relations import Relation
from ..result import ReturnedRow, Status, UpsertResult
from ..rows import Rows
from ..sources import Walk
from ..statements.questions import lock_table, lookup
from ..transactions import atomic
from .attempts import Attempts
from .progress import Progress
from .upsert import UpsertCall

CallT = TypeVar("CallT", bound=UpsertCall)


class InheritedCall:
    """An upsert of instances that are kept in several tables."""

    def __init__(self, plan: InheritedPlan, progress: Progress, attempts: Attempts) -> None:
        self.plan = plan
        self.progress = progress
        self.attempts = attempts
        self.alias: str = plan.connection.alias
        self.objects: list[Any] = []
        self.told: list[Known] = []
        self.marks: list[tuple[Marks, list[Any]]] = []

    def run(self, rows: Iterable[Any]) -> UpsertResult:
        """Write the rows, all or none."""
        taken = f"rows are instances of {self.plan.label}, which keeps its fields in several tables"
        refuse_table(rows, taken)
        refuse_file(rows, taken)
        self.objects = list(rows)
        for index, row in enumerate(self.objects):
            if not isinstance(row, models.Model) or row._meta.concrete_model is not self.plan.model:
                raise RowTypeError(
                    index,
                    None,
                    f"{described(row)}, where {taken}",
                )
        alone = self.plan.connection.get_autocommit()
        stored = self.attempts.part(self._attempt, passes=None, alone=alone)
        for marks, objects in self.marks:
            marks.apply(objects)
        for index in self._left:
            for table in self.plan.tables:
                for parent, link in links(table):
                    setattr(self.objects[index], link.attname, self.told[index].pks[parent])
        return self._result(stored)

    def _attempt(self) -> dict[int, Any]:
        """Write the rows; return the stored objects of those that were left out."""
        self.told = [Known() for _ in self.objects]
        self.marks = []
        with atomic(self.alias):
            if self.plan.options.lock is not None:
                with self.plan.connection.cursor() as cursor:
                    for plan in self.plan.plans.values():
                        lock_table(plan.table).execute(cursor)
            if self.plan.finder is not None:
                self._find(self.plan.finder)
            for table in self.plan.tables:
                self._write(table)
            for table, clocks in self.plan.clocks.items():
                self._tick(table, clocks)
            stored = self._look_up()
            self.progress.count = len(self.objects)
            self.progress.done()
        return stored

    @property
    def _left(self) -> list[int]:
        """The positions of the rows that are not left out."""
        return [index for index, told in enumerate(self.told) if not told.skipped]

    def _call(self, kind: type[CallT], plan: UpsertPlan, indexes: Sequence[int]) -> CallT:
        reader = TableReader(plan.model, plan.column, self._keys(plan.model, indexes))
        source = Rows(reader, Walk([self.objects[index] for index in indexes]))
        return kind(plan, source, Progress(None, ()), self.attempts)

    def _keys(self, table: Model, indexes: Sequence[int]) -> dict[str, list[Any]]:
        """Return the keys in a table that rows have by now, those of parents or their own."""
        keys: dict[str, list[Any]] = {}
        for parent, link in links(table):
            keys[link.attname] = [self.told[index].pks.get(parent) for index in indexes]
        if not keys:
            name = pk_fields(table)[0].attname
            keys[name] = [
                self.told[index].pks.get(table, self._own_key(table, index)) for index in indexes
            ]
        return keys

    def _own_key(self, root: Model, index: int) -> Any:
        """Return the primary key that an instance holds, itself or in a link to the parent."""
        row = self.objects[index]
        names = [pk_fields(root)[0].attname]
        names += [link.attname for table in self.plan.tables for _, link in links(table)
                  if origin(link) is root]  # fmt: skip
        held = [getattr(row, name) for name in names]
        return next((key for key in held if key is not None), None)

    def _find(self, plan: UpsertPlan) -> None:
        """Find the rows that are there, where they are matched in another than the first table."""
        finder = self._call(Finding, plan, self._left)
        finder.run()
        (root,) = self.plan.roots
        for index, (kept, pk) in finder.found.items():
            told = self.told[index]
            told.same_as = kept
            if pk is not None:
                told.pks[root] = pk
            # The rows of one key share its row; all but one are left out.
            told.skipped = kept != index or (pk is not None and self.plan.options.ignore_conflicts)

    def _write(self, table: Model) -> None:
        """Write what the rows have in a table."""
        plan = self.plan.plans[table]
        for told, row in self._run(plan, self._left):
            told.statuses.append(row.status)
            told.skipped = row.status is Status.SKIPPED
            told.pks[table] = row[pk_fields(table)[0].name]
            for _, column in plan.returning or ():
                told.old[column.field] = row.old and row.old[column.field.name]

    def _tick(self, table: Model, plan: UpsertPlan) -> None:
        """Refresh a table's clocks for rows that were written in others, but not in it."""
        place = self.plan.tables.index(table)
        indexes = [
            index
            for index in self._left
            if self.told[index].statuses[place] is Status.UNCHANGED
            and self.told[index].status is not Status.UNCHANGED
        ]
        self._run(plan, indexes)

    def _run(self, plan: UpsertPlan, indexes: Sequence[int]) -> list[tuple[Known, ReturnedRow]]:
        """Write some of the rows, and keep the values that came back."""
        if not indexes:
            return []
        with counted_in(indexes):
            call = self._call(UpsertCall, plan, indexes)
            rows = call.run().rows
        self.marks.append((call.marks, [self.objects[index] for index in indexes]))
        told = [(self.told[indexes[row.index]], row) for row in rows]
        for each, row in told:
            each.values |= {c.field: row[c.field.name] for _, c in plan.returning or ()}
        return told

    def _look_up(self) -> dict[int, Any]:
        """Return, by position, the stored objects of rows that were left out."""
        keys: dict[int, Any] = {}
        for index, told in enumerate(self.told):
            same = self.told[told.same_as] if told.same_as is not None else told
            found = [same.pks.get(table) for table in (self.plan.model, *self.plan.roots[:1])]
            key = next((key for key in found if key is not None), None)
            if told.skipped and key is not None:
                keys[index] = key
        manager: Any = self.plan.model._base_manager
        stored = manager.using(self.alias).in_bulk(set(keys.values()))
        return {index: stored[key] for index, key in keys.items() if key in stored}

    def _result(self, stored: Mapping[int, Any]) -> UpsertResult:
        counts: Counter[str] = Counter()
        rows = []
        written = {told.pks[self.plan.model]: told for told in self.told if not told.skipped}
        for index, told in enumerate(self.told):
            counts[told.status.value] += 1
            values = {name: told.values.get(field) for name, field in self.plan.returning.items()}
            old = {name: told.old.get(field) for name, field in self.plan.returning.items()}
            found = stored.get(index)
            there = told.status in (Status.UPDATED, Status.UNCHANGED)
            if found is not None:
                values = {
                    name: getattr(found, f.attname) for name, f in self.plan.returning.items()
                }
                self._take_over(self.objects[index], found)
                # Left out as a duplicate, it has the old values of the one that was written.
                kept = written.get(found.pk)
                old = values
                there = kept is None or kept.status is not Status.CREATED
                if kept is not None:
                    old = {name: kept.old.get(f) for name, f in self.plan.returning.items()}
            wanted = self.plan.options.returning_old and there
            rows.append(ReturnedRow(index, values, told.status, old if wanted else None))
        told_of: Any = counts  # by the names of statuses
        return UpsertResult(**told_of, rows=rows if self.plan.returning else ())

    def _take_over(self, row: Any, found: Any) -> None:
        """Tell an instance that was left out what is stored: its keys, and what was asked for."""
        keys = [field for table in self.plan.tables for field in pk_fields(table)]
        keys += [link for table in self.plan.tables for _, link in links(table)]
        for field in (*keys, *self.plan.returning.values()):
            setattr(row, field.attname, getattr(found, field.attname))
        row._state.adding = False
        row._state.db = self.alias


class Known:
    """What is known of a row: its keys, what became of it, table by table, and its values."""

    def __init__(self) -> None:
        self.pks: dict[Model, Any] = {}
        self.statuses: list[Status] = []
        self.skipped = False
        self.same_as: int | None = None
        self.values: dict[Field, Any] = {}
        self.old: dict[Field, Any] = {}

    @property
    def status(self) -> Status:
        """What became of the row as a whole."""
        if self.skipped:
            return Status.SKIPPED
        if self.statuses[-1] is Status.CREATED:
            return Status.CREATED
        return Status.UNCHANGED if set(self.statuses) == {Status.UNCHANGED} else Status.UPDATED


class Finding(UpsertCall):
    """Finds stored rows, and writes none."""

    found: dict[int, tuple[int, Any]]

    def merge(self, cursor: Any, relation: Relation) -> UpsertResult:
        """Ask for the rows that are there."""
        upsert = self.upsert(relation, None)
        upsert.execute(cursor, lookup(upsert))
        rows = cursor.fetchall()
        if self.plan.options.duplicates == "error" and any(row[0] != row[1] for row in rows):
            raise self.duplicates(cursor, upsert)
        self.found = {ordinal: (kept, pk) for ordinal, kept, pk in rows}
        return UpsertResult()
