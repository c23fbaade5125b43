"""The columns of a relation: what travels for each carried column of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..columns import Column
from ..readers import Reader
from ..sql import Fragment, Hole, compose, identifier, raw


@dataclass(frozen=True)
class Slot:
    """One column of a relation.

    Attributes:
        alias: Its name there, ``"c3"``.
        column: The table's column whose values it carries.
        flag: The name of the slot that says which rows leave the column to its default, if any.
        is_flag: Whether it is such a slot.
    """

    alias: Fragment
    column: Column
    flag: Fragment | None = None
    is_flag: bool = False

    @cached_property
    def code(self) -> Fragment:
        """What the values are called, beside the slot, by which its keys were found."""
        return identifier(f"{self.alias.text.strip(chr(34))}v")

    @cached_property
    def several(self) -> Fragment:
        """What tells, beside the slot, whether several rows have such a value."""
        return identifier(f"{self.alias.text.strip(chr(34))}s")

    @cached_property
    def hole(self) -> Hole:
        """What stands in a statement for the slot's values."""
        return Hole(self.alias.text)

    def typed(self, text: Fragment) -> Fragment:
        """Return a text as a value of the slot's type, which compares as the column does."""
        if self.is_flag:
            return compose("{text}::boolean", text=text)
        return compose("{cast}{collate}", cast=self.column.cast(text), collate=self.column.collate)

    def chosen(self, value: Fragment, row: str) -> Fragment:
        """Return the value, or the column's default where the row's flag asks for it."""
        if self.flag is None:
            return value
        return compose(
            "CASE WHEN {row}.{flag}::boolean THEN {default} ELSE {value} END",
            row=raw(row),
            flag=self.flag,
            default=self.column.cast(self.column.database_default()),
            value=value,
        )

    def of(self, row: str = "bu_r") -> Fragment:
        """Return the slot of the row that is known as ``row`` in the statement."""
        return compose("{row}.{alias}", row=raw(row), alias=self.alias)


def slots_of(reader: Reader) -> tuple[Slot, ...]:
    """Lay out a relation for what ``reader`` reads; in the order of a chunk's texts."""
    slots: list[Slot] = []
    for i, column in enumerate(reader.carried):
        flag = identifier(f"c{i}d") if column in reader.defaulted else None
        slots.append(Slot(identifier(f"c{i}"), column, flag))
        if flag is not None:
            slots.append(Slot(flag, column, is_flag=True))
    return tuple(slots)


def aliases(slots: Sequence[Slot]) -> list[Fragment]:
    """Return the names of the slots."""
    return [slot.alias for slot in slots]
