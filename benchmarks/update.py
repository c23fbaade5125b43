"""bulk_update beside Django's own, the packages that do the same, and the floor.

Run by ``make bench``. All take turns on the same rows in the same run, each in autocommit, as it
is called in an application; what is printed are medians and ratios. After each turn the rows
are read back and compared.

The floor is what no Python can beat: rows that are COPY's bytes already, and the same ordered
statement, by hand.
"""

from __future__ import annotations

import datetime
import decimal
import gc
import io
import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import is_psycopg3
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.models import Wide
from testproject.measure import setting

ROWS = 20_000
ROUNDS = 9
#: Rounds in which the slowest, Django's own, takes part.
DJANGO_ROUNDS = 2
SMALL = {1: 200, 10: 100, 100: 30, 1_000: 5}
FIELDS = ["name", "description", "price", "stock", "data", "seen", "active"]
NOON = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.timezone.utc)


def values(number: int, turn: int) -> dict[str, object]:
    """Return what the seven fields of a row hold in a turn."""
    return {
        "name": f"Product {number}, edition {turn}",
        "description": f"A text as long as a sentence or two, in edition {turn}: " + "word " * 12,
        "price": decimal.Decimal(number * 7 + turn) / 100,
        "stock": number + turn,
        "data": {"edition": turn, "weight": number, "colour": "blue"},
        "seen": NOON + datetime.timedelta(minutes=turn, seconds=number),
        "active": (number + turn) % 2 == 0,
    }


