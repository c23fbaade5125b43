"""What a person writes without a library for it: rows copied into a staging table, then one upsert.

The time includes making rows of values from the same model instances.
"""

from __future__ import annotations

import asyncio
import json
from functools import cache
from typing import Any

from django.db import connection, transaction

from benchmarks import names
from benchmarks.contenders.base import Call, Contender
from benchmarks.data import Batch, Shape

VALUES = {
    "wide": lambda row, as_json: (
        row.sku,
        row.name,
        row.description,
        row.price,
        row.stock,
        as_json(row.data),
        row.seen,
        row.active,
    ),
    "narrow": lambda row, as_json: (row.code, row.value),
}


def statements(shape: Shape) -> tuple[str, str]:
    """Return what makes the staging table, and what writes its rows."""
    columns = ", ".join(shape.columns)
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in shape.fields)
    return (
        f"CREATE TEMPORARY TABLE recipe ON COMMIT DROP AS "
        f"SELECT {columns} FROM {shape.table} WITH NO DATA",
        f"INSERT INTO {shape.table} ({columns}) SELECT {columns} FROM recipe "
        f"ON CONFLICT ({shape.key}) DO UPDATE SET {sets}",
    )


def psycopg(batch: Batch, rows: list[Any]) -> Call:
    """Return psycopg 3's copy(), row by row."""
    from psycopg.types.json import Jsonb

    create, upsert = statements(batch.shape)
    copy_in = f"COPY recipe ({', '.join(batch.shape.columns)}) FROM STDIN"
    values = VALUES[batch.shape.name]

    def run() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(create)
            with cursor.copy(copy_in) as copy:
                for row in rows:
                    copy.write_row(values(row, Jsonb))
            cursor.execute(upsert)

    return run


def asyncpg_(batch: Batch, rows: list[Any]) -> Call:
    """Return asyncpg's copy_records_to_table(), over a connection that is open."""
    create, upsert = statements(batch.shape)
    values = VALUES[batch.shape.name]
    loop, pg = opened()

    async def run() -> None:
        async with pg.transaction():
            await pg.execute(create)
            await pg.copy_records_to_table(
                "recipe",
                records=[values(row, json.dumps) for row in rows],
                columns=batch.shape.columns,
            )
            await pg.execute(upsert)

    return lambda: loop.run_until_complete(run())


@cache
def opened() -> tuple[asyncio.AbstractEventLoop, Any]:
    """Return an event loop, and a connection in it."""
    import asyncpg

    params = connection.get_connection_params()
    loop = asyncio.new_event_loop()
    found = {name: params.get(name) for name in ("host", "port", "user", "password")}
    return loop, loop.run_until_complete(asyncpg.connect(database=params["dbname"], **found))


UPSERTS = [
    Contender(names.ASYNCPG, asyncpg_, most=1_000_000),
    Contender(names.PSYCOPG, psycopg, drivers=("psycopg",)),
]
