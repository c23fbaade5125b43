"""The figures that the project has set itself: what must be, what is aimed at, what is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import names
from benchmarks.results import Case, Results

#: What is measured, by what it was measured at; empty where it wasn't.
Measured = dict[str, float]

WRITING = ("insert", "half", "update")
LARGE = 100_000
MIB = 1 << 20


@dataclass(frozen=True)
class Figure:
    """One of them.

    Attributes:
        name: What it is.
        must: What must be reached.
        aim: What is aimed at.
        measure: Returns what was measured with a driver.
        at_least: Whether more is better.
        form: How a value is shown.
    """

    name: str
    must: float
    aim: float
    measure: Callable[[Results, str], Measured]
    at_least: bool = False
    form: str = "{:.2f}x"

    def verdict(self, measured: Measured) -> str:
        """Return what the worst of the measured values reaches."""
        if not measured:
            return ""
        worst = min(measured.values()) if self.at_least else max(measured.values())
        for name, bound in (("aim", self.aim), ("must", self.must)):
            if worst >= bound if self.at_least else worst <= bound:
                return name
        return "missed"

    def show(self, value: float) -> str:
        """Return a value as a person reads it."""
        return self.form.format(value)


def ratios(
    contender: str,
    other: str,
    works: tuple[str, ...] = WRITING,
    sizes: tuple[int, ...] = (LARGE,),
    operation: str = "upsert",
) -> Callable[[Results, str], Measured]:
    """Return what measures how many times the other's time a contender takes, with wide rows."""

    def measure(results: Results, driver: str) -> Measured:
        found = {}
        for work in works:
            for rows in sizes:
                case = Case(driver, "wide", operation, work, rows)
                ratio = results.ratio(case, contender, other)
                if ratio is not None:
                    found[f"{work} {rows:,}" if len(sizes) > 1 else work] = ratio
        return found

    return measure


def growth(contender: str, first: int, last: int) -> Callable[[Results, str], Measured]:
    """Return what measures how many times the time per row is, of many rows, that of few."""

    def measure(results: Results, driver: str) -> Measured:
        found = {}
        for work in WRITING:
            case = Case(driver, "wide", "upsert", work, first)
            few = results.seconds(case, contender)
            many = results.seconds(case._replace(rows=last), contender)
            if few is not None and many is not None:
                found[work] = (many / last) / (few / first)
        return found

    return measure


def wal(results: Results, driver: str) -> Measured:
    """Measure the write-ahead log of a run in which nothing changed, beside Django's."""
    found = results.turns.get(Case(driver, "wide", "upsert", "unchanged", LARGE), {})
    django = found.get(names.DJANGO, {}).get("wal")
    kinds = {"instances": names.OURS, "mappings": names.MAPPINGS}
    ours = {kind: found.get(name, {}).get("wal") for kind, name in kinds.items()}
    return {kind: 100 * log / django for kind, log in ours.items() if django and log is not None}


def rewritten(results: Results, driver: str) -> Measured:
    """Count the rows that such a run writes into the table."""
    found = results.turns.get(Case(driver, "wide", "upsert", "unchanged", LARGE), {})
    kinds = {"instances": names.OURS, "mappings": names.MAPPINGS}
    ours = {kind: found.get(name, {}).get("rewritten") for kind, name in kinds.items()}
    return {kind: rows for kind, rows in ours.items() if rows is not None}


def memory(results: Results, driver: str) -> Measured:
    """Measure what a generator takes."""
    found = results.drivers[driver].get("memory")
    return {f"{found['rows']:,} rows": found["bytes"] / MIB} if found else {}


def faster(name: str, must: float, aim: float, ours: str, other: str, *args: object) -> Figure:
    """Return a figure of how many times the other's speed is reached."""
    return Figure(name, must, aim, ratios(other, ours, *args), at_least=True)


UNCHANGED = ("unchanged",)
FIGURES = [
    Figure("100,000 instances / same floor", 1.30, 1.10, ratios(names.OURS, names.SAME)),
    Figure("100,000 mappings / bare floor", 1.40, 1.20, ratios(names.MAPPINGS, names.BARE)),
    faster("100,000 mappings, beside Django", 3, 4.5, names.MAPPINGS, names.DJANGO),
    faster("100,000 instances, beside Django", 3, 4.5, names.OURS, names.DJANGO),
    faster("100,000 mappings, beside django-pgbulk", 6, 9, names.MAPPINGS, names.PGBULK),
    faster("100,000 instances, beside django-pgbulk", 6, 9, names.OURS, names.PGBULK),
    faster("100,000 mappings, beside django-bulk-load", 1.8, 2.2, names.MAPPINGS, names.LOAD),
    faster("100,000 instances, beside django-bulk-load", 1.8, 2.2, names.OURS, names.LOAD),
    faster("unchanged 100,000, beside Django", 8, 12, names.OURS, names.DJANGO, UNCHANGED),
    Figure("its write-ahead log, of Django's", 1, 0.5, wal, form="{:.2f} %"),
    Figure("its rows written again", 0, 0, rewritten, form="{:,.0f}"),
    faster("100,000 instances, beside the asyncpg recipe", 1, 1.2, names.OURS, names.ASYNCPG),
    faster("100,000 instances, beside the psycopg recipe", 1, 1.2, names.OURS, names.PSYCOPG),
    faster("1 and 10, beside Django", 1, 1.5, names.OURS, names.DJANGO, WRITING, (1, 10)),
    faster("100 and 1,000, beside Django", 2, 3, names.OURS, names.DJANGO, WRITING, (100, 1_000)),
    Figure("time per row, 1,000,000 / 10,000", 1.20, 1.05, growth(names.OURS, 10_000, 1_000_000)),
    Figure("memory of a generator", 64, 32, memory, form="{:.0f} MiB"),
    Figure(
        "bulk_copy(), 100,000 / direct COPY",
        1.5,
        1.15,
        ratios(names.COPY, names.DIRECT, ("insert",), (LARGE,), "copy"),
    ),
]
