"""Measures with one driver: all contenders take turns at each job; what was found is written down.

Each call is in autocommit, as in an application. After each turn all rows are compared with what
should be stored: who is wrong, or fails, is noted and measured no more.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from django.db import connection
from rich.console import Console
from rich.progress import Progress

from benchmarks.contenders.base import Contender
from benchmarks.contenders import floors, ours, packages
from benchmarks.data import SHAPES
from benchmarks.jobs import Job
from benchmarks.tables import Stock

CONTENDERS = {"upsert": [*ours.UPSERTS, *floors.UPSERTS, *packages.UPSERTS]}
driver = os.environ.get("BENCH_DRIVER", "psycopg")


class Turns:
    """A job under way, and what was found of each contender."""

    def __init__(self, job: Job, stock: Stock) -> None:
        self.job = job
        self.stock = stock
        self.batches = job.batches()
        self.found = {}
        for each in CONTENDERS[job.operation]:
            self.found[each] = {
                "driver": driver,
                "shape": job.shape.name,
                "operation": job.operation,
                "work": job.work,
                "count": job.count,
                "contender": each.name,
                "seconds": [],
                "note": each.refusal(job, driver),
            }

    def take(self, each: Contender, round_: int) -> None:
        """Let a contender have its turn."""
        found = self.found[each]
        if found["note"] or round_ >= each.rounds:
            return
        try:
            found["seconds"].append(self.seconds(each, found))
        except Exception as error:  # noqa: BLE001 (a peer's)
            found["note"] = f"{type(error).__name__}: {error}".splitlines()[0][:80]
        if found["note"]:
            found["seconds"] = []

    def seconds(self, each: Contender, found: dict[str, Any]) -> float:
        """Return the seconds of a call: of a turn's many, the median."""
        self.stock.reset(self.job)
        calls, rows = zip(*map(each.call, self.batches), strict=True)
        if each.rehearses:
            self.stock.reset(self.job)
        spent = []
        gc.collect()
        before = self.stock.wal()
        for call in calls:
            start = time.perf_counter()
            call()
            spent.append(time.perf_counter() - start)
        wal = self.stock.wal() - before
        if wrong := self.stock.wrong(self.job, self.batches):
            found["note"] = f"{wrong:,} rows wrong"
        elif each.sets_pk and (wrong := self.stock.wrong_keys([r for rs in rows for r in rs])):
            found["note"] = f"{wrong:,} primary keys wrong"
        if self.job.work == "unchanged":
            found["wal"] = wal
            found["rewritten"] = self.stock.rewritten()
        return statistics.median(spent)


def main() -> None:
    console = Console()
    stock = Stock(SHAPES["wide"])
    for work in ("insert", "update", "half", "unchanged"):
        job = Job(SHAPES["wide"], "upsert", work, int(os.environ.get("N", 100_000)), int(os.environ.get("R", 3)))
        turns = Turns(job, stock)
        for round_ in range(job.rounds):
            for each in turns.found:
                turns.take(each, round_)
        for each, found in turns.found.items():
            s = found["seconds"]
            console.print(driver, work, job.count, each.name.ljust(26), *(f"{x*1000:.1f}" for x in s), found["note"], found.get("wal"), found.get("rewritten"))


main()
