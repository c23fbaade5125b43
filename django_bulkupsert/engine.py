"""One call, told from top to bottom: the table of contents of the library."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

from django.db import DataError, IntegrityError, connections, models, transaction

from .driver import diagnostics
from .errors import DuplicateKeysError, OptionError, RowConstraintError
from .plan import Options, Plan, Write
from .relations import (
    CHUNK_ROWS,
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
from .statements.questions import duplicates, stored_keys
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
    strategy = options.strategy
    if strategy == "copy":
        return call.staged([])
    head = source.pull(None if strategy else UNNEST_ROWS + 1)
    if strategy is None and len(head) > UNNEST_ROWS:
        return call.staged(head)
    return call.at_once(source.encode(head))


class Call:
    """A call under way: its plan, its rows, and the ways to run them."""

    def __init__(self, plan: Plan, write: Write, source: Rows) -> None:
        self.plan = plan
        self.write = write
        self.source = source
        self.connection = plan.connection
        self.slots = slots_of(source.reader)

    def at_once(self, chunk: Chunk) -> UpsertResult:
        """Run a chunk that is all of the input, in one statement (or two, see ``_merge``)."""
        asked = self.plan.options.strategy
        relation: Relation
        if asked == "values" or (asked is None and chunk.has_cells):
            relation = ValuesRelation(self.slots, chunk)
        else:
            self._check_plain(chunk)
            relation = UnnestRelation(self.slots, chunk)
        try:
            with (
                self._transaction(statements=len(self._parts())),
                self.connection.cursor() as cursor,
            ):
                return self._merge(cursor, relation)
        except DataError as error:
            fault = find_fault(self.connection, self.plan.table, self.slots, chunk)
            if fault is None:
                raise
            raise fault from error
        except IntegrityError as error:
            self._name_row(error, lambda place: _first_null(chunk, place))
            raise

    def _check_plain(self, chunk: Chunk) -> None:
        for slot, texts in zip(self.slots, chunk.texts, strict=True):
            for offset in texts.cells or ():
                raise OptionError(
                    f"row {chunk.start + offset}, field {slot.column.field.name!r}: a value that "
                    "is SQL, or that only the driver can adapt, can't travel by "
                    "strategy='unnest'; leave strategy out, or pass 'values' or 'copy'"
                )

    def staged(self, head: list[Any]) -> UpsertResult:
        """Load all of the input, chunk by chunk, into a staging table, and merge that."""
        with self._transaction(statements=None), self.connection.cursor() as cursor:
            in_transaction = len(self.connection.savepoint_ids) > 0
            staging = StagingRelation(self.connection, cursor, self.plan.table, self.slots)
            pulled = head or self.source.pull(CHUNK_ROWS)
            while pulled:
                staging.add(self.source.encode(pulled))
                pulled = self.source.pull(CHUNK_ROWS)
            staging.analyze(self.plan.key or self.plan.pk)
            try:
                with transaction.atomic(using=self.connection.alias):
                    result = self._merge(cursor, staging)
            except IntegrityError as error:
                self._name_row(error, staging.first_null)
                raise
            if in_transaction:
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

    # Merging ------------------------------------------------------------------------------

    def _parts(self) -> list[bool | None]:
        """Return the statements that the rows need: those with a primary key, those without.

        Matched by primary key, a row that has none is an insert; one statement can't do both,
        because a key that is drawn must not run into a stored row and update that.
        """
        source, plan = self.source, self.plan
        if not plan.matched_by_pk or plan.target is None or len(plan.pk) > 1:
            return [None]
        return [part for part, n in ((True, source.with_pk), (False, self._without_pk)) if n]

    @property
    def _without_pk(self) -> int:
        return self.source.count - self.source.with_pk

    def _merge(self, cursor: Any, relation: Relation) -> UpsertResult:
        result = UpsertResult()
        for part in self._parts():
            upsert = self._upsert(relation, part)
            upsert.fragment().execute(cursor)
            n = {None: self.source.count, True: self.source.with_pk, False: self._without_pk}[part]
            if upsert.per_row:
                result += self._take_rows(cursor, upsert)
            else:
                result += self._take_counts(cursor, upsert, n)
        return result

    def _upsert(self, relation: Relation, part: bool | None) -> Upsert:
        source = self.source
        return Upsert(
            plan=self.plan,
            write=self.write,
            slots=self.slots,
            constants=source.reader.constants,
            missing=source.reader.missing,
            relation=relation,
            created_by=_created_by(self.connection, self.plan.table.plain()),
            per_row=source.objects is not None,
            part=part,
            pk_given=True if not self._without_pk else None if source.with_pk else False,
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
        """Count the rows that came back, and set what became of each on its instance."""
        objects: list[Any] = self.source.objects or []
        rows = cursor.fetchall()
        if rows and rows[0][1] is None:
            raise self._duplicates(cursor, upsert)
        counts = [0, 0, 0, 0]
        lost: dict[int, Any] = {}
        mark = self._marker()
        for ordinal, status, *pk in rows:
            counts[status] += 1
            if pk[0] is None:
                lost[ordinal] = objects[ordinal]
            else:
                mark(objects[ordinal], status, pk)
        if lost and upsert.matches:
            # Another call created them meanwhile: ask again, with a snapshot that sees them.
            stored_keys(upsert).execute(cursor)
            for ordinal, *pk in cursor.fetchall():
                if ordinal in lost:
                    mark(lost[ordinal], Status.SKIPPED, pk)
        return UpsertResult(
            created=counts[Status.CREATED],
            updated=counts[Status.UPDATED],
            unchanged=counts[Status.UNCHANGED],
            skipped=counts[Status.SKIPPED],
        )

    def _marker(self) -> Callable[[Any, int, list[Any]], None]:
        """Return the function that tells an instance what became of it."""
        alias = self.connection.alias
        pk = [(column.field.attname, column.loader()) for column in self.plan.pk]
        clocks: dict[int, list[tuple[str, Any]]] = {
            Status.CREATED: [
                (each.column.field.attname, each.value) for each in self.source.reader.constants
            ],
            Status.UPDATED: [
                (each.column.field.attname, each.value)
                for each in self.source.reader.constants
                if each.column in self.write.updates
            ],
        }

        def mark(instance: Any, status: int, stored: list[Any]) -> None:
            for (attname, load), item in zip(pk, stored, strict=True):
                setattr(instance, attname, item if load is None else load(item))
            for attname, now in clocks.get(status, ()):
                setattr(instance, attname, now)
            state = instance._state
            state.adding = False
            state.db = alias

        return mark

    # Errors -------------------------------------------------------------------------------

    def _duplicates(self, cursor: Any, upsert: Upsert) -> DuplicateKeysError:
        duplicates(upsert, MOST_KEYS + 1).execute(cursor)
        found = cursor.fetchall()
        shown = found[:MOST_KEYS]
        names = self.plan.target.names if self.plan.target else ()
        return DuplicateKeysError(
            names,
            [tuple(key) for _, *key in shown],
            [tuple(indexes) for indexes, *_ in shown],
            more=len(found) > MOST_KEYS,
        )

    def _name_row(self, error: IntegrityError, first_null: Callable[[int], int | None]) -> None:
        """Raise the error that names the row, if it was a row that gave NULL where none may be."""
        found = diagnostics(error)
        if found.sqlstate != "23502":
            return
        for column in self.source.reader.missing:
            if column.field.column == found.column:
                raise RowConstraintError(
                    0,
                    column.field.name,
                    "not given, and a row that is new needs it: the field has no default and "
                    "takes no NULL",
                ) from error
        for place, slot in enumerate(self.slots):
            if slot.column.field.column == found.column and not slot.is_flag:
                index = first_null(place)
                if index is not None:
                    raise RowConstraintError(
                        index, slot.column.field.name, "None, where the column takes no NULL"
                    ) from error


def _first_null(chunk: Chunk, place: int) -> int | None:
    texts = chunk.texts[place]
    for offset, text in enumerate(texts.values):
        if text is None and offset not in (texts.cells or ()):
            return chunk.start + offset
    return None


# --- what the server is -----------------------------------------------------------------------

_partitioned: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()


def _created_by(connection: Any, table: str) -> str:
    """Return how the server tells an insert from an update; asked once per table before 18."""
    if connection.pg_version >= 180000:
        return "old"
    known = _partitioned.setdefault(connection, {})
    if table not in known:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)", [table]
            )
            known[table] = bool((cursor.fetchone() or [False])[0])
    return "join" if known[table] else "xmax"
