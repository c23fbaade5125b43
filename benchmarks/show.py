"""The tables in a terminal, and the page of the docs that shows them beside the plots."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from benchmarks import names, plots, report
from benchmarks.options import DRIVERS
from benchmarks.results import Results

COLOURS = {"aim": "green", "must": "yellow", "missed": "red"}
PAGE = """\
.. Written by ``make bench``.

Benchmarks
==========

One program and one server; all contenders take turns in the same run, each call in autocommit,
and after each turn all rows are compared with what should be stored. Times are medians over the
turns; how many times another's time is taken is the median over rounds.

A wide row has a unique text as its key, and seven more columns: texts, a decimal, an integer,
json, a timestamp and a boolean. A narrow one has an integer key and a float. Rows come in no
order. Up to 1,000 rows, a turn is many calls, on a table of 20,000 rows. From 10,000, it is one,
and the table holds the rows that are there already; where all are new, a tenth as many others.
Before each turn the table is vacuumed and analyzed, and before a long one there is a checkpoint;
autovacuum is off.

The *same floor* sends again what the call sent before: the rest is what Python costs. The *bare
floor* sends rows that are encoded already, and runs a plain ordered ``INSERT .. ON CONFLICT DO
UPDATE`` by hand: it skips no unchanged row, and tells nothing of any. A *recipe* copies values of
the same instances into a staging table, and upserts from there.

Made with {packages}.
"""


def on_terminal(results: Results, console: Console, *, brief: bool) -> None:
    """Print the tables."""
    for driver in results.drivers:
        console.print(f"\n[bold]{report.setting(results, driver)}[/bold]\n")
        for table in report.tables(results, driver, brief=brief):
            console.print(f"[bold]{table.title}[/bold]", _rich(table), sep="\n")
        for line in report.absent(results, driver):
            console.print(f"[dim]{line}[/dim]", highlight=False)


def _rich(table: report.Table) -> RichTable:
    shown = RichTable(box=SIMPLE_HEAD)
    for i, name in enumerate(table.header):
        shown.add_column(name, justify="right" if i and not table.words else "left")
    for row in table.rows:
        style = "bold" if row[0] in names.OURS_ALL else "dim" if row[0] in names.FLOORS else None
        cells = [f"[{COLOURS[cell]}]{cell}[/]" if cell in COLOURS else cell for cell in row]
        shown.add_row(*cells, style=style)
    return shown


def in_docs(results: Results, folder: Path) -> None:
    """Write the plots, the page with all tables, and the one table that docs/performance shows."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [_head(results)]
    for driver in results.drivers:
        parts += ["", DRIVERS[driver], "-" * len(DRIVERS[driver]), ""]
        parts += [f"{report.setting(results, driver)}.", ""]
        for name, alt in plots.draw(results, driver, folder):
            parts += [f".. image:: {name}", f"   :alt: {alt}", ""]
        for table in report.tables(results, driver):
            parts += _csv(table)
        if absent := report.absent(results, driver):
            parts += ["Who could not:", "", *(f"* {line}" for line in absent), ""]
    (folder / "tables.rst").write_text("\n".join(parts).rstrip() + "\n")
    aims = [line for driver in results.drivers for line in _csv(report.figures(results, driver))]
    (folder / "aims.rst").write_text("\n".join(aims).rstrip() + "\n")


def _head(results: Results) -> str:
    made = results.made["packages"].items()
    return PAGE.format(packages=", ".join(f"{name} {version}" for name, version in made))


def _csv(table: report.Table) -> list[str]:
    rows = [",".join(f'"{cell}"' for cell in row) for row in (table.header, *table.rows)]
    head = [f".. csv-table:: {table.title}", "   :header-rows: 1", ""]
    return [*head, *(f"   {row}" for row in rows), ""]
