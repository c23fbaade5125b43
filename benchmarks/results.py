"""What was measured: read from a file, and asked for medians and ratios."""

from __future__ import annotations

import json
import statistics
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.options import WORKS


class Case(NamedTuple):
    """What contenders have in common that are compared."""

    driver: str
    shape: str
    operation: str
    work: str
    rows: int


class Results:
    """The results of a run.

    Args:
        made: When, and with what.
        drivers: Of each driver: its ``setting``, its ``turns``, and the ``memory`` of a generator.
    """

    def __init__(self, made: dict[str, Any], drivers: dict[str, dict[str, Any]]) -> None:
        self.made = made
        self.drivers = drivers

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read the file that write() wrote."""
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        """Write them into a file, a turn per line."""
        text = json.dumps({"made": self.made, "drivers": self.drivers})
        path.write_text(text.replace('{"shape"', '\n{"shape"') + "\n")

    @cached_property
    def turns(self) -> dict[Case, dict[str, dict[str, Any]]]:
        """What was found of each contender, by case."""
        found: dict[Case, dict[str, dict[str, Any]]] = {}
        for driver, of_driver in self.drivers.items():
            for turn in of_driver["turns"]:
                case = Case(driver, *(turn[name] for name in Case._fields[1:]))
                found.setdefault(case, {})[turn["contender"]] = turn
        return found

    def sizes(self, driver: str, shape: str, operation: str) -> list[int]:
        """Return the numbers of rows that were measured."""
        return sorted({case.rows for case in self.turns if case[:3] == (driver, shape, operation)})

    def works(self, driver: str, shape: str, operation: str) -> list[str]:
        """Return the works that were measured."""
        found = {case.work for case in self.turns if case[:3] == (driver, shape, operation)}
        return [work for work in WORKS[operation] if work in found]

    def seconds(self, case: Case, contender: str) -> float | None:
        """Return the median of a contender's rounds."""
        found = self.turns.get(case, {}).get(contender)
        return statistics.median(found["seconds"]) if found and found["seconds"] else None

    def ratio(self, case: Case, contender: str, other: str) -> float | None:
        """Return how many times the other's time a contender takes: the median over rounds."""
        found = self.turns.get(case, {})
        if contender not in found or other not in found:
            return None
        rounds = zip(found[contender]["seconds"], found[other]["seconds"], strict=False)
        ratios = [one / two for one, two in rounds]
        return statistics.median(ratios) if ratios else None
