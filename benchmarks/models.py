"""What is measured: a wide row, of the types that catalogues are made of."""

from __future__ import annotations

from contextlib import suppress

from django.db import models

from django_bulkupsert import BulkUpsertManager


class Wide(models.Model):
    sku = models.CharField(max_length=20)
    name = models.CharField(max_length=100)
    description = models.TextField()
    price = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.IntegerField()
    data = models.JSONField()
    seen = models.DateTimeField()
    active = models.BooleanField()

    objects = BulkUpsertManager()
    djangos = models.Manager()  # noqa: DJ012


# Other packages' managers, of those that are installed.
with suppress(ImportError):
    from fast_update.query import FastUpdateManager

    Wide.add_to_class("fast", FastUpdateManager())
with suppress(ImportError):
    from django_pg_bulk_update.manager import BulkUpdateManager

    Wide.add_to_class("pg_bulk", BulkUpdateManager())
