"""The model of the tutorial, to the letter."""

from django.db import models

from django_bulkupsert import BulkUpsertManager


class Reading(models.Model):
    device = models.CharField(max_length=40)
    timestamp = models.DateTimeField()
    watts = models.FloatField()
    revision = models.PositiveIntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["device", "timestamp"],
                name="reading_once",
            ),
        ]
