"""How much memory a long generator takes: the peak above what the process held before.

A worker of its own, as a peak never goes down. The rows are mappings, made one by one.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from benchmarks.data import SHAPES, wide
from benchmarks.options import parser
from benchmarks.tables import Stock, alone

ROWS = 1_000_000
QUICK_ROWS = 100_000


def peak() -> int:
    """Return the most bytes that the process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():  # the other figure may be a parent's
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def main() -> None:
    """Measure, and write the result."""
    options = parser().parse_args()
    alone()
    count = QUICK_ROWS if options.quick else ROWS
    shape = SHAPES["wide"]
    stock = Stock(shape)

    def upsert(numbers: range) -> None:
        rows = (wide(number, 0) for number in numbers)
        shape.model.objects.bulk_upsert(rows, unique_fields=[shape.key])

    try:
        upsert(range(10))  # what a first call imports is no row's
        before = peak()
        upsert(range(count))
        taken = peak() - before
    finally:
        stock.drop()
    options.out.write_text(json.dumps({"rows": count, "bytes": taken}))


if __name__ == "__main__":
    main()
