"""Another relation's rows, some columns of which are replaced by an expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..columns import Column
from ..sql import Fragment, comma, compose
from .base import Relation
from .slots import Slot


class TransformedRelation(Relation):
    """Carries what another relation carries, transformed.

    Its rows are computed once, whatever reads them: a transform may draw lots.
    """

    def __init__(
        self,
        relation: Relation,
        slots: Sequence[Slot],
        transforms: Callable[[], Mapping[Column, Fragment]],
    ) -> None:
        """Wrap a relation.

        Args:
            relation: The relation, whose rows are known as bu_s to the transforms.
            slots: Its columns.
            transforms: Returns the columns that are replaced, and by what.
        """
        self.relation = relation
        self.slots = slots
        self.transforms = transforms
        self.exact_types = relation.exact_types
        self.shape = relation.shape
        self.values = relation.values
        self.is_single = relation.is_single

    @property
    def dropped(self) -> Fragment | None:
        """The query of the positions of rows that don't count; see Relation."""
        return self.relation.dropped

    def select(self) -> Fragment:
        """Return the query of all rows."""
        transforms = self.transforms()
        return compose(
            "SELECT bu_s.ord, {columns} FROM ({rows}) AS bu_s",
            columns=comma(
                compose("{value} AS {alias}", value=_value(slot, transforms), alias=slot.alias)
                for slot in self.slots
                if not slot.is_flag
            ),
            rows=self.relation.select(),
        )


def _value(slot: Slot, transforms: Mapping[Column, Fragment]) -> Fragment:
    transform = transforms.get(slot.column)
    if transform is None:
        return slot.of("bu_s")
    return compose("{value}{collate}", value=transform, collate=slot.column.collate)
