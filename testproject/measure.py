"""Measure what a block of code costs: seconds, and bytes of write-ahead log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import django
from django.db import connection
from rich.filesize import decimal


@dataclass
class Cost:
    """What a block cost; filled when it ends."""

    seconds: float = 0.0
    wal: int = 0

    def row(self, rows: int) -> tuple[str, str, str]:
        """Return the cost of so many rows, as a person reads it."""
        return f"{self.seconds:.2f} s", f"{rows / self.seconds:,.0f}", decimal(self.wal)


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the block."""
    cost = Cost()
    before = _wal_position()
    start = time.perf_counter()
    yield cost
    cost.seconds = time.perf_counter() - start
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(%s, %s)::bigint", [_wal_position(), before])
        cost.wal = cursor.fetchone()[0]


def _wal_position() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
        position: str = cursor.fetchone()[0]
        return position


def setting() -> str:
    """Return what the figures are of: the versions of all that takes part."""
    driver = connection.Database
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        server = cursor.fetchone()[0].split()[0]
    return (
        f"PostgreSQL {server}, {driver.__name__} {driver.__version__.split()[0]}, "
        f"Django {django.get_version()}"
    )
