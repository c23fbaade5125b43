"""What a CSV file takes by ``manage.py bulkupsert``, beside psql's way by hand.

Run by ``make files``. By hand: the file is copied as it is into a staging table of the target's own
types, and one ordered INSERT .. ON CONFLICT .. DO UPDATE writes it: ``\\copy`` and the statement
of psql, through the driver. The second such way leaves unchanged rows alone, as ours does; neither
counts anything, nor looks for keys that stand twice. All take turns, and the table is reset before
each turn.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import is_psycopg3
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.data import SHAPES
from benchmarks.jobs import Job
from benchmarks.tables import Stock, alone
from testproject.measure import setting

SHAPE = SHAPES["wide"]
#: Rows with a value that can't be stored, where some are bad.
BAD = 100


def write(path: Path, job: Job, *, bad: int = 0) -> None:
    """Write the file of a job, of which some rows may be bad."""
    (batch,) = job.batches()
    every = job.count // bad if bad else 0
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(SHAPE.columns)
        for at, number in enumerate(batch.numbers):
            row = SHAPE.values(number, batch.edition)
            row["data"] = json.dumps(row["data"])
            if every and at % every == 0:
                row["price"] = "a dime"
            out.writerow(row.values())


def by_hand(path: Path, *, skips: bool = False) -> None:
    """Do what a person does with psql.

    Args:
        path: The file's.
        skips: Whether rows that would not change are left out.
    """
    columns = ", ".join(SHAPE.columns)
    rows = f"SELECT {columns} FROM by_hand"
    if skips:
        old, new = (
            ", ".join(f"{alias}.{name}" for name in SHAPE.fields) for alias in ("stored", "by_hand")
        )
        own = ", ".join(f"by_hand.{name}" for name in SHAPE.columns)
        rows = (
            f"SELECT {own} FROM by_hand LEFT JOIN {SHAPE.table} AS stored USING ({SHAPE.key}) "
            f"WHERE stored.{SHAPE.key} IS NULL OR ({old}) IS DISTINCT FROM ({new})"
        )
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in SHAPE.fields)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE by_hand ON COMMIT DROP AS "
            f"SELECT {columns} FROM {SHAPE.table} WITH NO DATA"
        )
        statement = "COPY by_hand FROM STDIN (FORMAT csv, HEADER)"
        with path.open("rb") as file:
            if is_psycopg3:
                with cursor.copy(statement) as copy:
                    while data := file.read(1 << 16):
                        copy.write(data)
            else:
                cursor.copy_expert(statement, file, 1 << 16)
        cursor.execute("ANALYZE by_hand")
        cursor.execute(
            f"INSERT INTO {SHAPE.table} ({columns}) {rows} "
            f"ORDER BY {SHAPE.order} ON CONFLICT ({SHAPE.key}) DO UPDATE SET {sets}"
        )


def command(path: Path, *words: str) -> tuple[float, int]:
    """Run the command in a process of its own; return its seconds, and the bytes of its peak."""
    model = f"benchmarks.{SHAPE.model.__name__}"
    words = ("-m", "benchmarks.command", model, str(path), f"--unique={SHAPE.key}", *words)
    ran = subprocess.run([sys.executable, *words], check=True, stdout=subprocess.PIPE)  # noqa: S603
    seconds, taken = json.loads(ran.stdout)
    return seconds, taken


def timed(call: Callable[[], object]) -> tuple[float, int]:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start, 0


def main() -> None:
    """Measure, and print a table."""
    made = argparse.ArgumentParser("python -m benchmarks.files", description=__doc__)
    made.add_argument("--rows", type=int, default=1_000_000)
    made.add_argument("--rounds", type=int, default=3)
    options = made.parse_args()
    alone()
    stock = Stock(SHAPE)
    console = Console(width=100)
    table = Table(box=SIMPLE_HEAD)
    for name in ("", "insert, s", "update, s", "beside by hand", "memory"):
        table.add_column(name, justify="left" if not name else "right")
    found: dict[str, dict[str, list[tuple[float, int]]]] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            good, bad = Path(folder, "good.csv"), Path(folder, "bad.csv")
            ways: dict[str, Callable[[], tuple[float, int]]] = {
                "by hand": lambda: timed(lambda: by_hand(good)),
                "by hand, what changed": lambda: timed(lambda: by_hand(good, skips=True)),
                "bulkupsert": lambda: command(good),
                "bulkupsert --rejects": lambda: command(good, f"--rejects={folder}/no.csv"),
                f"the same, {BAD} rows bad": lambda: command(bad, f"--rejects={folder}/no.csv"),
            }
            for work in ("insert", "update"):
                job = Job(SHAPE, "upsert", work, options.rows, options.rounds)
                write(good, job)
                write(bad, job, bad=BAD)
                for _ in range(options.rounds):
                    for name, run in ways.items():
                        stock.reset(job)
                        found.setdefault(name, {}).setdefault(work, []).append(run())
    finally:
        stock.drop()
    for name, works in found.items():
        seconds = {
            work: statistics.median(each for each, _ in turns) for work, turns in works.items()
        }
        beside = {
            work: statistics.median(
                mine / theirs
                for (mine, _), (theirs, _) in zip(turns, found["by hand"][work], strict=True)
            )
            for work, turns in works.items()
        }
        memory = max(taken for turns in works.values() for _, taken in turns)
        table.add_row(
            name,
            *(f"{each:.2f}" for each in seconds.values()),
            " / ".join(f"{each:.2f}x" for each in beside.values()),
            f"{memory / (1 << 20):.0f} MiB" if memory else "",
        )
    console.print(f"{options.rows:,} wide rows; {setting()}")
    console.print(table)


if __name__ == "__main__":
    main()
