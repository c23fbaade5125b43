"""The floors: what the same work costs when no Python has anything left to do.

The *same floor* sends what the library's own call sent once before. The *bare floor* sends
rows that are encoded already through a plain ordered upsert by hand: it skips no unchanged row,
tells nothing of any row, and checks nothing.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

from django.db import connection, transaction

from benchmarks import names
from benchmarks.contenders.base import Call, Contender
from benchmarks.contenders.ours import upsert
from benchmarks.contenders.replay import copy_in, recorded, replay
from benchmarks.data import Batch
from benchmarks.jobs import SMALL


def same(batch: Batch, kind: str) -> Call:
    """Return the call that sends again what ours sends."""
    if kind not in batch.kept:
        batch.kept[kind] = recorded(upsert(batch, getattr(batch, kind)()))
    return lambda: replay(batch.kept[kind])


def bare(batch: Batch, _rows: Any) -> Call:
    """Return the upsert by hand: from a staging table, or a few rows from arrays."""
    shape = batch.shape
    small = len(batch.numbers) <= SMALL
    if "bare" not in batch.kept:
        batch.kept["bare"] = arrays(batch) if small else lines(batch)
    data = batch.kept["bare"]
    columns = ", ".join(shape.columns)
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in shape.fields)
    types = (shape.model._meta.get_field(name).db_type(connection) for name in shape.columns)
    source = f"unnest({', '.join(f'%s::{type_}[]' for type_ in types)})" if small else "pg_temp.floor"
    statement = (
        f"INSERT INTO {shape.table} ({columns}) SELECT {columns} FROM {source} AS s ({columns}) "
        f"ORDER BY {shape.order} ON CONFLICT ({shape.key}) DO UPDATE SET {sets}"
    )

    def staged() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TEMPORARY TABLE floor ON COMMIT DROP AS "
                f"SELECT {columns} FROM {shape.table} WITH NO DATA"
            )
            copy_in(cursor, "COPY floor FROM STDIN", data)
            cursor.execute(f"ANALYZE floor ({shape.key})")
            cursor.execute(statement)

    def at_once() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, data)

    return at_once if small else staged


def lines(batch: Batch) -> bytes:
    """Return the rows as COPY wants them."""
    rows = ("\t".join(map(text, row.values())) for row in batch.mappings())
    return ("\n".join(rows) + "\n").encode()


def arrays(batch: Batch) -> list[str]:
    """Return the rows as an array literal of each column."""
    columns = zip(*(row.values() for row in batch.mappings()), strict=True)
    return ["{" + ",".join(json.dumps(text(value)) for value in column) + "}" for column in columns]


def text(value: Any) -> str:
    """Return the text of a value; none of ours has anything to escape."""
    if isinstance(value, dict):
        return json.dumps(value)
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)


UPSERTS = [
    Contender(
        names.SAME,
        lambda batch, _: same(batch, "instances"),
        takes=None,
        most=1_000_000,
        rehearses=True,
    ),
    Contender(
        names.SAME_MAPPINGS,
        lambda batch, _: same(batch, "mappings"),
        takes=None,
        most=1_000_000,
        rehearses=True,
    ),
    Contender(names.BARE, bare, takes=None, most=1_000_000),
]
