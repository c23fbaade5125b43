"""The trials' size, their seed, and the table of what came of them."""

from __future__ import annotations

import csv
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection

LONG = os.environ.get("TRUST") == "long"
SEED = int(os.environ.get("TRUST_SEED", "20261126"))
FIGURES = os.environ.get("TRUST_FIGURES")

HEAD = ("trial", "how", "tried", "came of it", "s")
_told: list[tuple[str, ...]] = []


@dataclass(frozen=True)
class Size:
    """How large trials are: so many in the long form, so many in the short one."""

    long: bool = LONG

    def __call__(self, long: int, short: int) -> int:
        return long if self.long else short


@pytest.fixture
def size() -> Size:
    """Return ``long`` or ``short``, as the trials are run."""
    return Size()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """A source of chance that is the same in each run; TRUST_SEED makes it another."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def tell() -> Iterator[Callable[[str, str, str, str], None]]:
    """Takes a line of the table: the trial, how, what was tried, and what came of it."""
    start = time.perf_counter()

    def line(trial: str, how: str, tried: str, result: str) -> None:
        _told.append((trial, how, tried, result, f"{time.perf_counter() - start:.1f}"))

    yield line


@contextmanager
def raising(error: type[BaseException]) -> Iterator[None]:
    """Have the handler of SIGALRM raise an error, in the main thread."""

    def handler(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the table, and write it where TRUST_FIGURES says."""
    if not _told or not LONG:
        return
    widths = [max(map(len, column)) for column in zip(HEAD, *_told, strict=True)]
    terminalreporter.section(f"what came of the trials, seed {SEED}")
    for row in (HEAD, *_told):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())
    if FIGURES:
        with Path(FIGURES).open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([HEAD, *_told])


@pytest.fixture
def usable(transactional_db) -> Iterator[Callable[[], None]]:
    """Checks that the session is as it was: usable, no transaction, no temporary table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE source = 'session'")
        before = cursor.fetchall()

    def check() -> None:
        assert connection.get_autocommit()
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, setting FROM pg_settings WHERE source = 'session'")
            assert cursor.fetchall() == before
            cursor.execute("SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()")
            assert cursor.fetchall() == []
            cursor.execute("SELECT count(*) FROM pg_prepared_xacts")
            assert cursor.fetchone()[0] == 0

    yield check
