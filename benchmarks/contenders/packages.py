"""Django's own methods, and the packages that do the same."""

from __future__ import annotations

from typing import Any

import pgbulk

from benchmarks import names
from benchmarks.contenders.base import Call, Contender
from benchmarks.data import Batch


def django_upsert(batch: Batch, rows: Any) -> Call:
    shape = batch.shape
    return lambda: shape.model.djangos.bulk_create(
        rows, update_conflicts=True, unique_fields=[shape.key], update_fields=shape.fields
    )


def pgbulk_upsert(batch: Batch, rows: Any) -> Call:
    shape = batch.shape
    return lambda: pgbulk.upsert(shape.model, rows, [shape.key], list(shape.fields))


def extra_upsert(batch: Batch, rows: Any) -> Call:
    shape = batch.shape
    return lambda: shape.model.extra.using("extra").bulk_upsert(
        conflict_target=[shape.key], rows=rows, using="extra"
    )


def load_upsert(batch: Batch, rows: Any) -> Call:
    from django_bulk_load import bulk_upsert_models

    return lambda: bulk_upsert_models(rows, pk_field_names=[batch.shape.key])


UPSERTS = [
    Contender(names.DJANGO, django_upsert, sets_pk=True),
    Contender(names.PGBULK, pgbulk_upsert, rounds=2),
    Contender(names.EXTRA, extra_upsert, takes="mappings", rounds=2),
    Contender(names.LOAD, load_upsert, drivers=("psycopg2",)),
]
