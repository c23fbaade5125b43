"""VALUES: a cell per value, so that a cell can be an SQL expression."""

from __future__ import annotations

from collections.abc import Sequence

from ..encode import Texts
from ..rows import Chunk
from ..sql import Fragment, comma, compose, raw, value
from .slots import Slot, aliases


class ValuesRelation:
    """Carries one chunk, expressions and values that only the driver can adapt included."""

    exact_types = False

    def __init__(self, slots: Sequence[Slot], chunk: Chunk) -> None:
        self.slots = slots
        self.chunk = chunk

    def prelude(self) -> Fragment:
        """Return the CTE, named r, that the statement starts with."""
        return compose("r AS MATERIALIZED ({select})", select=self.select())

    def source(self) -> Fragment:
        """Return the FROM item, known as r."""
        return raw("r")

    def select(self, first: int = 0, last: int | None = None) -> Fragment:
        """Return a SELECT of the ordinal and the slots, of the rows ``first`` up to ``last``."""
        rows = range(self.chunk.count)[first:last]
        return compose(
            "SELECT v.ord, {columns} FROM (VALUES {rows}) AS v (ord, {names})",
            columns=comma(
                compose(
                    "{slot}{collate} AS {alias}",
                    slot=slot.of("v"),
                    collate=slot.collate,
                    alias=slot.alias,
                )
                for slot in self.slots
            ),
            rows=comma(map(self._row, rows)),
            names=comma(aliases(self.slots)),
        )

    def _row(self, offset: int) -> Fragment:
        return compose(
            "({ordinal}, {cells})",
            ordinal=raw(f"{self.chunk.start + offset}::bigint"),
            cells=comma(
                compose("({cell})::{type}", cell=cell(texts, offset), type=slot.type)
                for slot, texts in zip(self.slots, self.chunk.texts, strict=True)
            ),
        )


def cell(texts: Texts, offset: int) -> Fragment:
    """Return one value as SQL: its expression, or a placeholder with its text."""
    if texts.cells is not None and offset in texts.cells:
        return texts.cells[offset]  # type: ignore[no-any-return]
    return value(texts.values[offset])
