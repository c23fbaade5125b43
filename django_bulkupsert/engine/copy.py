"""``bulk_copy``: COPY straight into the table, for rows that are known to be new."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InternalError,
    ProgrammingError,
    connections,
)

from .. import server
from ..chunks import Chunk, VerbatimChunk, csv_indexes, csv_lines
from ..columns import Column
from ..driver import copy_in, diagnostics
from ..encode import Texts, copy_lines
from ..errors import (
    DeferredConstraintError,
    OptionError,
    RowExpressionError,
    UnsupportedModel,
)
from ..fields import is_filled
from ..names import Model
from ..plans.copy import CopyOptions, CopyPlan
from ..plans.kept import planned
from ..relations.copy_errors import as_violation, located
from ..relations.staging import TEXT
from ..rows import Rows, open_rows, told_by_line
from ..sources import check_rows
from ..sql import Fragment, comma, compose, unqualified
from .attempts import Attempts
from .call import Call
from .progress import Progress


def run(model: Model, rows: Any, options: CopyOptions, using: str) -> int:
    """Insert ``rows``; see ``BulkUpsertQuerySet.bulk_copy`` for the meaning of each word."""
    label = model._meta.label
    attempts = Attempts(connections[using], f"bulk_copy() of {label}", "INSERT", 0, rows)
    return attempts.whole(partial(_run, model, rows, options, using, attempts))


def _run(model: Model, rows: Any, options: CopyOptions, using: str, attempts: Attempts) -> int:
    with planned(model, using, options, partial(CopyPlan, model)) as plan:
        check_rows(rows)
        defers = check_table(plan)
        progress = Progress(options.progress, rows)
        source = open_rows(
            plan.model, rows, plan.fields, plan.column, plan.readers, operation="bulk_copy"
        )
        if source is None or source.source.is_empty:
            progress.done()
            return 0
        try:
            with told_by_line(source.source):
                return CopyCall(plan, source, options, progress, attempts, defers=defers).run()
        except Refused as refused:
            blame(plan, refused.error)
            raise refused.error from refused.error.__cause__


def check_table(plan: CopyPlan) -> bool:
    """Check that COPY can fill the table; return whether it may have a constraint that is deferred.

    Raises:
        UnsupportedModel: It can't.
    """
    reason, defers = server.copy_refusal(connections[plan.connection.alias], plan.table)
    if reason is not None:
        raise UnsupportedModel(f"the table of {plan.model._meta.label} {reason}")
    return defers


class Refused(Exception):
    """What was deferred is refused; by what, can be asked when the transaction is over."""

    def __init__(self, error: IntegrityError) -> None:
        super().__init__()
        self.error = error


def blame(plan: CopyPlan, error: IntegrityError) -> None:
    """Raise the error that names the fields of the constraint, if it is the table's."""
    found = diagnostics(error)
    columns: list[str] = []
    with suppress(DatabaseError):
        columns = server.constrained(connections[plan.connection.alias], plan.table, found)
    fields = {field.column: field.name for field in plan.model._meta.local_concrete_fields}
    names = [fields[column] for column in dict.fromkeys(columns) if column in fields]
    if names:
        reason = found.message or ""
        raise DeferredConstraintError(names, found.constraint or "", reason) from error


class CopyCall(Call[CopyPlan, int]):
    """A ``bulk_copy`` under way.

    Args:
        defers: Whether the table may have a constraint that is deferred.
    """

    loads = "copying"

    def __init__(
        self,
        plan: CopyPlan,
        source: Rows,
        options: CopyOptions,
        progress: Progress,
        attempts: Attempts,
        *,
        defers: bool,
    ) -> None:
        super().__init__(plan, source, progress, attempts)
        self.defers = defers
        source.objects = None  # the instances stay as they are, and are not held
        if options.batch_size is not None:
            self.chunk_rows = options.batch_size

    def run(self) -> int:
        """Send the rows, all or none.

        Raises:
            Refused: A constraint refuses one at the end.
        """
        with self._transaction(), self.connection.cursor() as cursor:
            sink = TableSink(self, cursor)
            self.load(sink)
            if self.defers:
                try:
                    self.check_deferred(cursor)
                except IntegrityError as error:
                    raise Refused(error) from error
            self.progress.done()
        return sink.written

    def take(self, chunk: Chunk) -> None:
        """See a chunk before it is sent.

        Raises:
            RowExpressionError: It holds what COPY can't carry.
        """
        columns = [slot.column for slot in self.slots]
        if isinstance(chunk, VerbatimChunk):
            columns = list(chunk.form.made)
        for column, texts in zip(columns, chunk.texts, strict=True):
            if texts.cells:
                raise RowExpressionError(
                    chunk.start + min(texts.cells),
                    column.field.name,
                    "SQL, or what only the driver can adapt, which COPY can't carry; "
                    "bulk_upsert() takes it",
                )


