"""What a call did, row by row counted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Status(IntEnum):
    """What became of one row of the input.

    The numbers are the ones that the statement returns for a row.
    """

    UNCHANGED = 0
    CREATED = 1
    UPDATED = 2
    SKIPPED = 3


@dataclass(frozen=True)
class UpsertResult:
    """How many rows of the input met which end; the four add up to the rows given.

    Attributes:
        created: Rows that were inserted.
        updated: Rows whose stored row was written.
        unchanged: Rows whose stored row already held the same values, and was left alone.
        skipped: Rows that were not written though they would have changed something: held back
            by ``ignore_conflicts``, or swallowed by a trigger or a row-security policy.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        """How many rows the input held."""
        return self.created + self.updated + self.unchanged + self.skipped

    @property
    def written(self) -> int:
        """How many rows of the table were written, created and updated ones."""
        return self.created + self.updated

    def __add__(self, other: UpsertResult) -> UpsertResult:
        if not isinstance(other, UpsertResult):
            return NotImplemented
        return UpsertResult(
            self.created + other.created,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.skipped + other.skipped,
        )

    def __str__(self) -> str:
        return (
            f"{self.created:,} created, {self.updated:,} updated, "
            f"{self.unchanged:,} unchanged, {self.skipped:,} skipped"
        )


@dataclass(frozen=True)
class ReturnedRow:
    """One row of the table, as it is after the call.

    ``row["price"]`` is the value of a field that ``returning`` names.

    Attributes:
        index: The position, from 0, of the row of the input that it was written from.
        values: The values by the names that ``returning`` gave.
    """

    index: int
    values: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


class UpdateResult(int):
    """How many stored rows matched, and ``where`` let through: an int that knows more.

    Attributes:
        updated: Stored rows that were written.
        unchanged: Stored rows that held the same values already, and were left alone
            (``skip_unchanged``). ``updated + unchanged`` is the int itself.
        skipped: Stored rows that ``where`` held back; with it or ``skip_unchanged``, also those
            that a trigger swallowed. They are not in the int.
        rows: The rows that were written, in the order of the input, if ``returning`` asks for
            them.
    """

    updated: int
    unchanged: int
    skipped: int
    rows: list[ReturnedRow]

    def __new__(
        cls,
        updated: int = 0,
        unchanged: int = 0,
        skipped: int = 0,
        rows: list[ReturnedRow] | None = None,
    ) -> UpdateResult:
        """Count ``updated + unchanged``."""
        self = super().__new__(cls, updated + unchanged)
        self.updated = updated
        self.unchanged = unchanged
        self.skipped = skipped
        self.rows = rows or []
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.updated, self.unchanged, self.skipped, self.rows
