"""The plots: who takes how long for 100,000 rows, and how the time grows with their number."""

from __future__ import annotations

from pathlib import Path

from benchmarks import names, report
from benchmarks.options import DRIVERS
from benchmarks.results import Case, Results

ROWS = 100_000
OURS, FLOOR, PEER = "#0b6e4f", "#b8bec6", "#6f8fb5"
WORKS = {
    "insert": "all rows are new",
    "half": "half of them are new",
    "update": "all are updated",
    "unchanged": "nothing changes",
}
BARS = [
    names.OURS,
    names.MAPPINGS,
    names.SAME,
    names.BARE,
    names.ASYNCPG,
    names.PSYCOPG,
    names.LOAD,
    names.ALCHEMY,
    names.DJANGO,
    names.PGBULK,
    names.EXTRA,
]
LINES = {
    names.OURS: ("o-", OURS),
    names.MAPPINGS: ("o--", OURS),
    names.DJANGO: ("s-", "#c2571a"),
    names.PGBULK: ("^-", "#8a63b8"),
    names.ASYNCPG: ("D-", "#3f7cac"),
    names.BARE: ("-", "#9aa1a9"),
}
STYLE = {
    "svg.hashsalt": "django-bulkupsert",  # the same results make the same file
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
}


def draw(results: Results, driver: str, folder: Path) -> list[tuple[str, str]]:
    """Write a driver's plots, and return the names of their files and what they show."""
    import matplotlib as mpl

    mpl.use("svg")
    with mpl.rc_context(STYLE):
        return [*bars(results, driver, folder), *lines(results, driver, folder)]


def bars(results: Results, driver: str, folder: Path) -> list[tuple[str, str]]:
    """Draw the seconds of each contender, for each kind of work."""
    from matplotlib import pyplot as plt

    cases = {work: Case(driver, "wide", "upsert", work, ROWS) for work in WORKS}
    shown = [
        name
        for name in BARS
        if any(results.seconds(case, name) is not None for case in cases.values())
    ]
    if not shown:
        return []
    size = (11, 0.6 + 0.32 * len(shown))
    figure, panels = plt.subplots(1, len(WORKS), figsize=size, sharex=True, sharey=True)
    for axes, (work, case) in zip(panels, cases.items(), strict=True):
        seconds = [results.seconds(case, name) for name in shown]
        drawn = axes.barh(
            shown, [each or 0 for each in seconds], color=[_colour(name) for name in shown]
        )
        texts = [report.NOTHING if each is None else f"{each:.2f}" for each in seconds]
        axes.bar_label(drawn, texts, padding=3, fontsize=8)
        axes.set_title(WORKS[work], loc="left")
        axes.margins(x=0.22)
        axes.set_xticks([])
        axes.tick_params(axis="y", length=0)
        axes.spines[["bottom", "left"]].set_visible(False)
    panels[0].invert_yaxis()
    for label in panels[0].get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in names.OURS_ALL else "normal")
    title = f"Seconds to upsert {ROWS:,} wide rows ({DRIVERS[driver]})"
    return [_saved(figure, folder / f"upsert-{driver}.svg", title)]


def lines(results: Results, driver: str, folder: Path) -> list[tuple[str, str]]:
    """Draw the time per thousand rows by the number of rows."""
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter

    sizes = results.sizes(driver, "wide", "upsert")
    if len(sizes) < 2:
        return []
    figure, panels = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for axes, work in zip(panels, ("insert", "update"), strict=True):
        for name, (style, colour) in LINES.items():
            cases = [Case(driver, "wide", "upsert", work, rows) for rows in sizes]
            found = [(case.rows, results.seconds(case, name)) for case in cases]
            points = [(rows, 1e6 * seconds / rows) for rows, seconds in found if seconds]
            if points:
                axes.loglog(
                    *zip(*points, strict=True), style, color=colour, label=name, markersize=4
                )
        axes.set_title(WORKS[work], loc="left")
        axes.set_xlabel("rows in a call")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.grid(color="#e6e8eb", linewidth=0.7)
        axes.minorticks_off()
    panels[1].legend(frameon=False)
    title = f"Milliseconds per 1,000 wide rows ({DRIVERS[driver]})"
    return [_saved(figure, folder / f"growth-{driver}.svg", title)]


def _colour(name: str) -> str:
    return OURS if name in names.OURS_ALL else FLOOR if name in names.FLOORS else PEER


def _saved(figure: object, path: Path, title: str) -> tuple[str, str]:
    from matplotlib import pyplot as plt

    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path.name, title
