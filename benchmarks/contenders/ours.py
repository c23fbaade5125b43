"""The library's own calls."""

from __future__ import annotations

from typing import Any

from benchmarks import names
from benchmarks.contenders.base import Call, Contender
from benchmarks.data import Batch
from django_bulkupsert.managers import BulkMethods


def upsert(batch: Batch, rows: Any) -> Call:
    """Return the upsert of instances, which get their primary keys, or of mappings."""
    shape = batch.shape
    return lambda: shape.model.objects.bulk_upsert(rows, unique_fields=[shape.key])


def update(batch: Batch, rows: Any) -> Call:
    return lambda: batch.shape.model.objects.bulk_update(rows, batch.shape.fields)


def copy(batch: Batch, rows: Any) -> Call:
    return lambda: batch.shape.model.objects.bulk_copy(rows)


UPSERTS = [
    Contender(names.OURS, upsert, most=1_000_000, sets_pk=True),
    Contender(names.MAPPINGS, upsert, takes="mappings"),
]
UPDATES = [Contender(names.UPDATE, update, takes="stored_instances")]
COPIES = [
    Contender(names.COPY, copy),
    Contender(names.COPY_MAPPINGS, copy, takes="mappings"),
]
if not hasattr(BulkMethods, "bulk_copy"):
    COPIES = []
