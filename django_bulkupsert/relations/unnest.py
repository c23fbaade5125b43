"""unnest: one text[] per column, cast in the SELECT. For small and middle batches."""

from __future__ import annotations

from collections.abc import Sequence

from ..chunks import Chunk
from ..encode import array_literal
from ..sql import Fragment, comma, compose, value
from .base import Relation
from .slots import Slot, aliases


class UnnestRelation(Relation):
    """Carries one chunk in as many parameters as there are columns.

    Every column goes as an array of *texts*, so that arrays, JSON and any type with a text
    form travel alike (unnest itself would flatten an array of arrays).
    """

    shape = "unnest"

    def __init__(self, slots: Sequence[Slot], chunk: Chunk) -> None:
        self.slots = slots
        self.values = {
            slot.hole: array_literal(texts) for slot, texts in zip(slots, chunk.texts, strict=True)
        }

    def select(self) -> Fragment:
        """Return the query of all rows."""
        return compose(
            "SELECT bu_u.ord - 1 AS ord, {typed} "
            "FROM unnest({arrays}) WITH ORDINALITY AS bu_u ({names}, ord)",
            typed=comma(
                compose(
                    "{value} AS {alias}",
                    value=slot.chosen(slot.typed(slot.of("bu_u")), "bu_u"),
                    alias=slot.alias,
                )
                for slot in self.slots
                if not slot.is_flag
            ),
            arrays=comma(compose("{array}::text[]", array=value(slot.hole)) for slot in self.slots),
            names=comma(aliases(self.slots)),
        )
