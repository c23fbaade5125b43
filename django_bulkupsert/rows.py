"""The caller's rows, walked once and in order, in chunks of encoded columns."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import sleep
from typing import Any

from .arrow import is_table
from .arrow.source import ArrowSource
from .chunks import Chunk, VerbatimChunk
from .columns import Column
from .csvs import CsvRows
from .csvs.source import CsvSource
from .csvs.verbatim import VerbatimBlock
from .encode import Fault, Texts
from .errors import DuplicateKeysError, RowError, RowFieldsError, RowTypeError, RowValueError
from .fields import DatabaseDefault, Field
from .names import Model, Named, pk_fields
from .readers import InstanceReader, Reader, reader_of
from .sources import Source, Walk
from .validation import validate


@dataclass(frozen=True)
class Block:
    """Some rows of the input, read: the values of each column that travels, in order."""

    rows: Any
    columns: Sequence[Sequence[Any]]


class Rows:
    """The caller's rows behind a reader, pulled once and in order.

    Attributes:
        objects: The model instances pulled so far, where rows are instances; else None.
        count: How many rows were encoded so far.
        with_pk: How many of them gave a primary key.
        nullable: The columns in which one of them may be NULL.
        first_null: Of each column in which one of them gave None: the first such row's position.
        validates: Whether fields look at their values, as in ``full_clean()``.
    """

    def __init__(self, reader: Reader, source: Source, *, validates: bool = False) -> None:
        self.reader = reader
        self.source = source
        self.validates = validates
        self.objects: list[Any] | None = [] if isinstance(reader, InstanceReader) else None
        self.count = 0
        self.with_pk = 0
        self.first_null: dict[Column, int] = {}
        self.nullable: set[Column] = set()

    @property
    def without_pk(self) -> int:
        """How many of the rows encoded so far gave no primary key."""
        return self.count - self.with_pk

    def _pk(self) -> Column | None:
        first = pk_fields(self.reader.model)[0]
        return next((each for each in self.reader.carried if each.field == first), None)

    def pull(self, most: int | None) -> Any:
        """Return the next rows; see Source."""
        return self.source.pull(most)

    def join_keys(self) -> None:
        """Have foreign keys that rows give by another field found for all rows at once.

        Not if the fields themselves have something to say of the keys.
        """
        fields: Any = [column.field for column in self.reader.finders]
        if not (self.validates and any(each.choices or each.validators for each in fields)):
            self.reader.join_keys()

    def allow_verbatim(self) -> None:
        """Have rows that the server reads as they stand, and just alike, pulled as they are."""
        if not self.validates:
            self.source.verbatim = self.reader.verbatim()

    def read(self, rows: Any) -> Block:
        """Return the values of rows that were pulled; of those that stay as they are, what is made.

        Raises:
            RowError: A row can't be taken, with its index.
        """
        if isinstance(rows, VerbatimBlock):
            return Block(rows, self.reader.made(len(rows)))
        columns = self.reader.read(rows, self.count)
        if self.validates:
            validate(self.reader, columns, self.count)
        return Block(rows, columns)

    def encode(self, block: Block, pause: Callable[[], None] | None = None) -> Chunk:
        """Return rows that were read as a chunk.

        Args:
            block: The rows, and what ``read()`` made of them.
            pause: Called before code runs that isn't Django's or ours.

        Raises:
            RowError: A value can't be stored, with its index and field.
        """
        start, rows = self.count, block.rows
        reader = self.reader
        aside = reader.aside
        texts: list[Texts] = []
        pk = reader.keep("pk", self._pk)
        carried: Sequence[Column] = reader.carried
        defaulted = reader.defaulted
        if isinstance(rows, VerbatimBlock):
            carried, defaulted = rows.form.made, frozenset()  # nothing there is a default
            self._see(rows, pk)
        for column, values in zip(carried, block.columns, strict=True):
            flags: list[bool] = []
            given: Sequence[Any]
            if column in defaulted:
                flags = [type(item) is DatabaseDefault for item in values]
                given = [None if flag else item for item, flag in zip(values, flags, strict=True)]
            else:
                given = values
            if column is pk:
                self.with_pk += len(given) - given.count(None)
            name, sent = reader.sent(column)
            try:
                encoded = sent.encode(given, aside and partial(aside, column, start), pause)
            except Fault as fault:
                raise RowValueError(start + fault.offset, name, fault.reason) from fault.__cause__
            if encoded.cells and column.field in pk_fields(reader.model):
                # Whether it is NULL settles what becomes of the row; only the server knows.
                raise RowValueError(
                    start + min(encoded.cells),
                    column.field.name,
                    "an SQL expression, where a primary key has to be a value",
                )
            if encoded.nulls and column not in self.first_null and None in given:
                self.first_null[column] = start + list(given).index(None)
            if encoded.nulls or encoded.cells or flags:
                self.nullable.add(column)
            texts.append(encoded)
            if pause is not None:
                # The thread that sends wants the interpreter for an instant, and would else wait
                # for it for five milliseconds each time: a load is a quarter slower.
                sleep(0)
            if flags:
                marks: list[str | None] = ["t" if flag else "f" for flag in flags]
                texts.append(Texts(marks, nulls=False, escape=False, quote=False))
        if self.objects is not None:
            self.objects.extend(rows)
        self.count += len(rows)
        if isinstance(rows, VerbatimBlock):
            return VerbatimChunk(start, len(rows), texts, rows.records, rows.form)
        return Chunk(start, len(rows), texts)

    def _see(self, rows: VerbatimBlock, pk: Column | None) -> None:
        """Note of rows that stay as they are what is sure: none is NULL where that isn't taken."""
        given = [rows.form.columns[place] for place in rows.form.order]
        if pk in given:
            self.with_pk += len(rows)
        if rows.has_nulls:
            self.nullable.update(each for each in given if each.field.null)

    def first_fault(self, rows: Any, error: RowError) -> RowError:
        """Return the error of the first bad one of some rows, which need not be the first found.

        Rows are read column by column. Not looked for where a field is asked for its value, which
        may do more than tell it.

        Args:
            rows: Rows that were pulled, and are not encoded yet.
            error: That of one of them.
        """
        while error.index > self.count and not self.reader.asked:
            before = self.source.picked(rows, range(error.index - self.count))
            try:
                self.encode(self.read(before))
            except RowError as earlier:
                error = earlier
            else:
                break
        return error


