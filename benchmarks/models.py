"""What is measured: a wide row, of the types that catalogues are made of, and a narrow one."""

from __future__ import annotations

from contextlib import suppress

from django.db import models

from django_bulkupsert import BulkUpsertManager


class Wide(models.Model):
    sku = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    description = models.TextField()
    price = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.IntegerField()
    data = models.JSONField()
    seen = models.DateTimeField()
    active = models.BooleanField()

    objects = BulkUpsertManager()
    djangos = models.Manager()  # noqa: DJ012


class Narrow(models.Model):
    code = models.IntegerField(unique=True)
    value = models.FloatField()

    objects = BulkUpsertManager()
    djangos = models.Manager()  # noqa: DJ012


# Other packages' managers, of those that are installed.
for model in (Wide, Narrow):
    with suppress(ImportError):
        from fast_update.query import FastUpdateManager

        model.add_to_class("fast", FastUpdateManager())
    with suppress(ImportError):
        from django_pg_bulk_update.manager import BulkUpdateManager

        model.add_to_class("pg_bulk", BulkUpdateManager())
    with suppress(ImportError):
        from psqlextra.manager import PostgresManager

        model.add_to_class("extra", PostgresManager())
