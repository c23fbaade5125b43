"""Models that calls meet at: two unique indexes, parents and children."""

from __future__ import annotations

from django.db import models

from django_bulkupsert import BulkUpsertManager


class TwoKeys(models.Model):
    """Two unique indexes besides the primary key's; a new row comes to the code's first."""

    code = models.CharField(max_length=10, unique=True)
    key = models.IntegerField(unique=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()


class Household(models.Model):
    number = models.IntegerField(unique=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()


class Tenant(models.Model):
    household = models.ForeignKey(Household, models.CASCADE, to_field="number")
    room = models.IntegerField()
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        unique_together = [("household", "room")]