@contextmanager
def told_by_line(source: Source) -> Iterator[None]:
    """Have errors name the lines of a file, and let go of it at the end.

    Raises:
        RowError: With the line, where rows are those of a file.
        DuplicateKeysError: The same.
    """
    try:
        yield
    except DuplicateKeysError as error:
        lines = [tuple(source.lines(some) or ()) for some in error.indexes]
        if not all(lines):
            raise
        raise DuplicateKeysError(
            error.fields, error.keys, error.indexes, more=error.more, choice=error.choice,
            lines=lines,
        ) from error  # fmt: skip
    except RowError as error:
        line = source.line(error.index)
        if line is None:
            raise
        raise type(error)(error.index, error.field, error.reason, line) from error
    finally:
        source.close()


def open_rows(
    model: Model,
    rows: Iterable[Any],
    fields: Sequence[Named] | None,
    column: Callable[[Field], Column],
    known: dict[Hashable, Reader] | None = None,
    *,
    operation: str = "bulk_upsert",
    behind: Callable[[Reader, Source], Rows] = Rows,
    sifts: bool = False,
) -> Rows | None:
    """Look at the first row and pick the reader, see ``reader_of``; None where there is no row.

    A file has a header, which is looked at also where there is no row.

    Args:
        model: The model.
        rows: The caller's.
        fields: What rows hold that are sequences.
        column: Returns the column of a field.
        known: The readers that such calls had before.
        operation: The method that is called.
        behind: Makes the rows behind a reader.
        sifts: Whether rows that can't be read are dropped, rather than refused.

    Raises:
        OptionError: ``fields`` doesn't go with rows of this kind.
        RowTypeError: The first row is of no kind that is taken, or of another model. If rows are
            dropped: no row is of one.
        RowFieldsError: The first row gives no field; or no row does.
    """
    source: Source
    if isinstance(rows, CsvRows):
        source = CsvSource(rows, sifts=sifts)
    else:
        source = ArrowSource(rows) if is_table(rows) else Walk(rows)
    if source.is_empty and not isinstance(source, CsvSource):
        return None
    skipped: list[RowError] = []
    while True:
        try:
            reader = reader_of(model, source.first, fields, column, known)
            break
        except (RowTypeError, RowFieldsError) as error:
            skipped.append(error)
            if not (sifts and isinstance(source, Walk)):
                raise
            source.skip(error)
            if source.is_empty:
                raise skipped[0] from None
    reader.operation, reader.pattern = operation, len(skipped)
    return behind(reader, source)
