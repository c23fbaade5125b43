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
.. Written by ``make bench``; see benchmarks.

Benchmarks
==========

One program, one server; contenders take turns in the same run, each call in autocommit, and all
rows are checked after each turn. {method}

Made on {date} with Python {python}, {cores} cores; {packages}.
"""
METHOD = """\
Times are medians over turns, ratios are medians of ratios in the same round. Rows come in no
order. Up to 1,000 rows, the table holds 20,000 rows and a turn has many calls; from 10,000, it
holds those rows that are to be updated, and a tenth as many others where all rows are new. It is
vacuumed and analyzed before every turn; autovacuum is off, and before calls of 10,000 rows and
more there is a checkpoint.

The *same floor* sends again what the call sent before: what is left is what Python costs. The
*bare floor* sends rows that are encoded already into a staging table, and runs a plain ordered
``INSERT .. ON CONFLICT DO UPDATE`` by hand: it skips no unchanged row and tells nothing."""


def on_terminal(results: Results, console: Console, *, brief: bool) -> None:
    """Print the tables."""
    for driver in results.drivers:
        console.print(f"\n[bold]{report.setting(results, driver)}[/bold]\n")
        for table in report.tables(results, driver, brief=brief):
            console.print(_rich(table))
        for line in report.absent(results, driver):
            console.print(f"[dim]{line}[/dim]", highlight=False)


def _rich(table: report.Table) -> RichTable:
    shown = RichTable(title=table.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for i, name in enumerate(table.header):
        shown.add_column(name, justify="right" if i and not table.words else "left")
    for row in table.rows:
        style = "bold" if row[0] in names.OURS_ALL else "dim" if row[0] in names.FLOORS else None
        cells = [f"[{COLOURS[cell]}]{cell}[/]" if cell in COLOURS else cell for cell in row]
        shown.add_row(*cells, style=style)
    return shown


def in_docs(results: Results, folder: Path) -> None:
    """Write the plots, and the page with all tables."""
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


def _head(results: Results) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in results.made["packages"].items())
    return PAGE.format(**results.made | {"packages": packages, "method": METHOD})


def _csv(table: report.Table) -> list[str]:
    quoted = [",".join(f'"{cell}"' for cell in row) for row in [table.header, *table.rows]]
    lines = [f".. csv-table:: {table.title}", "   :header-rows: 1"]
    lines += [] if table.words else ["   :align: left"]
    return [*lines, "", *(f"   {line}" for line in quoted), ""]
