"""The airports of the world, by their ICAO code."""

from __future__ import annotations

from django.db import models

from django_bulkupsert import BulkUpsertManager


class AirportFields(models.Model):
    icao = models.CharField(max_length=4, unique=True)
    iata = models.CharField(max_length=3, null=True, blank=True)  # noqa: DJ001 (most have none)
    name = models.CharField(max_length=200)
    city = models.CharField(max_length=100)
    region = models.CharField(max_length=100)
    country = models.CharField(max_length=2)
    elevation = models.FloatField(help_text="feet above the sea")
    latitude = models.FloatField(help_text="degrees north")
    longitude = models.FloatField(help_text="degrees east")
    timezone = models.CharField(max_length=50)
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.icao} {self.name}"


class Airport(AirportFields):
    """Written by bulk_upsert()."""

    objects = BulkUpsertManager()


class DjangoAirport(AirportFields):
    """The same table again, written by Django's own methods, to compare."""
