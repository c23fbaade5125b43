"""Where unnest stops being faster than a staging table, and how large a chunk should be.

Sets UNNEST_ROWS and CHUNK_ROWS (relations), BLOCK_ROWS (readers/attributes.py), and
why only a staging table's key is ANALYZEd. Run by ``make thresholds``; each figure is the median
of interleaved rounds.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from unittest import mock

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connection, transaction
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from django_bulkupsert.engine import call
from django_bulkupsert.readers import attributes as reading
from django_bulkupsert.relations.staging import StagingRelation
from testproject.airports.data import airports
from testproject.airports.models import Airport
from testproject.measure import setting

SIZES = [1, 10, 100, 500, 1_000, 2_000, 3_000, 5_000, 10_000]
BLOCKS = [100, 250, 500, 1_000, 5_000, 100_000]
CHUNKS = [500, 1_000, 2_000, 5_000, 10_000, 20_000]
ROUNDS = 7
STORED = 100_000


class Undo(Exception):
    """Rolls a round back."""


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds that work takes inside a transaction, which is rolled back."""
    try:
        with transaction.atomic():
            start = time.perf_counter()
            work()
            spent = time.perf_counter() - start
            raise Undo
    except Undo:
        return spent * 1000


def medians(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return each work's median over rounds in which they take turns."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            times[name].append(timed(work))
    return {name: statistics.median(found) for name, found in times.items()}


def upsert(rows, strategy=None):
    """Return the call to measure."""
    return lambda: Airport.objects.bulk_upsert(rows, unique_fields=["icao"], strategy=strategy)


def update(objs, strategy):
    """Return the call of bulk_update to measure."""
    fields = ["name", "elevation", "latitude", "longitude"]
    return lambda: Airport.objects.bulk_update(
        objs, fields, match_fields=["icao"], strategy=strategy
    )


@contextmanager
def all_columns_analyzed():
    """ANALYZE every column of the staging table, not only the key."""

    def analyze(self, key):
        self.cursor.execute(f"ANALYZE {self.name.plain()}")

    with mock.patch.object(StagingRelation, "analyze", analyze):
        yield


def main() -> None:
    """Print the three tables."""
    console = Console()
    call_command("migrate", verbosity=0)
    base = airports()
    stored = [
        {**row, "icao": f"{number:X}{row['icao'][-1]}"[-4:].rjust(4, "0"), "name": f"{number}"}
        for number, row in enumerate((base * 4)[:STORED])
    ]
    seen: dict[str, dict] = {row["icao"]: row for row in stored}
    stored = list(seen.values())
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE airports_airport")
    Airport.objects.bulk_upsert(stored, unique_fields=["icao"])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE airports_airport")
    console.print(f"{setting()}; {len(stored):,} rows stored, 12 columns\n")

    table = Table("rows", "work", "unnest, ms", "copy, ms", "copy / unnest", box=SIMPLE)
    for size in SIZES:
        some = stored[:: max(1, len(stored) // size)][:size]
        works = {
            "insert": [{**row, "icao": chr(0x4E00 + number)} for number, row in enumerate(some)],
            "update": [{**row, "elevation": row["elevation"] + 1} for row in some],
            "unchanged": some,
        }
        for name, rows in works.items():
            found = medians({which: upsert(rows, which) for which in ("unnest", "copy")})
            table.add_row(
                f"{len(rows):,}",
                name,
                f"{found['unnest']:.2f}",
                f"{found['copy']:.2f}",
                f"{found['copy'] / found['unnest']:.2f}",
            )
        objs = [Airport(**{**row, "elevation": row["elevation"] + 2}) for row in some]
        found = medians({which: update(objs, which) for which in ("unnest", "copy")})
        table.add_row(
            f"{len(some):,}",
            "bulk_update",
            f"{found['unnest']:.2f}",
            f"{found['copy']:.2f}",
            f"{found['copy'] / found['unnest']:.2f}",
        )
    console.print(table)

    table = Table("rows per chunk", "update of all, ms", "ratio to the best", box=SIMPLE)

    def chunked(size: int) -> Callable[[], object]:
        changed = [{**row, "elevation": row["elevation"] + 1} for row in stored]

        def work() -> None:
            with mock.patch.object(call, "CHUNK_ROWS", size):
                upsert(changed, "copy")()

        return work

    found = medians({str(size): chunked(size) for size in CHUNKS})
    for size in CHUNKS:
        ratio = found[str(size)] / min(found.values())
        table.add_row(f"{size:,}", f"{found[str(size)]:.0f}", f"{ratio:.2f}")
    console.print(table)

    objs = list(Airport.objects.all())
    names = [field.attname for field in Airport._meta.concrete_fields]
    table = Table("instances per block", f"reading {len(objs):,}, ms", box=SIMPLE)

    def blocked(size: int) -> Callable[[], object]:
        def work() -> None:
            with mock.patch.object(reading, "BLOCK_ROWS", size):
                reading.Attributes(Airport, names)(objs)

        return work

    found = medians({str(size): blocked(size) for size in BLOCKS})
    for size in BLOCKS:
        table.add_row(f"{size:,}", f"{found[str(size)]:.1f}")
    console.print(table)

    def analyzed() -> None:
        with all_columns_analyzed():
            upsert(stored, "copy")()

    found = medians({"key": upsert(stored, "copy"), "all": analyzed})
    console.print(
        f"{len(stored):,} unchanged rows, ANALYZE of the key: {found['key']:.0f} ms; "
        f"of every column: {found['all']:.0f} ms ({found['all'] / found['key']:.2f}x)"
    )


if __name__ == "__main__":
    main()
