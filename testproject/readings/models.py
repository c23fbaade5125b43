"""What solar panels report: watts, every five minutes."""

from __future__ import annotations

from django.db import models

from django_bulkupsert import BulkUpsertManager


class Reading(models.Model):
    device = models.CharField(max_length=40)
    timestamp = models.DateTimeField()
    watts = models.FloatField()

    objects = BulkUpsertManager()

    class Meta:
        unique_together = [("device", "timestamp")]

    def __str__(self) -> str:
        return f"{self.device} at {self.timestamp}: {self.watts} W"
