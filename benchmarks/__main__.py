"""The benchmark: bulk_upsert, bulk_update and bulk_copy beside who does the same, and the floor.

One server, and one worker process per driver, one after the other; see worker.py for how is
measured, jobs.py for what, and contenders for who takes part. Run by ``make bench``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.options import DRIVERS, parser

def work(module: str, driver: str, url: str, *words: str) -> Any:
    """Run a worker, and return what it writes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "results.json")
        subprocess.run(
            [sys.executable, "-m", module, *words, "--driver", driver, "--out", out],
            env={**os.environ, "DATABASE_URL": url, "BENCH_DRIVER": driver},
            check=True,
        )
        return json.loads(out.read_text())


def main() -> None:
    words = sys.argv[1:]
    options = parser().parse_args(words)
    from testproject.embedded import database_url
    url = os.environ.get("DATABASE_URL") or database_url()
    found = {}
    for driver in options.driver:
        found[driver] = work("benchmarks.worker", driver, url, *words)
    for driver, f in found.items():
        for t in f["turns"]:
            print(driver, t["shape"], t["operation"], t["work"], t["rows"], t["contender"].ljust(26), *(f"{x*1000:.1f}" for x in t["seconds"]), t["note"] or "", t.get("wal",""), t.get("rewritten",""))
main()
