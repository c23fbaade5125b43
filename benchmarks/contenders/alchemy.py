"""SQLAlchemy Core, over psycopg 3; the time includes making dicts from the model instances."""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import Any

from django.db import connection

from benchmarks import names
from benchmarks.contenders.base import Call, Contender
from benchmarks.data import Batch, Shape


@cache
def prepared(shape: Shape) -> tuple[Any, Any]:
    """Return the engine, and the upsert."""
    import psycopg
    from sqlalchemy import MetaData, Table, create_engine
    from sqlalchemy.dialects.postgresql import insert

    params = connection.get_connection_params()
    wanted = {
        name: params[name]
        for name in ("dbname", "host", "port", "user", "password")
        if name in params
    }
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(**wanted))
    statement = insert(Table(shape.table, MetaData(), autoload_with=engine))
    sets = {name: statement.excluded[name] for name in shape.fields}
    return engine, statement.on_conflict_do_update(index_elements=[shape.key], set_=sets)


def upsert(batch: Batch, rows: list[Any]) -> Call:
    engine, statement = prepared(batch.shape)
    columns = batch.shape.columns
    values = attrgetter(*columns)

    def run() -> None:
        with engine.begin() as transaction:
            transaction.execute(
                statement, [dict(zip(columns, values(row), strict=True)) for row in rows]
            )

    return run


UPSERTS = [Contender(names.ALCHEMY, upsert, drivers=("psycopg",))]
