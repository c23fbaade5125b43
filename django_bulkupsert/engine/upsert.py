"""``bulk_upsert``: the statement's parts, its answers, and who is to blame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from django.db import DatabaseError, IntegrityError, connections, models, transaction

from ..errors import DuplicateKeysError, RowConstraintError
from ..marks import Marks
from ..plans.upsert import UpsertOptions, UpsertPlan, Write
from ..relations import Relation
from ..result import Status, UpsertResult
from ..rows import Chunk, Rows, open_rows
from ..server import created_by
from ..statements.questions import duplicates, first_null, stored_keys
from ..statements.upsert import Upsert
from .call import Call

#: Keys that DuplicateKeysError lists.
MOST_KEYS = 10


def run(
    model: type[models.Model], rows: Iterable[Any], options: UpsertOptions, using: str
) -> UpsertResult:
    """Upsert ``rows``; see ``BulkUpsertQuerySet.bulk_upsert`` for the meaning of each word."""
    plan = UpsertPlan(model, options, connections[using])
    source = open_rows(model, rows, plan.fields, plan.column)
    if source is None:
        return UpsertResult()
    call = UpsertCall(plan, plan.bind(source.reader), source)
    result = call.run()
    call.marks.apply(source.objects or ())
    return result


class UpsertCall(Call[UpsertPlan, UpsertResult]):
    """A ``bulk_upsert`` under way."""

    def __init__(self, plan: UpsertPlan, write: Write, source: Rows) -> None:
        super().__init__(plan, source)
        self.write = write
        # What the database has filled in for an instance, it is told.
        self.returns = tuple(
            column for column in source.reader.carried if column in source.reader.defaulted
        )
        self.marks = Marks(
            plan.pk, self.returns, source.reader.constants, write.updates, self.connection.alias
        )

    @property
    def key(self) -> Any:
        """The columns by which rows are matched."""
        return self.plan.key or self.plan.pk

    def unstaged(self, _chunk: Chunk) -> AbstractContextManager[Any]:
        """Make the call all or nothing.

        One statement is that by itself; inside a transaction of the caller's, a savepoint
        keeps it usable after an error.
        """
        if len(self._parts()) == 1 and self.connection.get_autocommit():
            return nullcontext()
        atomic: AbstractContextManager[Any] = transaction.atomic(using=self.connection.alias)
        return atomic

    # Merging ------------------------------------------------------------------------------

    def _parts(self) -> list[bool | None]:
        """Return the statements that the rows need: those with a primary key, those without.

        Matched by primary key, a row that has none is an insert; one statement can't do both,
        because a key that is drawn must not run into a stored row and update that.
        """
        source, plan = self.source, self.plan
        if not plan.matched_by_pk or plan.target is None or len(plan.pk) > 1:
            return [None]
        return [part for part, n in ((True, source.with_pk), (False, source.without_pk)) if n]

    def merge(self, cursor: Any, relation: Relation) -> UpsertResult:
        """Write the rows that a relation carries."""
        source = self.source
        rows = {None: source.count, True: source.with_pk, False: source.without_pk}
        result = UpsertResult()
        for part in self._parts():
            upsert = self._upsert(relation, part)
            upsert.fragment().execute(cursor)
            if upsert.per_row:
                result += self._take_rows(cursor, upsert)
            else:
                result += self._take_counts(cursor, upsert, rows[part])
        return result

    def _upsert(self, relation: Relation, part: bool | None) -> Upsert:
        source = self.source
        return Upsert(
            plan=self.plan,
            relation=relation,
            slots=self.slots,
            constants=source.reader.constants,
            part=part,
            write=self.write,
            lent=source.reader.lent,
            created_by=created_by(self.connection, self.plan.table),
            per_row=source.objects is not None,
            pk_given=True if not source.without_pk else None if source.with_pk else False,
            returns=self.returns,
        )

    def _take_counts(self, cursor: Any, upsert: Upsert, n: int) -> UpsertResult:
        twice, wanted, created, written = cursor.fetchone()
        if twice:
            raise self._duplicates(cursor, upsert)
        left = n - (n if wanted is None else wanted)
        lost = n - left - written
        if self.plan.options.ignore_conflicts:
            return UpsertResult(created=created, skipped=left + lost)
        return UpsertResult(created, written - created, left, lost)

    def _take_rows(self, cursor: Any, upsert: Upsert) -> UpsertResult:
        """Count the rows that came back, and keep what became of each."""
        rows = cursor.fetchall()
        if rows and rows[0][1] is None:
            raise self._duplicates(cursor, upsert)
        counts = Counter(row[1] for row in rows)
        found = [row for row in rows if row[2] is not None]
        if len(found) < len(rows) and upsert.matches:
            # Another call may have created them meanwhile: ask with a snapshot that sees them.
            lost = {row[0] for row in rows if row[2] is None}
            stored_keys(upsert).execute(cursor)
            found += [
                (ordinal, Status.SKIPPED, *pk)
                for ordinal, *pk in cursor.fetchall()
                if ordinal in lost
            ]
        self.marks.outcomes += [row for row in found if row[0] is not None]
        # What was written under another key than its row's: the row seemed to be skipped.
        counts[Status.SKIPPED] -= sum(row[0] is None for row in rows)
        return UpsertResult(
            created=counts[Status.CREATED],
            updated=counts[Status.UPDATED],
            unchanged=counts[Status.UNCHANGED],
            skipped=counts[Status.SKIPPED],
        )

    # Errors -------------------------------------------------------------------------------

    def _duplicates(self, cursor: Any, upsert: Upsert) -> DuplicateKeysError:
        duplicates(upsert, MOST_KEYS + 1).execute(cursor)
        found = cursor.fetchall()
        shown = found[:MOST_KEYS]
        return DuplicateKeysError(
            [column.field.name for column in upsert.key_columns],
            [tuple("NULL" if part is None else part for part in key) for _, *key in shown],
            [tuple(indexes) for indexes, *_ in shown],
            more=len(found) > MOST_KEYS,
        )

    def blame(self, error: IntegrityError, relation: Relation) -> None:
        """Raise the error that names the row that a NOT NULL constraint refuses."""
        found = self.null_refused(error)
        if found is None:
            return
        reader = self.source.reader
        reasons = dict.fromkeys(reader.carried, "None, where the column takes no NULL")
        reasons |= dict.fromkeys(
            self.plan.pk, "no primary key, and the column owns no sequence to draw one from"
        )
        reasons |= dict.fromkeys(
            reader.missing,
            "not given, and a row that is new needs it: the field has no default and takes no NULL",
        )
        for column, reason in reasons.items():
            if column.field.column != found.column:
                continue
            over = self._upsert(relation, None)
            # A row whose stored row is left alone, or lends the value, is not the one.
            new = column in reader.missing or over.leaves
            index = None
            with suppress(DatabaseError), self.connection.cursor() as cursor:
                first_null(over, column, new=new).execute(cursor)
                index = cursor.fetchone()[0]
            if index is not None:
                raise RowConstraintError(index, column.field.name, reason) from error
