"""VALUES: a cell per value, so that a cell can be an SQL expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from ..chunks import Chunk
from ..encode import Texts
from ..sql import Fragment, comma, compose, raw, value
from .base import Relation
from .slots import Slot, aliases


class ValuesRelation(Relation):
    """Carries one chunk, expressions and values that only the driver can adapt included."""

    def __init__(self, slots: Sequence[Slot], chunk: Chunk) -> None:
        self.slots = slots
        self.chunk = chunk
        self.is_single = chunk.count == 1
        if self.is_single and not chunk.has_cells:
            self.shape = "one row"
            self.values = {
                slot.hole: texts.values[0] for slot, texts in zip(slots, chunk.texts, strict=True)
            }

    @cached_property
    def literals(self) -> Mapping[Slot, Fragment] | None:  # type: ignore[override]
        """Of a single row, what it brings for each slot; None: it has to be read."""
        if self.shape is None or any(slot.is_flag for slot in self.slots):
            return None
        return {slot: slot.typed(value(slot.hole)) for slot in self.slots}

    def select(self) -> Fragment:
        """Return the query of all rows."""
        return compose(
            "SELECT bu_v.ord, {columns} FROM (VALUES {rows}) AS bu_v (ord, {names})",
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

    def _row(self, offset: int) -> Fragment:
        return compose(
            "({ordinal}, {cells})",
            ordinal=raw(f"{self.chunk.start + offset}::bigint"),
            cells=comma(
                slot.typed(value(slot.hole) if self.shape else cell(texts, offset))
                for slot, texts in zip(self.slots, self.chunk.texts, strict=True)
            ),
        )


def cell(texts: Texts, offset: int) -> Fragment:
    """Return one value as SQL: its expression, or a placeholder with its text."""
    if texts.cells is not None and offset in texts.cells:
        return texts.cells[offset]
    text = texts.values[offset]
    return raw("NULL") if text is None else value(text)
