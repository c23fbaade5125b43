"""Measures with one driver: at each job all contenders take turns; the results are a JSON file.

Each call is in autocommit, as in an application. After each turn all rows are compared with what
should be stored: who is wrong, or fails, is noted as such and measured no more.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from rich.console import Console
from rich.progress import Progress

from benchmarks.contenders import CONTENDERS
from benchmarks.contenders.base import Contender
from benchmarks.jobs import Job
from benchmarks.options import DRIVERS, parser
from benchmarks.plan import jobs
from benchmarks.tables import Stock, alone
from testproject.measure import setting

#: Who has spent so many seconds on a job takes part in no further round.
PATIENCE = 6


class Turns:
    """A job under way, and what was found of each contender."""

    def __init__(self, job: Job, stock: Stock, options: argparse.Namespace) -> None:
        self.job = job
        self.stock = stock
        self.batches = job.batches()
        self.found: dict[Contender, dict[str, Any]] = {
            each: {
                "shape": job.shape.name,
                "operation": job.operation,
                "work": job.work,
                "rows": job.count,
                "contender": each.name,
                "seconds": [],
                "note": each.refusal(job, options.driver[0]),
                "failed": False,
            }
            for each in CONTENDERS[job.operation]
            if not options.contender or any(word in each.name for word in options.contender)
        }
        self.spent: dict[Contender, list[float]] = {each: [] for each in self.found}

    def take(self, each: Contender) -> None:
        """Let a contender have its turn."""
        found = self.found[each]
        if found["note"] or sum(self.spent[each]) > PATIENCE:
            return
        self.stock.reset(self.job)
        try:
            rows, spent = self._timed(each, found)
        except Exception as error:  # noqa: BLE001 (a peer's)
            found["note"] = f"{type(error).__name__}: {error}".splitlines()[0][:80]
        else:
            found["note"] = self._complaint(each, rows)
            found["seconds"].append(round(statistics.median(spent), 6))
            self.spent[each] += spent
        if found["note"]:
            found |= {"seconds": [], "failed": True}

    def _timed(self, each: Contender, found: dict[str, Any]) -> tuple[Any, list[float]]:
        """Return the rows of each call, and the seconds that it took."""
        gc.disable()
        calls, rows = zip(*map(each.call, self.batches), strict=True)
        gc.enable()
        if each.rehearses:
            self.stock.reset(self.job)
        gc.collect()
        spent = []
        before = self.stock.wal()
        for call in calls:
            start = time.perf_counter()
            call()
            spent.append(time.perf_counter() - start)
        if self.job.work == "unchanged":
            found["wal"] = self.stock.wal() - before
            found["rewritten"] = self.stock.rewritten()
        return rows, spent

    def _complaint(self, each: Contender, rows: Any) -> str | None:
        """Return what is wrong after a turn."""
        if wrong := self.stock.wrong(self.job, self.batches):
            return f"{wrong:,} rows wrong"
        if each.sets_pk and (wrong := self.stock.wrong_keys(rows)):
            return f"{wrong:,} primary keys wrong"
        return None


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run all jobs, and return what was found."""
    planned = jobs(options)
    stocks: dict[str, Stock] = {}
    results: list[dict[str, Any]] = []
    driver = DRIVERS[options.driver[0]]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(driver, total=sum(job.weight for job in planned))
        try:
            for job in planned:
                if job.shape.name not in stocks:
                    stocks[job.shape.name] = Stock(job.shape)
                turns = Turns(job, stocks[job.shape.name], options)
                for _ in range(job.rounds):
                    for each in turns.found:
                        progress.update(task, description=f"{driver}: {job}, {each.name}")
                        turns.take(each)
                    progress.advance(task, job.weight / job.rounds)
                results += turns.found.values()
        finally:
            for stock in stocks.values():
                stock.drop()
    return results


def main() -> None:
    """Measure, and write the results."""
    options = parser().parse_args()
    alone()
    turns = measure(options)
    options.out.write_text(json.dumps({"setting": setting(), "turns": turns}))


if __name__ == "__main__":
    main()
