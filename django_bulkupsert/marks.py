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


class Told:
    """What instances are told of, which is the same in all calls with rows of one shape.

    Args:
        pk: The primary key's columns.
        returns: The columns whose stored values follow it.
        asked: Those of them that the caller asked for, and not only what the database fills in.
        updates: The columns that an update writes.
    """

    def __init__(
        self,
        *,
        pk: Sequence[Column],
        returns: Sequence[Column],
        asked: Collection[Column],
        updates: Collection[Column],
    ) -> None:
        stored = [(i, c.field.attname, c.loader) for i, c in enumerate((*pk, *returns), 2)]
        keys, others = stored[: len(pk)], stored[len(pk) :]
        pairs = list(zip(others, returns, strict=True))
        self.always = [*keys, *(each for each, column in pairs if column in asked)]
        self.defaults = [each for each, column in pairs if column not in asked]
        self.updates = frozenset(updates)


class Marks:
    """Outcomes of rows that have a primary key, kept until the call has succeeded.

    Args:
        told: What instances are told of.
        constants: The columns that hold one value.
        alias: The database.
    """

    def __init__(self, told: Told, constants: Sequence[Constant], alias: str) -> None:
        self.told = told
        self.constants = constants
        self.alias = alias
        self.outcomes: list[Outcome] = []

    @property
    def clocks(self) -> list[list[tuple[str, Any]]]:
        """The attributes that have one value, by the code of a row's status."""
        named = [(each.column, each.column.field.attname, each.value) for each in self.constants]
        created = [(name, value) for _, name, value in named]
        updated = [(name, value) for column, name, value in named if column in self.told.updates]
        found = {Status.CREATED: created, Status.UPDATED: updated}
        return [found.get(status, []) for status in STATUSES]

    def apply(self, objects: Sequence[Any]) -> None:
        """Set each instance's primary key, its clocks, what was asked for, and its state."""
        alias, clocks = self.alias, self.clocks
        always, defaults = self.told.always, self.told.defaults
        for outcome in self.outcomes:
            instance = objects[outcome[0]]
            for attname, now in clocks[outcome[1]]:
                setattr(instance, attname, now)
            for i, attname, load in always:  # what was asked for is told as it is stored
                setattr(instance, attname, outcome[i] if load is None else load(outcome[i]))
            for i, attname, load in defaults:
                if type(getattr(instance, attname)) is DatabaseDefault:
                    setattr(instance, attname, outcome[i] if load is None else load(outcome[i]))
            state = instance._state
            state.adding = False
            state.db = alias
