"""What is measured: an operation on so many rows, of which so many are there already."""

from __future__ import annotations

import random
from dataclasses import dataclass

from benchmarks.data import Batch, Shape

#: Up to so many rows, calls are many, on a table that holds others too.
SMALL = 1_000
#: Rows in that table.
STORED = 20_000
#: Calls of a turn, by the number of their rows; one where that is larger.
CALLS = {1: 100, 10: 50, 100: 20, 1_000: 5}


@dataclass(frozen=True)
class Job:
    """A piece of work that all contenders do, in turns.

    Attributes:
        shape: The kind of row.
        operation: "upsert", "update" or "copy".
        work: What becomes of the rows: "insert", "half" (one half is there and gets other values,
            the other is new), "update" (all get other values) or "unchanged".
        count: How many rows a call has.
        rounds: How often each contender has its turn.
    """

    shape: Shape
    operation: str
    work: str
    count: int
    rounds: int

    def __str__(self) -> str:
        return f"{self.operation}, {self.work}, {self.count:,} {self.shape.name} rows"

    @property
    def weight(self) -> float:
        """How long it takes, beside other jobs; roughly."""
        calls = CALLS[self.count] if self.is_small else 1
        return self.rounds * (STORED + calls * self.count)

    @property
    def is_small(self) -> bool:
        """Whether a turn has many calls."""
        return self.count <= SMALL

    @property
    def others(self) -> int:
        """How many rows a long insert finds there: some, for who takes an empty table for small."""
        return self.count // 10 if self.work == "insert" and not self.is_small else 0

    @property
    def top(self) -> int:
        """The numbers of all rows, stored or not, are below this."""
        return 2 * STORED if self.is_small else self.others + self.count

    @property
    def stored(self) -> str:
        """The condition, over a number n, that its row is stored before."""
        if self.is_small or self.work == "half":
            return "mod(n, 2) = 0"
        return f"n < {self.others}" if self.work == "insert" else "true"

    def batches(self) -> list[Batch]:
        """Return the rows of each call of a turn; none comes twice, and they are in no order."""
        edition = 0 if self.work == "unchanged" else 1
        pool = list(range(self.others, self.top))
        random.Random(1).shuffle(pool)
        if not self.is_small:
            return [Batch(self.shape, pool, edition)]
        new = [number for number in pool if number % 2]
        there = [number for number in pool if not number % 2]
        both = [number for pair in zip(new, there, strict=True) for number in pair]
        chosen = {"insert": new, "half": both}.get(self.work, there)
        starts = range(0, CALLS[self.count] * self.count, self.count)
        return [Batch(self.shape, chosen[i : i + self.count], edition) for i in starts]
