"""Django's own methods, and the packages that do the same."""

from __future__ import annotations

from typing import Any

from benchmarks import names
from benchmarks.contenders.base import Call, Contender
from benchmarks.data import Batch


def django_upsert(batch: Batch, rows: Any) -> Call:
    shape = batch.shape
    return lambda: shape.model.djangos.bulk_create(
        rows, update_conflicts=True, unique_fields=[shape.key], update_fields=shape.fields
    )


def pgbulk_upsert(batch: Batch, rows: Any) -> Call:
    import pgbulk

    shape = batch.shape
    return lambda: pgbulk.upsert(shape.model, rows, [shape.key], shape.fields)


def extra_upsert(batch: Batch, rows: Any) -> Call:
    shape = batch.shape
    return lambda: shape.model.extra.using("extra").bulk_upsert([shape.key], rows, using="extra")


def load_upsert(batch: Batch, rows: Any) -> Call:
    from django_bulk_load import bulk_upsert_models

    return lambda: bulk_upsert_models(rows, pk_field_names=[batch.shape.key])


def django_update(batch: Batch, rows: Any) -> Call:
    shape = batch.shape  # without batches it takes minutes
    return lambda: shape.model.djangos.bulk_update(rows, shape.fields, batch_size=500)


def copy_update(batch: Batch, rows: Any) -> Call:
    return lambda: batch.shape.model.fast.copy_update(rows, batch.shape.fields)


def fast_update(batch: Batch, rows: Any) -> Call:
    return lambda: batch.shape.model.fast.fast_update(rows, batch.shape.fields)


def pgbulk_update(batch: Batch, rows: Any) -> Call:
    import pgbulk

    return lambda: pgbulk.update(batch.shape.model, rows, batch.shape.fields)


def pg_bulk_update(batch: Batch, rows: Any) -> Call:
    names_ = ("id", *batch.shape.fields)
    dicts = [{name: getattr(row, name) for name in names_} for row in rows]
    return lambda: batch.shape.model.pg_bulk.pg_bulk_update(dicts)


def django_create(batch: Batch, rows: Any) -> Call:
    return lambda: batch.shape.model.djangos.bulk_create(rows)


def pgbulk_copy(batch: Batch, rows: Any) -> Call:
    import pgbulk

    return lambda: pgbulk.copy(batch.shape.model, rows, batch.shape.columns)


UPSERTS = [
    Contender(names.DJANGO, django_upsert, sets_pk=True),
    Contender(names.PGBULK, pgbulk_upsert),
    Contender(names.EXTRA, extra_upsert, takes="mappings"),
    Contender(names.LOAD, load_upsert, drivers=("psycopg2",)),
]
UPDATES = [
    Contender(names.DJANGO_UPDATE, django_update, takes="stored_instances", most=10_000),
    Contender(names.COPY_UPDATE, copy_update, takes="stored_instances"),
    Contender(names.FAST_UPDATE, fast_update, takes="stored_instances"),
    Contender(names.PGBULK_UPDATE, pgbulk_update, takes="stored_instances"),
    Contender(names.PG_BULK_UPDATE, pg_bulk_update, takes="stored_instances"),
]
COPIES = [
    Contender(names.DJANGO_CREATE, django_create, sets_pk=True),
    Contender(names.PGBULK_COPY, pgbulk_copy, drivers=("psycopg",)),
]
