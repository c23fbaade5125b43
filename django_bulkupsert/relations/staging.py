"""A temporary table, filled by COPY, gone at the end of the call. For long inputs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from types import MappingProxyType
from typing import Any

from django.db import DatabaseError, DataError, IntegrityError, ProgrammingError, transaction

from ..chunks import Chunk, VerbatimChunk, csv_indexes, csv_lines
from ..columns import Column
from ..driver import copy_in
from ..encode import Texts, copy_lines
from ..errors import RowError
from ..readers import RelatedKeys
from ..sql import EMPTY, Fragment, comma, compose, identifier, raw
from ..transactions import atomic
from .base import Relation
from .copy_errors import located
from .found import with_keys
from .slots import Slot, aliases

#: The options of COPY for lines that are made here.
TEXT = raw("FORMAT text, ENCODING 'UTF8'")

#: How much ANALYZE looks at, 300 rows for each: of a key that is unique it tells that.
SAMPLE = raw("10")

#: Expressions that one statement computes; each may bring some parameters of its own.
CELLS_ROWS = 1_000


class StagingRelation(Relation):
    """Carries any number of chunks.

    The table's columns have the types of the target's, with their lengths, so that COPY itself
    refuses what does not fit and says in which line. Each chunk is a COPY of its own, complete
    before it is sent: between chunks the connection is free for the caller's generator, and a
    slow generator doesn't run into statement_timeout. See Loading for when they are sent.

    Args:
        connection: The connection.
        cursor: The cursor.
        slots: The columns.
        coded: The foreign keys of which it takes another field's values first; see find_keys().
    """

    exact_types = True

    def __init__(
        self,
        connection: Any,
        cursor: Any,
        slots: Sequence[Slot],
        coded: Mapping[Column, RelatedKeys] = MappingProxyType({}),
    ) -> None:
        self.connection = connection
        self.cursor = cursor
        self.slots = slots
        self.coded = {
            slot: coded[slot.column] for slot in slots if slot.column in coded and not slot.is_flag
        }
        self.marks_dropped = False
        self.flagged: set[Fragment] = set()  # flags by which a row is left to a default
        held = {slot: slot.column for slot in slots}
        held |= {slot: finder.leaf for slot, finder in self.coded.items()}
        self._create(
            compose(
                "SELECT 0::bigint AS ord, {columns} FROM {tables} WITH NO DATA",
                columns=comma(
                    compose("{type} AS {alias}", type=_typed(slot, column), alias=slot.alias)
                    for slot, column in held.items()
                ),
                tables=comma(dict.fromkeys(column.table for column in held.values())),
            )
        )

    def _create(self, query: Fragment) -> None:
        """Make a table of what a query returns."""
        self.plain_name = f"bulkupsert_{secrets.token_hex(8)}"
        name = identifier(self.plain_name)
        self.name = compose("pg_temp.{name}", name=name)
        compose(
            "CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {query}", name=name, query=query
        ).execute(self.cursor)

    def label(self, slot: Slot) -> str:
        """Return what the rows' values of a slot are called in messages."""
        coded = self.coded.get(slot)
        return slot.column.field.name if coded is None else coded.named.label

    def given(self, slot: Slot) -> Fragment:
        """Return the name of what rows gave for a slot, when their keys are found."""
        return slot.code if slot in self.coded else slot.alias

    def add(self, chunk: Chunk) -> None:
        """Load a chunk.

        Raises:
            RowError: The server can't read a value as its column's type.
        """
        self.copy(chunk, self.lines(chunk))
        self.complete(chunk)

    def lines(self, chunk: Chunk) -> bytes:
        """Return a chunk as COPY wants it."""
        if isinstance(chunk, VerbatimChunk):
            return csv_lines(chunk.numbered)
        ordinals = list(map(str, chunk.ordinals))
        return copy_lines([Texts(ordinals, nulls=False, escape=False), *chunk.texts])

    def copy(self, chunk: Chunk, lines: bytes) -> None:
        """Send the lines of a chunk; touches nothing but the connection.

        Raises:
            RowError: The server can't read a value as its column's type.
        """
        columns, options = aliases(self.slots), TEXT
        indexes = chunk.ordinals
        if isinstance(chunk, VerbatimChunk):
            carried = [slot.alias for slot in self.slots if not slot.is_flag]
            columns = chunk.form.sent(carried)
            options = chunk.form.options(carried)
        statement = compose(
            "COPY {name} (ord, {columns}) FROM STDIN ({options})",
            name=self.name,
            columns=comma(columns),
            options=options,
        )
        try:
            copy_in(self.connection, self.cursor, statement, lines)
        except (DataError, IntegrityError, ProgrammingError) as error:  # a domain has constraints
            names = {slot.alias.text.strip('"'): self.label(slot) for slot in self.slots}
            if isinstance(chunk, VerbatimChunk):
                indexes = csv_indexes(chunk.rows(), chunk.ordinals)
            fault = located(error, self.plain_name, names, indexes)
            if fault is None:
                raise
            raise fault from error

    def complete(self, chunk: Chunk) -> None:
        """Do for a chunk that was sent what COPY can't do."""
        slots = self.slots
        if isinstance(chunk, VerbatimChunk):
            slots = [each for each in slots if each.column in chunk.form.made and not each.is_flag]
        for slot, texts in zip(slots, chunk.texts, strict=True):
            if texts.cells:
                self._fill(slot, {chunk.start + at: cell for at, cell in texts.cells.items()})
            if slot.is_flag and "t" in texts.values:
                self.flagged.add(slot.alias)

    def _fill(self, slot: Slot, cells: Mapping[int, Fragment]) -> None:
        """Compute the expressions of a column, which COPY left NULL.

        The first row of the VALUES, which matches none, has them take the column's own type.
        """
        placed = iter(cells.items())
        while some := list(islice(placed, CELLS_ROWS)):
            compose(
                "UPDATE {name} SET {alias} = bu_v.cell FROM "
                "(VALUES (NULL::bigint, (SELECT {alias} FROM {name} WHERE false)), {cells}) "
                "AS bu_v (ord, cell) WHERE {name}.ord = bu_v.ord",
                name=self.name,
                alias=slot.alias,
                cells=comma(
                    compose("({at}, {cell})", at=raw(str(at)), cell=cell) for at, cell in some
                ),
            ).execute(self.cursor)

    def _fill_defaults(self) -> None:
        """Put the database's default into the rows that are left to it, once for each."""
        for slot in self.slots:
            if slot.flag is not None and slot.flag in self.flagged:
                compose(
                    "UPDATE {name} SET {alias} = {default} WHERE {flag}",
                    name=self.name,
                    alias=slot.alias,
                    default=slot.column.database_default(),
                    flag=slot.flag,
                ).execute(self.cursor)

    def find_keys(self) -> None:
        """Put keys into the place of the values that rows know them by, with one join.

        The values stay beside them. A value that no row has gets no key, and one that several have
        is marked.
        """
        loaded = self.name
        self._create(with_keys(loaded, self.slots, self.coded))
        compose("DROP TABLE {name}", name=loaded).execute(self.cursor)

    def finish(self, key: Sequence[Column]) -> None:
        """Make the table ready to be read, when all of its rows are there."""
        self._fill_defaults()
        self.analyze(key)

    def analyze(self, key: Sequence[Column]) -> None:
        """Tell the planner how many rows there are, and of the key; autovacuum never looks here.

        Only the key, and a sample of it: it is what the plan turns on, and to look at every
        column makes a run in which nothing changed a fifth to a third slower
        (benchmarks/thresholds.py). A sample of the server's usual size takes 57 ms of 100,000
        rows of 300 bytes, this one 12.
        """
        columns = [slot.alias for slot in self.slots if slot.column in key and not slot.is_flag]
        columns.insert(0, raw("ord"))
        altered = comma(
            compose("ALTER {column} SET STATISTICS {target}", column=column, target=SAMPLE)
            for column in columns
        )
        compose("ALTER TABLE {name} {altered}", name=self.name, altered=altered).execute(
            self.cursor
        )
        compose("ANALYZE {name} ({columns})", name=self.name, columns=comma(columns)).execute(
            self.cursor
        )

    @property
    def dropped(self) -> Fragment | None:
        """The query of the positions of rows that don't count, if that was settled before."""
        if not self.marks_dropped:
            return None
        return compose("SELECT ord FROM {name} WHERE dropped", name=self.name)

    def first_null(self, slot: Slot) -> Fragment:
        """Return the query of the position of the first row that has no value in a column."""
        return compose(
            "SELECT min(ord) FROM {name} WHERE {alias} IS NULL", name=self.name, alias=slot.alias
        )

    def drop(self) -> None:
        """Drop the table before its transaction ends."""
        compose("DROP TABLE {name}", name=self.name).execute(self.cursor)

    def prelude(self) -> Fragment:
        """Return no CTE: the table is read as it is."""
        return EMPTY

    def source(self) -> Fragment:
        """Return the FROM item, known as bu_r."""
        return compose("{name} AS bu_r", name=self.name)

    inline = source

    def select(self) -> Fragment:
        """Return the query of all rows."""
        return compose("SELECT * FROM {name}", name=self.name)


def _typed(slot: Slot, column: Column) -> Fragment:
    if slot.is_flag:
        return raw("true")
    is_looked_for = column is not slot.column and not hasattr(column.field, "base_field")
    if is_looked_for:  # the very type, without its length: nothing is cut or rounded
        return compose("coalesce((array_append(NULL, {stored}))[1], NULL)", stored=column.stored)
    return column.stored if column.fits else column.cast(column.stored)


def find_fault(connection: Any, slots: Sequence[Slot], chunk: Chunk) -> RowError | None:
    """Find the row that made a statement over another relation fail, by staging its rows.

    Runs in a savepoint that is always rolled back; None where staging doesn't fail, or can't
    be tried.
    """
    try:
        with atomic(connection.alias), connection.cursor() as cursor:
            plain = [replace(texts, cells=None) for texts in chunk.texts]
            StagingRelation(connection, cursor, slots).add(replace(chunk, texts=plain))
            transaction.set_rollback(True, using=connection.alias)
    except RowError as fault:
        return fault
    except DatabaseError:
        return None
    return None
