"""The measured table: put into the state that a turn wants, and compared with what it should hold.

It is vacuumed and analyzed before each turn, and autovacuum is off, so that no contender pays for
what another left; a checkpoint before each long turn, for the same reason.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from django.db import DatabaseError, connection

from benchmarks.data import Batch, Shape
from benchmarks.jobs import Job

#: The key of the lock that a run holds.
LOCK = 0x62656E6368


def alone() -> None:
    """Make sure that no other run is under way on this server, whose tables these would be too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            sys.exit("Another benchmark runs on this server; wait for its end")


class Stock:
    """A shape's table, and beside it a seed: every row there can be, in editions 0 and 1."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.table = shape.table
        self.seed = f"{shape.table}_seed"
        self.columns = ", ".join(shape.columns)
        self.top = 0
        self.born: list[Any] = []
        self.drop()
        with connection.schema_editor() as editor:
            editor.create_model(shape.model)
        self._run(f"ALTER TABLE {self.table} SET (autovacuum_enabled = off)")

    def reset(self, job: Job) -> None:
        """Store what a turn of the job finds."""
        self._sow(job.top)
        self._run(f"TRUNCATE {self.table}")
        self._run(
            f"INSERT INTO {self.table} (id, {self.columns}) "
            f"SELECT n + 1, {self.columns} FROM {self.seed} WHERE e = 0 AND {job.stored} ORDER BY n"
        )
        self._run(f"SELECT setval(pg_get_serial_sequence('{self.table}', 'id'), {job.top})")
        self.born = self._run(f"SELECT DISTINCT xmin::text FROM {self.table}")
        self._run(f"VACUUM (ANALYZE) {self.table}")
        if not job.is_small:
            with suppress(DatabaseError):  # not everyone may
                self._run("CHECKPOINT")

    def wrong(self, job: Job, batches: list[Batch]) -> int:
        """Return how many rows are not as they should be after a turn of the job."""
        touched = [number for batch in batches for number in batch.numbers]
        ((found,),) = self._run(
            f"WITH wanted AS (SELECT * FROM {self.seed} WHERE CASE "
            f"WHEN n = ANY(%s::integer[]) THEN e = %s ELSE e = 0 AND {job.stored} END) "
            f"SELECT count(*) FROM wanted FULL JOIN {self.table} t USING ({self.shape.key}) "
            f"WHERE ({self._of('wanted')}) IS DISTINCT FROM ({self._of('t')})",
            [touched, batches[0].edition],
        )
        return found

    def wrong_keys(self, calls: Iterable[list[Any]]) -> int:
        """Return how many instances of all calls don't have the primary key of their row."""
        key = self.shape.key
        stored = dict(self.shape.model.djangos.values_list(key, "pk"))
        return sum(stored.get(getattr(row, key)) != row.pk for rows in calls for row in rows)

    def rewritten(self) -> int:
        """Return how many rows are versions that reset() didn't store, though they may be equal."""
        ((found,),) = self._run(
            f"SELECT count(*) FROM {self.table} WHERE xmin::text <> %s", self.born[0]
        )
        return found

    def wal(self) -> int:
        """Return how many bytes of write-ahead log were ever written."""
        ((found,),) = self._run("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return int(found)

    def drop(self) -> None:
        """Drop both tables."""
        self._run(f"DROP TABLE IF EXISTS {self.table}, {self.seed}")

    def _sow(self, top: int) -> None:
        if top == self.top:
            return
        self._run(f"DROP TABLE IF EXISTS {self.seed}")
        self._run(
            f"CREATE UNLOGGED TABLE {self.seed} AS SELECT 0 AS n, 0 AS e, {self.columns} "
            f"FROM {self.table} WITH NO DATA"
        )
        self._run(
            f"INSERT INTO {self.seed} SELECT n, e, {self.shape.sql} "
            f"FROM generate_series(0, 1) AS e, generate_series(0, {top - 1}) AS n"
        )
        self._run(f"VACUUM (ANALYZE) {self.seed}")
        self.top = top

    def _of(self, name: str) -> str:
        return ", ".join(f"{name}.{field}" for field in self.shape.fields)

    def _run(self, statement: str, params: list[Any] | None = None) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchall() if cursor.description else []
