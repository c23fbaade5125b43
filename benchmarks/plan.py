"""Which jobs a run has."""

from __future__ import annotations

import argparse

from benchmarks.data import SHAPES
from benchmarks.jobs import Job
from benchmarks.options import SIZES, WORKS

#: Rounds, by shape and the number of rows.
ROUNDS = {
    "wide": {1: 3, 10: 3, 100: 3, 1_000: 3, 10_000: 3, 100_000: 3, 1_000_000: 1},
    "narrow": {1: 1, 10: 1, 100: 1, 1_000: 1, 10_000: 2, 100_000: 1},
}
QUICK = {"wide": {1: 1, 10: 1, 100: 1, 1_000: 1, 10_000: 2}, "narrow": {10_000: 1}}
#: The works of a quick run at each of its sizes.
MAIN = ("insert", "update")


def jobs(options: argparse.Namespace) -> list[Job]:
    """Return the jobs, by shape and size."""
    usual = QUICK if options.quick else ROUNDS
    return [
        Job(SHAPES[shape], operation, work, count, options.rounds or usual[shape][count])
        for shape in options.shape
        for count in SIZES
        if count in options.rows and count in usual[shape]
        for operation in options.operation
        for work in WORKS[operation]
        if work in options.work and _is_measured(options, shape, operation, work, count)
    ]


def _is_measured(
    options: argparse.Namespace, shape: str, operation: str, work: str, count: int
) -> bool:
    if options.quick:
        return operation == "upsert" and (work in MAIN or (shape == "wide" and count > 1_000))
    if count > 100_000:
        return operation == "upsert"
    return work != "half" or count > 1
