"""The benchmark: bulk_upsert, bulk_update and bulk_copy beside who does the same, and the floor.

Run by ``make bench``. One server, and one worker process per driver, one after the other. How is
measured is told by worker.py, what by jobs.py and plan.py, and who takes part by contenders.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import show
from benchmarks.options import is_part, parser
from benchmarks.results import Results

DOCS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
PACKAGES = (
    "django-pgbulk",
    "django-fast-update",
    "django-pg-bulk-update",
    "django-postgres-extra",
    "django-bulk-load",
    "SQLAlchemy",
    "asyncpg",
    "orjson",
)


def measured(words: list[str]) -> Results:
    """Measure with each driver that is installed."""
    from testproject.embedded import database_url

    options = parser().parse_args(words)
    url = os.environ.get("DATABASE_URL") or database_url()
    drivers: dict[str, Any] = {}
    for driver in options.driver:
        if find_spec(driver):
            drivers[driver] = _work("benchmarks.worker", driver, url, words)
            if "upsert" in options.operation and not options.contender:
                drivers[driver]["memory"] = _work("benchmarks.memory", driver, url, words)
    made = {
        "date": f"{datetime.datetime.now().astimezone():%Y-%m-%d}",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "packages": {},
    }
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            made["packages"][name] = version(name)
    return Results(made, drivers)


def _work(module: str, driver: str, url: str, words: list[str]) -> Any:
    """Run a worker, and return what it writes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "results.json")
        ended = subprocess.run(  # noqa: S603 (this very program)
            [sys.executable, "-m", module, *words, "--driver", driver, "--out", out],
            env={**os.environ, "DATABASE_URL": url, "BENCH_DRIVER": driver},
            check=False,
        )
        if ended.returncode:
            sys.exit(ended.returncode)
        return json.loads(out.read_text())


def main() -> None:
    """Measure, and show what was measured."""
    words = sys.argv[1:]
    options = parser().parse_args(words)
    console = Console(width=100)
    kept = DOCS / "results.json"
    if options.render:
        if not kept.exists():
            sys.exit(f"There is no {os.path.relpath(kept)} yet; run this without --render")
        results = Results.read(kept)
    else:
        results = measured(words)
        if options.out:
            results.write(options.out)
        if not is_part(words):
            DOCS.mkdir(parents=True, exist_ok=True)
            results.write(kept)
        show.on_terminal(results, console, brief=options.quick)
    if options.render or not is_part(words):
        show.in_docs(results, DOCS)
        console.print(f"See {os.path.relpath(DOCS)}")


if __name__ == "__main__":
    main()
