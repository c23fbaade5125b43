"""Model instances, told what became of them once it is certain."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from .columns import Column
from .fields import DatabaseDefault
from .readers import Constant
from .result import STATUSES, Status

#: What the statement says of a row: position, status, primary key, and further stored values.
Outcome = Sequence[Any]


class Marks:
    """Outcomes of rows that have a primary key, kept until the call has succeeded.

    Args:
        pk: The primary key's columns.
        returns: The columns whose stored values follow it.
        asked: Those of them that the caller asked for, and not only what the database fills in.
        constants: The columns that hold one value.
        updates: The columns that an update writes.
        alias: The database.
    """

    def __init__(
        self,
        *,
        pk: Sequence[Column],
        returns: Sequence[Column],
        asked: Collection[Column],
        constants: Sequence[Constant],
        updates: Sequence[Column],
        alias: str,
    ) -> None:
        stored = [(i, c.field.attname, c.loader) for i, c in enumerate((*pk, *returns), 2)]
        self.pk = stored[: len(pk)]
        self.asked = [
            each for each, column in zip(stored[len(pk) :], returns, strict=True) if column in asked
        ]
        self.defaults = [each for each in stored[len(pk) :] if each not in self.asked]
        created = [(each.column.field.attname, each.value) for each in constants]
        updated = [
            (each.column.field.attname, each.value) for each in constants if each.column in updates
        ]
        self.clocks: dict[Status, list[tuple[str, Any]]] = {
            Status.CREATED: created,
            Status.UPDATED: updated,
            Status.UNCHANGED: [],
            Status.SKIPPED: [],
        }
        self.alias = alias
        self.outcomes: list[Outcome] = []

    def apply(self, objects: Sequence[Any]) -> None:
        """Set each instance's primary key, its clocks, what was asked for, and its state."""
        alias = self.alias
        always = [*self.pk, *self.asked]
        clocks = [self.clocks[status] for status in STATUSES]
        for outcome in self.outcomes:
            instance = objects[outcome[0]]
            for attname, now in clocks[outcome[1]]:
                setattr(instance, attname, now)
            for i, attname, load in always:  # what was asked for is told as it is stored
                setattr(instance, attname, outcome[i] if load is None else load(outcome[i]))
            for i, attname, load in self.defaults:
                if type(getattr(instance, attname)) is DatabaseDefault:
                    setattr(instance, attname, outcome[i] if load is None else load(outcome[i]))
            state = instance._state
            state.adding = False
            state.db = alias
