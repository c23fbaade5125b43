"""Some rows of the input on their way to the server: encoded, or as they stand in a file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from .csvs.verbatim import Verbatim
from .encode import Texts

ChunkT = TypeVar("ChunkT", bound="Chunk")


@dataclass(frozen=True)
class Chunk:
    """Some rows of the input, encoded: one Texts per column that travels, in order.

    Attributes:
        start: The first row's number.
        count: How many they are.
        texts: The columns.
        left: Their numbers, where they don't follow one another; else None.
    """

    start: int
    count: int
    texts: list[Texts]
    left: Sequence[int] | None = field(default=None, kw_only=True)

    @property
    def ordinals(self) -> Sequence[int]:
        """The rows' numbers."""
        return range(self.start, self.start + self.count) if self.left is None else self.left

    @property
    def has_cells(self) -> bool:
        """Whether a value is an expression, or one that only the driver can adapt."""
        return any(texts.cells for texts in self.texts)

    @property
    def size(self) -> int:
        """How many characters the texts have."""
        return sum(len(text) for texts in self.texts for text in texts.values if text)

    def picked(self: ChunkT, offsets: Sequence[int]) -> ChunkT:
        """Return some of the rows, without what COPY can't carry."""
        texts = [
            replace(held, values=[held.values[at] for at in offsets], cells=None)
            for held in self.texts
        ]
        left = [self.ordinals[at] for at in offsets]
        return replace(self, count=len(offsets), texts=texts, left=left)


@dataclass(frozen=True)
class VerbatimChunk(Chunk):
    """Some rows as they stand in a file; ``texts`` are of the columns that are made for them.

    Attributes:
        records: What stands there.
        form: How they are written.
    """

    records: Sequence[str]
    form: Verbatim

    def rows(self, tail: Sequence[str | None] = ()) -> list[str]:
        """Return the rows, each with what is made for it, and with values that all have."""
        cell = self.form.cell
        made = [list(map(cell, held.values)) for held in self.texts]
        made += [[cell(text)] * self.count for text in tail]
        if not made:
            return list(self.records)
        return list(map(self.form.header.delimiter.join, zip(self.records, *made, strict=True)))

    @property
    def numbered(self) -> list[str]:
        """The rows, each after its number."""
        header = self.form.header
        quote = header.quotechar if header.null.isdigit() else ""  # or a number would be NULL
        between = quote + header.delimiter
        return [
            f"{quote}{n}{between}{row}" for n, row in zip(self.ordinals, self.rows(), strict=True)
        ]

    def picked(self, offsets: Sequence[int]) -> VerbatimChunk:
        """Return some of the rows, without what COPY can't carry."""
        return replace(super().picked(offsets), records=[self.records[at] for at in offsets])

    def values(self, at: int) -> Sequence[str | None]:
        """Return a column as texts; ``at`` is its place among those that travel."""
        form, header = self.form, self.form.header
        order = form.order
        if at not in order:
            return self.texts[at - len(order)].values
        place, column = order.index(at), form.columns[at]
        read = csv.reader(self.records, delimiter=header.delimiter, quotechar=header.quotechar)
        texts = [record[place] for record in read]
        if form.keeps(column):
            return texts
        return [None if text == header.null else text for text in texts]


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Return the rows of some chunks that follow one another as one."""
    first = chunks[0]
    return Chunk(
        first.start,
        sum(chunk.count for chunk in chunks),
        [
            Texts(
                [text for texts in column for text in texts.values],
                nulls=any(texts.nulls for texts in column),
                escape=any(texts.escape for texts in column),
                quote=any(texts.quote for texts in column),
                cells={
                    chunk.start - first.start + offset: cell
                    for chunk, texts in zip(chunks, column, strict=True)
                    for offset, cell in (texts.cells or {}).items()
                },
                sure=all(texts.sure for texts in column),
            )
            for column in zip(*(chunk.texts for chunk in chunks), strict=True)
        ],
    )


def csv_lines(rows: Sequence[str]) -> bytes:
    """Return rows as COPY wants them."""
    return "\n".join([*rows, ""]).encode()


def csv_indexes(rows: Sequence[str], ordinals: Sequence[int]) -> list[int]:
    """Return the position in the input of each line of rows, as COPY counts lines.

    Values may hold line ends: before the first row has ended, COPY takes another character for one.
    """
    heights = [row.count("\n") for row in rows]
    heights[:1] = [row.count("\r") for row in rows[:1]]
    return [n for n, more in zip(ordinals, heights, strict=True) for _ in range(more + 1)]
