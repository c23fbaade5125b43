"""``bulk_update``: its statement, with or without locks, and its answer."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from django.db import IntegrityError, connections, models
from django.db.transaction import mark_for_rollback_on_error

from ..arrow import refuse_table
from ..chunks import Chunk
from ..compiling import RowExpressions
from ..csvs import CsvRows
from ..csvs.source import CsvSource
from ..errors import TAKES_NO_NULL, OptionError, RowConstraintError
from ..plans.kept import planned
from ..plans.update import UpdateOptions, UpdatePlan
from ..readers.base import described
from ..relations import Relation, StagingRelation
from ..result import ReturnedRow, UpdateResult
from ..rows import Rows, told_by_line
from ..sources import Walk
from ..statements.update import Update
from .attempts import Attempts
from .call import Call
from .progress import Progress


def run(
    queryset: models.QuerySet[Any, Any], objs: Iterable[Any] | CsvRows, options: UpdateOptions
) -> UpdateResult:
    """Update by ``objs``; see ``BulkUpsertQuerySet.bulk_update`` for the meaning of each word."""
    label = queryset.model._meta.label
    attempts = Attempts(
        connections[queryset.db], f"bulk_update() of {label}", "SELECT and UPDATE", options.retries,
        objs,
    )  # fmt: skip
    result = attempts.whole(partial(_run, queryset, objs, options, attempts))
    result.retries = attempts.count
    return result


def _run(
    queryset: models.QuerySet[Any, Any],
    objs: Iterable[Any] | CsvRows,
    options: UpdateOptions,
    attempts: Attempts,
) -> UpdateResult:
    using = queryset.db
    plain = _is_plain(queryset.query)
    make = partial(UpdatePlan, queryset)
    with planned(queryset.model, using, options, make, kept=plain) as plan:
        refuse_table(objs, "objs is an iterable of model instances")
        if not isinstance(objs, CsvRows | Iterable):
            raise OptionError(f"objs is an iterable of model instances, not {described(objs)}")
        progress = Progress(options.progress, objs)
        walk = CsvSource(objs) if isinstance(objs, CsvRows) else Walk(objs)
        reader = plan.open_reader(walk.first if isinstance(walk, CsvSource) else None)
        source = Rows(reader, walk)
        call = UpdateCall(plan, source, progress, attempts, reader.expressions)
        with told_by_line(walk):
            if not (walk.is_empty or plan.is_empty):
                return call.run()
            while rows := source.pull(call.chunk_rows):
                with call.telling(rows):
                    source.encode(source.read(rows))  # checked as if there were work to do
                progress.at(source.count)
        progress.done()
        return UpdateResult()


def _is_plain(query: Any) -> bool:
    """Whether a queryset is all of its model's rows, and no more."""
    return not (
        query.where.children
        or query.annotations
        or query.is_sliced
        or query.combinator
        or query.group_by
        or query.extra
        or query.extra_tables
    )


class UpdateCall(Call[UpdatePlan, UpdateResult]):
    """A ``bulk_update`` under way."""

    def __init__(
        self,
        plan: UpdatePlan,
        source: Rows,
        progress: Progress,
        attempts: Attempts,
        expressions: RowExpressions,
    ) -> None:
        super().__init__(plan, source, progress, attempts)
        self.expressions = expressions
        if plan.options.batch_size is not None:  # which Django's callers have set for statements
            self.chunk_rows = min(self.chunk_rows, plan.options.batch_size)

    @property
    def key(self) -> Any:
        """The columns by which rows are matched."""
        return self.plan.match

    def unstaged(self, chunk: Chunk) -> AbstractContextManager[Any]:
        """Run one statement; in a transaction of the caller's, in a savepoint.

        So that it stays usable, to try again, or to find the row whose text may not be read as what
        it should be. Without any of these it is run as Django's ``update()`` is.
        """
        inside = not self.connection.get_autocommit()
        unsure = self.attempts.most or not all(texts.sure for texts in chunk.texts)
        if (inside and unsure) or self.progress.is_wanted:
            return self._atomic()
        guard: AbstractContextManager[Any] = mark_for_rollback_on_error(self.connection.alias)
        return guard

    def merge(self, cursor: Any, relation: Relation) -> UpdateResult:
        """Write the rows that a relation carries; locked first, where the engine can."""
        update = self._update(relation, locks=True)
        if update.unlocked:
            return self._take(cursor, update)
        return self.with_locks(
            lambda locks: self._take(cursor, self._update(relation, locks=locks))
        )

    def _update(self, relation: Relation, *, locks: bool) -> Update:
        return Update(
            plan=self.plan,
            relation=relation,
            slots=self.slots,
            constants=self.source.reader.constants,
            count=self.source.count,
            nulls=self.source.nullable,
            locks=locks,
            expressions=self.expressions,
        )

    def _take(self, cursor: Any, update: Update) -> UpdateResult:
        """Run the statement and read its answer."""
        update.execute(cursor, self.statement(update))
        if not update.reply.is_wanted:
            return UpdateResult(cursor.rowcount)
        found = cursor.fetchall()
        counts = 3 if self.plan.reports else 0
        rows = None
        if self.plan.returning is not None:
            loaders = [(name, column.loader) for name, column in self.plan.returning]
            rows = [
                ReturnedRow(
                    row[counts],
                    {
                        name: stored if load is None else load(stored)
                        for (name, load), stored in zip(loaders, row[counts + 1 :], strict=True)
                    },
                )
                for row in found
                if row[counts] is not None
            ]
        if not counts:
            return UpdateResult(len(found), rows=rows)
        matched, unchanged, written = found[0][:counts]
        # What is neither was held back: by where, a trigger, or another call that came first.
        return UpdateResult(written, unchanged, max(matched - unchanged - written, 0), rows)

    def blame(self, error: IntegrityError, relation: Relation) -> None:
        """Raise the error that names the row that a NOT NULL constraint refuses."""
        found = self.null_refused(error)
        if found is None:
            return
        for slot in self.slots:
            column = slot.column
            if slot.is_flag or column.field.column != found.column:
                continue
            index = self.source.first_null.get(column)
            if index is None and isinstance(relation, StagingRelation):
                with self.asking() as cursor:
                    relation.first_null(slot).execute(cursor)
                    index = cursor.fetchone()[0]
            if index is not None:
                raise RowConstraintError(index, column.field.name, TAKES_NO_NULL) from error
