"""One call, told from top to bottom: the table of contents of the library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from django.db import DatabaseError, DataError, IntegrityError, connections, models, transaction

from .driver import diagnostics
from .errors import DuplicateKeysError, OptionError, RowConstraintError
from .marks import Marks
from .plan import Options, Plan, Write
from .relations import (
    CHUNK_ROWS,
    MOST_PARAMETERS,
    UNNEST_ROWS,
    Relation,
    StagingRelation,
    UnnestRelation,
    ValuesRelation,
    find_fault,
    slots_of,
)
from .result import Status, UpsertResult
from .rows import Chunk, Rows, open_rows
from .server import created_by
from .sql import identifier
from .statements.questions import duplicates, first_null, stored_keys
from .statements.upsert import Upsert

#: Keys that DuplicateKeysError lists.
MOST_KEYS = 10


def run(
    model: type[models.Model], rows: Iterable[Any], options: Options, using: str
) -> UpsertResult:
    """Upsert ``rows``; see ``BulkUpsertQuerySet.bulk_upsert`` for the meaning of each word."""
    plan = Plan(model, options, connections[using])
    source = open_rows(model, rows, plan.fields, plan.column)
    if source is None:
        return UpsertResult()
    call = Call(plan, plan.bind(source.reader), source)
    result = call.run()
    call.marks.apply(source.objects or ())
    return result


class Call:
    """A call under way: its plan, its rows, and the ways to run them."""

    def __init__(self, plan: Plan, write: Write, source: Rows) -> None:
        self.plan = plan
        self.write = write
        self.source = source
        self.connection = plan.connection
        self.slots = slots_of(source.reader)
        # What the database has filled in for an instance, it is told.
        self.returns = tuple(
            column for column in source.reader.carried if column in source.reader.defaulted
        )
        self.marks = Marks(
            plan.pk, self.returns, source.reader.constants, write.updates, self.connection.alias
        )

    def run(self) -> UpsertResult:
        """Choose the relation by the rows, and write them."""
        asked = self.plan.options.strategy
        if asked == "copy" or (asked is None and self.plan.wants_exact_types(self.slots)):
            return self.staged(self.source.chunks(CHUNK_ROWS, []))
        head = self.source.pull(None if asked else UNNEST_ROWS + 1)
        if asked is None and len(head) > UNNEST_ROWS:
            return self.staged(self.source.chunks(CHUNK_ROWS, head))
        chunk = self.source.encode(head)
        if asked == "values" or (asked is None and chunk.has_cells):
            if self._binds(chunk) <= MOST_PARAMETERS:
                return self.at_once(chunk, ValuesRelation(self.slots, chunk))
            if asked is None:
                return self.staged(iter([chunk]))
            raise OptionError(
                f"strategy='values' takes {MOST_PARAMETERS:,} values at the most where the server "
                f"binds them, and these rows have {self._binds(chunk):,}; leave strategy out"
            )
        self._check_plain(chunk)
        return self.at_once(chunk, UnnestRelation(self.slots, chunk))

    def at_once(self, chunk: Chunk, relation: Relation) -> UpsertResult:
        """Run a chunk that is all of the input, in one statement (or two, see ``_parts``)."""
        self.plan.check_castable(self.slots)
        try:
            with self._transaction(len(self._parts())), self.connection.cursor() as cursor:
                return self._merge(cursor, relation)
        except DataError as error:
            self._blame_value(error, chunk)
            raise
        except IntegrityError as error:
            with self.connection.cursor() as cursor:
                self._blame_null(error, cursor, relation)
            raise

    def staged(self, chunks: Iterator[Chunk]) -> UpsertResult:
        """Load all of the input, chunk by chunk, into a staging table, and merge that."""
        with self._transaction(None), self.connection.cursor() as cursor:
            nested = bool(self.connection.savepoint_ids)
            staging = StagingRelation(self.connection, cursor, self.plan.table, self.slots)
            for chunk in chunks:
                staging.add(chunk)
            staging.finish(self.plan.key or self.plan.pk)
            try:
                with transaction.atomic(using=self.connection.alias):
                    result = self._merge(cursor, staging)
            except IntegrityError as error:
                self._blame_null(error, cursor, staging)
                raise
            if nested:
                staging.drop()
            return result

    def _transaction(self, statements: int | None) -> AbstractContextManager[Any]:
        """Make the call all or nothing.

        One statement is that by itself; inside a transaction of the caller's, a savepoint
        keeps it usable after an error.
        """
        if statements == 1 and self.connection.get_autocommit():
            return nullcontext()
        atomic: AbstractContextManager[Any] = transaction.atomic(using=self.connection.alias)
        return atomic

    def _binds(self, chunk: Chunk) -> int:
        """Return how many parameters VALUES would bind on the server."""
        features = self.connection.features
        if not getattr(features, "uses_server_side_binding", False):
            return 0
        return chunk.count * len(self.slots)

    def _check_plain(self, chunk: Chunk) -> None:
        for slot, texts in zip(self.slots, chunk.texts, strict=True):
            for offset in texts.cells or ():
                raise OptionError(
                    f"strategy='unnest' can't carry row {chunk.start + offset}, field "
                    f"{slot.column.field.name!r}, which is SQL, or what only the driver can "
                    "adapt; leave strategy out, or pass 'values' or 'copy'"
                )

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

    def _merge(self, cursor: Any, relation: Relation) -> UpsertResult:
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

    def _blame_value(self, error: DataError, chunk: Chunk) -> None:
        """Raise the error that names the row and field of a value that the server can't read."""
        fault = find_fault(self.connection, self.plan.table, self.slots, chunk)
        if fault is not None:
            raise fault from error

    def _is_target(self, table: str) -> bool:
        """Whether a table's bare name, as the server reports it, is the one written to."""
        return bool(table) and self.plan.table.plain().endswith(identifier(table).plain())

    def _blame_null(self, error: IntegrityError, cursor: Any, relation: Relation) -> None:
        """Raise the error that names the row that a NOT NULL constraint refuses."""
        found = diagnostics(error)
        if found.sqlstate != "23502" or not self._is_target(found.table):
            return  # not a NULL, or a trigger's in another table
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
            with suppress(DatabaseError):
                first_null(over, column, new=new).execute(cursor)
                index = cursor.fetchone()[0]
            if index is not None:
                raise RowConstraintError(index, column.field.name, reason) from error