@dataclass(frozen=True)
class SentLines:
    """Some rows of a chunk as they are sent.

    Attributes:
        columns: The columns that they give.
        indexes: The position in the input of each line.
        data: The lines.
        options: Those of COPY.
    """

    columns: Sequence[Column]
    indexes: Sequence[int]
    data: bytes
    options: Fragment = TEXT


class TableSink:
    """The table itself.

    COPY has one list of columns for all of its lines, and rows that leave different columns to
    the database are sent by different ones.

    Attributes:
        written: How many rows the server has written so far; a trigger may drop some.
    """

    def __init__(self, call: CopyCall, cursor: Any) -> None:
        self.call = call
        self.cursor = cursor
        self.written = 0
        constants = call.source.reader.constants
        for each in constants:
            if each.texts.cells:
                raise OptionError(
                    f"the value of {each.column.field.name!r} is SQL, which bulk_copy() can't "
                    "carry; bulk_upsert() takes it"
                )
        self.constants = [(each.column, each.texts) for each in constants]

    def lines(self, chunk: Chunk) -> list[SentLines]:
        """Return the chunk's rows, those together that give the same columns."""
        if isinstance(chunk, VerbatimChunk):
            return [self._verbatim(chunk)]
        columns: list[tuple[Column, Texts]] = []
        left: list[Sequence[bool]] = []  # per column, which rows leave it to the database
        none: list[bool] = [False] * chunk.count
        for slot, texts in zip(self.call.slots, chunk.texts, strict=True):
            if slot.is_flag:
                left[-1] = [text == "t" for text in texts.values]
                continue
            filled = slot.column in self.call.plan.pk and is_filled(slot.column.field)
            columns.append((slot.column, texts))
            left.append([text is None for text in texts.values] if filled and texts.nulls else none)
        for column, texts in self.constants:
            columns.append((column, replace(texts, values=[*texts.values] * chunk.count)))
            left.append(none)
        every = range(chunk.start, chunk.start + chunk.count)
        if all(each is none for each in left):
            return [self._lines(columns, every)]
        groups: dict[tuple[bool, ...], list[int]] = {}
        for offset, pattern in enumerate(zip(*left, strict=True)):
            groups.setdefault(pattern, []).append(offset)
        return [
            self._lines(
                [
                    (column, replace(texts, values=[texts.values[i] for i in offsets]))
                    for (column, texts), leaves in zip(columns, pattern, strict=True)
                    if not leaves
                ],
                [every[offset] for offset in offsets],
            )
            for pattern, offsets in groups.items()
        ]

    def _lines(self, columns: Sequence[tuple[Column, Texts]], indexes: Sequence[int]) -> SentLines:
        if not columns:
            raise OptionError(
                "every column of some rows is left to the database, and COPY needs one; "
                "bulk_upsert() inserts them"
            )
        texts = [each for _, each in columns]
        return SentLines([column for column, _ in columns], indexes, copy_lines(texts))

    def _verbatim(self, chunk: VerbatimChunk) -> SentLines:
        """Return rows as they stand in a file, each with the values that all have."""
        form = chunk.form
        columns = [*form.sent(form.columns), *(column for column, _ in self.constants)]
        rows = chunk.rows([texts.values[0] for _, texts in self.constants])
        options = form.options([column.name for column in form.columns])
        return SentLines(columns, csv_indexes(rows, chunk.ordinals), csv_lines(rows), options)

    def copy(self, _chunk: Chunk, lines: list[SentLines]) -> None:
        """Send the lines of a chunk; touches nothing but the connection.

        Raises:
            RowError: The server can't take a row.
        """
        plan = self.call.plan
        for each in lines:
            statement = compose(
                "COPY {table} ({names}) FROM STDIN ({options})",
                table=plan.table,
                names=comma(column.name for column in each.columns),
                options=each.options,
            )
            try:
                self.written += copy_in(self.call.connection, self.cursor, statement, each.data)
            except (DataError, IntegrityError, InternalError, ProgrammingError) as error:
                violated = as_violation(error)
                if violated is not None:
                    raise violated from error.__cause__
                names = {
                    field.column or "": field.name
                    for field in plan.model._meta.local_concrete_fields
                }
                named = unqualified(plan.table).plain()[1:-1].replace('""', '"')
                fault = located(error, named, names, each.indexes)
                if fault is None:
                    raise
                raise fault from error

    def complete(self, chunk: Chunk) -> None:
        """Nothing is left to do."""
