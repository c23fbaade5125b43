"""What a contender is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.data import Batch
from benchmarks.jobs import Job
from benchmarks.options import DRIVERS

#: What is timed.
Call = Callable[[], object]


@dataclass(frozen=True)
class Contender:
    """Someone who does a job.

    Attributes:
        name: What it is called.
        prepare: Makes of a batch and of its rows the call that is timed.
        takes: The method of a batch that makes the rows, anew for each call; None: no rows.
        drivers: The drivers with which it can.
        most: The most rows it is given.
        rehearses: Whether ``prepare`` writes into the table.
        sets_pk: Whether instances come back with their primary keys.
    """

    name: str
    prepare: Callable[[Batch, Any], Call]
    takes: str | None = "instances"
    drivers: tuple[str, ...] = tuple(DRIVERS)
    most: int = 100_000
    rehearses: bool = False
    sets_pk: bool = False

    def refusal(self, job: Job, driver: str) -> str | None:
        """Return why it can't do the job, or None."""
        if driver not in self.drivers:
            return f"{DRIVERS[self.drivers[0]]} only"
        if job.count > self.most:
            return f"up to {self.most:,} rows"
        return None

    def call(self, batch: Batch) -> tuple[Call, Any]:
        """Return the call that is timed, and its rows."""
        rows = getattr(batch, self.takes)() if self.takes else None
        return self.prepare(batch, rows), rows
