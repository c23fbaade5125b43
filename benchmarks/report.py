"""The results as tables of texts, which the terminal and the docs show alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks import names
from benchmarks.figures import FIGURES
from benchmarks.options import DRIVERS, SHAPES
from benchmarks.results import Case, Results

#: Where nothing was measured.
NOTHING = "–"  # noqa: RUF001


@dataclass(frozen=True)
class Table:
    """A table; its first column is of words, the others are of numbers unless ``words``."""

    title: str
    header: list[str]
    rows: list[list[str]]
    words: bool = False


def tables(results: Results, driver: str, *, brief: bool = False) -> list[Table]:
    """Return the tables of a driver's results."""
    called = DRIVERS[driver]
    found = [figures(results, driver)]
    for shape in SHAPES:
        sizes = [n for n in results.sizes(driver, shape, "upsert") if n <= 100_000]
        if sizes:
            found.append(by_work(results, Case(driver, shape, "upsert", "", sizes[-1])))
        for work in results.works(driver, shape, "upsert"):
            if len(sizes) > 1 and work in (("update",) if brief else ("insert", "update")):
                title = f"Upserts ({work}) by number of {shape} rows, ms per call, {called}"
                found.append(by_size(results, Case(driver, shape, "upsert", work, 0), title))
        for operation, work in (("update", "update"), ("copy", "insert")):
            title = f"bulk_{operation}() by number of {shape} rows, ms per call, {called}"
            found.append(by_size(results, Case(driver, shape, operation, work, 0), title))
        if sizes and not brief:
            found.append(unchanged(results, Case(driver, shape, "upsert", "unchanged", sizes[-1])))
    return [table for table in found if table.rows]


def figures(results: Results, driver: str) -> Table:
    """Return the figures that the project has set itself, and what they are."""
    rows = []
    for figure in FIGURES:
        measured = figure.measure(results, driver)
        if measured:
            values = ", ".join(f"{at} {figure.show(value)}" for at, value in measured.items())
            bounds = [figure.show(figure.must), figure.show(figure.aim)]
            rows.append([figure.name, *bounds, values, figure.verdict(measured)])
    header = ["figure", "must", "aim", "measured", "reached"]
    return Table(f"Aims, wide rows, {DRIVERS[driver]}", header, rows, words=True)


def by_work(results: Results, case: Case) -> Table:
    """Return who takes how long for each kind of work, and how many times what we take."""
    works = results.works(*case[:3])
    rows = []
    for name in _contenders(results, [case._replace(work=work) for work in works]):
        cases = [case._replace(work=work) for work in works]
        times = [_ms(results.seconds(each, name)) for each in cases]
        beside = [_times(results.ratio(each, name, names.OURS)) for each in cases]
        if set(times) != {NOTHING}:
            rows.append([name, *times, " / ".join(beside) if name != names.OURS else ""])
    title = f"Upserts of {case.rows:,} {case.shape} rows, ms, {DRIVERS[case.driver]}"
    return Table(title, ["", *works, "times ours"], rows)


def by_size(results: Results, case: Case, title: str) -> Table:
    """Return who takes how long for how many rows."""
    sizes = results.sizes(*case[:3])
    rows = []
    for name in _contenders(results, [case._replace(rows=size) for size in sizes]):
        times = [_ms(results.seconds(case._replace(rows=size), name)) for size in sizes]
        if set(times) != {NOTHING}:
            rows.append([name, *times])
    return Table(title, ["", *(f"{size:,}" for size in sizes)], rows)


def unchanged(results: Results, case: Case) -> Table:
    """Return what is written when nothing has changed."""
    rows = [
        [name, f"{turn['wal']:,}", f"{turn['rewritten']:,}"]
        for name, turn in results.turns.get(case, {}).items()
        if turn["seconds"] and name not in names.FLOORS
    ]
    title = f"Upserts of {case.rows:,} {case.shape} rows that change nothing"
    return Table(
        f"{title}, {DRIVERS[case.driver]}", ["", "bytes of write-ahead log", "rows written"], rows
    )


def absent(results: Results, driver: str) -> list[str]:
    """Return who can't do what, and why."""
    reasons: dict[str, dict[str, None]] = {}
    for case, found in results.turns.items():
        for name, turn in found.items():
            if case.driver == driver and turn["note"]:
                where = f" ({case.rows:,} rows)" if turn["failed"] else ""
                reasons.setdefault(turn["note"], {})[name + where] = None
    return [f"{reason}: {'; '.join(found)}" for reason, found in reasons.items()]


def setting(results: Results, driver: str) -> str:
    """Return what the figures are of."""
    made = results.made
    return (
        f"{results.drivers[driver]['setting']}, Python {made['python']}, {made['cores']} cores, "
        f"{made['date']}"
    )


def _contenders(results: Results, cases: Iterable[Case]) -> list[str]:
    return list(dict.fromkeys(name for case in cases for name in results.turns.get(case, {})))


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    ms = seconds * 1000
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}"


def _times(ratio: float | None) -> str:
    return NOTHING if ratio is None else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
