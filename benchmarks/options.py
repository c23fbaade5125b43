"""The words of the command line, which the program and its workers share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

DRIVERS = {"psycopg": "psycopg 3", "psycopg2": "psycopg2"}
SHAPES = ("wide", "narrow")
WORKS = {
    "upsert": ("insert", "half", "update", "unchanged"),
    "update": ("update",),
    "copy": ("insert",),
}
SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    made.description = (
        "Measure bulk_upsert, bulk_update and bulk_copy beside Django, other packages and the "
        "floor. The whole run, with no options, writes its tables and plots into docs/benchmarks; "
        "a part of it only prints them."
    )
    made.add_argument("--quick", action="store_true", help="up to 10,000 rows, few rounds")
    made.add_argument("--render", action="store_true", help="write tables and plots anew only")
    made.add_argument("--rounds", type=int, help="how often contenders take turns")
    choose = {"nargs": "+", "metavar": "NAME"}
    made.add_argument("--driver", choices=DRIVERS, default=[*DRIVERS], **choose)
    made.add_argument("--shape", choices=SHAPES, default=SHAPES, **choose)
    made.add_argument("--operation", choices=WORKS, default=[*WORKS], **choose)
    works = sorted({work for found in WORKS.values() for work in found})
    made.add_argument("--work", choices=works, default=works, **choose)
    made.add_argument("--rows", type=int, choices=SIZES, default=SIZES, nargs="+", metavar="N")
    made.add_argument("--contender", help="only those with one of these in their names", **choose)
    made.add_argument("--out", type=Path, help="write what was measured into this file, too")
    return made


def is_part(argv: Sequence[str]) -> bool:
    """Whether this is not the whole run."""
    options = parser().parse_args(argv)
    return vars(options) != vars(parser().parse_args([])) | {"out": options.out}
