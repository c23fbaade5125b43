"""VALUES: a cell per value, so that a cell can be an SQL expression."""

from __future__ import annotations

from collections.abc import Sequence

from ..encode import Texts
from ..rows import Chunk
from ..sql import Fragment, comma, compose, raw, value
from .slots import Slot, aliases

#: Most parameters of one statement, where the server binds them: a 16-bit count.
MOST_PARAMETERS = 65_535


class ValuesRelation:
    """Carries one chunk, expressions and values that only the driver can adapt included."""

    exact_types = False

    def __init__(self, slots: Sequence[Slot], chunk: Chunk) -> None:
        self.slots = slots
        self.chunk = chunk

    def prelude(self) -> Fragment:
        """Return the CTE, named bu_r, that the statement starts with."""
        return compose(
            "bu_r AS MATERIALIZED (SELECT bu_v.ord, {columns} "
            "FROM (VALUES {rows}) AS bu_v (ord, {names}))",
            columns=comma(
                compose(
                    "{value} AS {alias}",
                    value=slot.chosen(slot.of("bu_v"), "bu_v"),
                    alias=slot.alias,
                )
                for slot in self.slots
                if not slot.is_flag
            ),
            rows=comma(map(self._row, range(self.chunk.count))),
            names=comma(aliases(self.slots)),
        )

    def source(self) -> Fragment:
        """Return the FROM item, known as bu_r."""
        return raw("bu_r")

    def _row(self, offset: int) -> Fragment:
        return compose(
            "({ordinal}, {cells})",
            ordinal=raw(f"{self.chunk.start + offset}::bigint"),
            cells=comma(
                slot.typed(cell(texts, offset))
                for slot, texts in zip(self.slots, self.chunk.texts, strict=True)
            ),
        )


def cell(texts: Texts, offset: int) -> Fragment:
    """Return one value as SQL: its expression, or a placeholder with its text."""
    if texts.cells is not None and offset in texts.cells:
        return texts.cells[offset]
    text = texts.values[offset]
    return raw("NULL") if text is None else value(text)