def store() -> None:
    """Make the table, and fill it."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {Wide._meta.db_table}")
    with connection.schema_editor() as editor:
        editor.create_model(Wide)
    Wide.objects.bulk_upsert({"id": i, "sku": f"{i:06}", **values(i, 0)} for i in range(ROWS))


def chosen(count: int) -> list[Wide]:
    """Return so many stored rows, from all over the table, in no order."""
    step = ROWS // count
    rows = Wide.objects.filter(pk__in=range(0, count * step, step))
    return sorted(rows, key=lambda row: (row.pk * 7919) % 10_007)


def change(rows: list[Wide], turn: int) -> None:
    """Give every row the values of a turn."""
    for row in rows:
        for name, value in values(int(row.sku), turn).items():
            setattr(row, name, value)


def wrong(rows: list[Wide]) -> int:
    """Return how many rows are not stored as they are."""
    found = {row[0]: row[1:] for row in Wide.objects.values_list("pk", *FIELDS)}
    return sum(found[row.pk] != tuple(getattr(row, name) for name in FIELDS) for row in rows)


def floor(rows: list[Wide]) -> Callable[[], object]:
    """Return the update by hand of rows that are encoded already."""
    from django_bulkupsert.columns import Column
    from django_bulkupsert.encode import Texts, copy_lines

    fields = [Wide._meta.get_field(name) for name in ("id", *FIELDS)]
    texts = [
        Column.of(field, connection).encode([getattr(row, field.attname) for row in rows])
        for field in fields
    ]
    data = copy_lines([Texts(list(map(str, range(len(rows)))), nulls=False, escape=False), *texts])
    table = Wide._meta.db_table
    sets = ", ".join(f"{name} = s.{name}" for name in FIELDS)

    def run() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TEMPORARY TABLE s ON COMMIT DROP AS SELECT 0::bigint AS ord, id, "
                f"{', '.join(FIELDS)} FROM {table} WITH NO DATA"
            )
            if is_psycopg3:
                with cursor.copy("COPY s FROM STDIN") as copy:
                    copy.write(data)
            else:
                cursor.copy_expert("COPY s FROM STDIN", io.BytesIO(data), 1 << 16)
            cursor.execute("ANALYZE s (ord, id)")
            cursor.execute(
                f"WITH l AS MATERIALIZED (SELECT s.ord, t.id FROM s JOIN {table} t "
                f"ON t.id = s.id ORDER BY t.id FOR NO KEY UPDATE OF t) "
                f"UPDATE {table} t SET {sets} FROM l JOIN s ON s.ord = l.ord WHERE t.id = l.id"
            )

    return run


def contenders() -> dict[str, Callable[[list[Wide]], Callable[[], object]]]:
    """Return who is measured, by name: each makes of rows the call to be timed."""
    found: dict[str, Callable[[list[Wide]], Callable[[], object]]] = {
        "the floor": floor,
        "bulk_update()": lambda rows: lambda: Wide.objects.bulk_update(rows, FIELDS),
    }
    if hasattr(Wide, "fast"):
        found["django-fast-update, copy_update()"] = lambda rows: (
            lambda: Wide.fast.copy_update(rows, FIELDS)
        )
        found["django-fast-update, fast_update()"] = lambda rows: (
            lambda: Wide.fast.fast_update(rows, FIELDS)
        )
    try:
        import pgbulk
    except ImportError:
        pass
    else:
        found["django-pgbulk, update()"] = lambda rows: (
            lambda: pgbulk.update(Wide.djangos.all(), rows, FIELDS)
        )
    if hasattr(Wide, "pg_bulk"):

        def pg_bulk(rows: list[Wide]) -> Callable[[], object]:
            dicts = [{n: getattr(row, n) for n in ("id", *FIELDS)} for row in rows]
            return lambda: Wide.pg_bulk.pg_bulk_update(dicts)

        found["django-pg-bulk-update"] = pg_bulk
    return found


def django_update(rows: list[Wide]) -> Callable[[], object]:
    """Return Django's own call, in batches, without which it takes minutes."""
    return lambda: Wide.djangos.bulk_update(rows, FIELDS, batch_size=500)


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds that work takes."""
    gc.collect()
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def measure_many(console: Console) -> None:
    """Measure 20,000 rows."""
    times: dict[str, list[float]] = {}
    errors: dict[str, str] = {}
    turn = 0
    rows = chosen(ROWS)
    everyone = {**contenders(), "Django, bulk_update(batch_size=500)": django_update}
    with Progress(console=console, transient=True) as progress:
        for round_ in progress.track(range(ROUNDS), description=f"{ROWS:,} rows"):
            for name, make in everyone.items():
                if name in errors or (make is django_update and round_ >= DJANGO_ROUNDS):
                    continue
                turn += 1
                change(rows, turn)
                try:
                    times.setdefault(name, []).append(timed(make(rows)))
                except Exception as error:  # noqa: BLE001 (a peer's)
                    errors[name] = f"{type(error).__name__}: {error}".splitlines()[0][:60]
                    times.pop(name, None)
                    continue
                if bad := wrong(rows):
                    errors[name] = f"{bad:,} rows wrong"
                with connection.cursor() as cursor:
                    cursor.execute(f"VACUUM {Wide._meta.db_table}")
    ours = statistics.median(times["bulk_update()"])
    table = Table(f"{ROWS:,} rows x {len(FIELDS)} fields", "ms", "bulk_update() is", box=SIMPLE)
    for name, found in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        middle = statistics.median(found)
        ratio = f"{middle / ours:.2f}x faster" if middle >= ours else f"{ours / middle:.2f}x slower"
        if name == "bulk_update()":
            ratio = ""
        table.add_row(name, f"{middle:,.0f}", errors.get(name, ratio))
    for name in errors.keys() - times.keys():
        table.add_row(name, "", errors[name])
    console.print(table)


def measure_few(console: Console) -> None:
    """Measure small calls, which differ by what a call costs."""
    table = Table("rows", "Django, ms", "bulk_update(), ms", "bulk_update() is", box=SIMPLE)
    with Progress(console=console, transient=True) as progress:
        for count, rounds in SMALL.items():
            rows = chosen(count)
            djangos, ours = [], []
            for turn in progress.track(range(rounds), description=f"{count:,} rows"):
                change(rows, 2 * turn)
                djangos.append(timed(lambda: Wide.djangos.bulk_update(rows, FIELDS)))  # noqa: B023
                change(rows, 2 * turn + 1)
                ours.append(timed(lambda: Wide.objects.bulk_update(rows, FIELDS)))  # noqa: B023
            with connection.cursor() as cursor:
                cursor.execute(f"VACUUM {Wide._meta.db_table}")
            first, second = statistics.median(djangos), statistics.median(ours)
            table.add_row(
                f"{count:,}", f"{first:.2f}", f"{second:.2f}", f"{first / second:.2f}x faster"
            )
    console.print(table)


def main() -> None:
    """Print the two tables."""
    console = Console(width=100)
    store()
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {Wide._meta.db_table}")
    console.print(f"{setting()}; {ROWS:,} rows stored\n")
    measure_few(console)
    if "few" not in sys.argv:
        measure_many(console)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {Wide._meta.db_table}")


if __name__ == "__main__":
    main()
