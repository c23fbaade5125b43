"""Rows that are left out of a call, and which places in the input the others have."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError

from .driver import diagnostics
from .errors import RowError
from .result import Rejected


class Rejects:
    """What was left out so far.

    Rows that are accepted are numbered without gaps: so are those of a relation. A row that is left
    out later, once it has its number, leaves a gap.

    Args:
        line: Returns the line of a row of a file, or None.

    Attributes:
        found: What was left out, in no order.
    """

    def __init__(self, line: Callable[[int], int | None]) -> None:
        self.line = line
        self.found: list[Rejected] = []
        self._left_out: list[int] = []  # before they had a number; the places, in order

    def leave_out(self, place: int, error: RowError, value: Any = None) -> None:
        """Note a row that is to have no number; ``place`` is the one in the input."""
        insort(self._left_out, place)
        self._note(place, error, value)

    def reject(
        self, ordinal: int, error: RowError, value: Any = None, state: str | None = None
    ) -> None:
        """Note a row that has its number.

        Args:
            ordinal: The number.
            error: What is wrong.
            value: The value of the field at fault.
            state: The SQLSTATE, if the error has no cause that has one.
        """
        self._note(self.place(ordinal), error, value, state)

    def place(self, ordinal: int) -> int:
        """Return the place in the input of the row with a number."""
        return ordinal + bisect_right(_Shifted(self._left_out), ordinal)

    def _note(self, place: int, error: RowError, value: Any, state: str | None = None) -> None:
        cause = error.__cause__
        if isinstance(cause, DatabaseError):
            state = diagnostics(cause).sqlstate
        self.found.append(
            Rejected(place, error.field, value, error.reason, state, self.line(place))
        )

    def sorted(self) -> list[Rejected]:
        """Return what was left out, in the order of the input."""
        return sorted(self.found, key=lambda each: each.index)


class _Shifted:
    """How many numbers were given before each of some places, which are in order."""

    def __init__(self, places: list[int]) -> None:
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, at: int) -> int:
        return self.places[at] - at
