"""Model instances, told what became of them once it is certain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .columns import Column
from .fields import DatabaseDefault
from .readers import Constant
from .result import Status

#: What the statement says of a row: its status, primary key, and further stored values.
Outcome = Sequence[Any]


class Marks:
    """Outcomes of rows, by their position, kept until the call has succeeded.

    Args:
        pk: The primary key's columns.
        returns: The columns whose stored values follow it.
        constants: The columns that hold one value.
        updates: The columns that an update writes.
        alias: The database.
    """

    def __init__(
        self,
        pk: Sequence[Column],
        returns: Sequence[Column],
        constants: Sequence[Constant],
        updates: Sequence[Column],
        alias: str,
    ) -> None:
        self.pk = [(column.field.attname, column.loader()) for column in pk]
        self.returns = [(column.field.attname, column.loader()) for column in returns]
        self.clocks: dict[int, list[tuple[str, Any]]] = {
            Status.CREATED: [(each.column.field.attname, each.value) for each in constants],
            Status.UPDATED: [
                (each.column.field.attname, each.value)
                for each in constants
                if each.column in updates
            ],
        }
        self.alias = alias
        self.outcomes: list[tuple[int, Outcome]] = []

    def add(self, ordinal: int, outcome: Outcome) -> None:
        """Keep what became of a row that has a primary key."""
        self.outcomes.append((ordinal, outcome))

    def apply(self, objects: Sequence[Any]) -> None:
        """Set each instance's primary key, its clocks, and its state."""
        width = len(self.pk)
        for ordinal, (status, *stored) in self.outcomes:
            instance = objects[ordinal]
            for (attname, load), value in zip(self.pk, stored[:width], strict=True):
                setattr(instance, attname, value if load is None else load(value))
            for attname, now in self.clocks.get(status, ()):
                setattr(instance, attname, now)
            for (attname, load), value in zip(self.returns, stored[width:], strict=False):
                if type(instance.__dict__.get(attname)) is DatabaseDefault:
                    setattr(instance, attname, value if load is None else load(value))
            state = instance._state
            state.adding = False
            state.db = self.alias
