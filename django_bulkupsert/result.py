"""What a call did, row by row counted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


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
        """How many rows of the table were written: created + updated."""
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
