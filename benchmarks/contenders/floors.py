"""The floors: what the same work costs when no Python has anything left to do.

The *same floor* sends again what the library's own call sent. The *bare floor* sends rows that
are encoded already through a plain ordered upsert by hand: it skips no unchanged row, tells
nothing of any row, and checks nothing.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction

from benchmarks import names
from benchmarks.contenders import ours
from benchmarks.contenders.base import Call, Contender
from benchmarks.contenders.replay import copy_in, recorded, replay
from benchmarks.data import Batch
from benchmarks.jobs import SMALL


def same(prepare: Callable[[Batch, Any], Call], takes: str) -> Callable[[Batch, Any], Call]:
    """Return what prepares to send again what a call of ours sends, with rows of that kind."""

    def again(batch: Batch, _rows: Any) -> Call:
        steps = batch.keep(takes, lambda: recorded(prepare(batch, getattr(batch, takes)())))
        return lambda: replay(steps)

    return again


def bare(batch: Batch, _rows: Any) -> Call:
    """Return the upsert by hand: from a staging table, or a few rows from arrays."""
    shape = batch.shape
    small = len(batch.numbers) <= SMALL
    data = batch.keep("bare", lambda: arrays(batch) if small else lines(batch))
    columns = ", ".join(shape.columns)
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in shape.fields)
    types = (shape.model._meta.get_field(name).db_type(connection) for name in shape.columns)
    source = f"unnest({', '.join(f'%s::{type_}[]' for type_ in types)})" if small else "floor"
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


def direct(batch: Batch, _rows: Any) -> Call:
    """Return the COPY of encoded rows into the table itself."""
    data = batch.keep("bare", lambda: lines(batch))
    statement = f"COPY {batch.shape.table} ({', '.join(batch.shape.columns)}) FROM STDIN"

    def run() -> None:
        with connection.cursor() as cursor:
            copy_in(cursor, statement, data)

    return run


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


def floor(name: str, prepare: Callable[[Batch, Any], Call], **words: Any) -> Contender:
    return Contender(name, prepare, takes=None, **words)


UPSERTS = [
    floor(names.SAME, same(ours.upsert, "instances"), rehearses=True),
    floor(names.SAME_MAPPINGS, same(ours.upsert, "mappings"), rehearses=True),
    floor(names.BARE, bare, most=1_000_000),
]
UPDATES = [floor(names.UPDATE_SAME, same(ours.update, "stored_instances"), rehearses=True)]
COPIES = [floor(names.DIRECT, direct)]
