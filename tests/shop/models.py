"""The models of the examples, to the letter."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from django_bulkupsert import BulkUpsertManager


class Product(models.Model):
    sku = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    updated = models.DateTimeField(auto_now=True)

    objects = BulkUpsertManager()


class Reading(models.Model):
    device = models.CharField(max_length=40)
    timestamp = models.DateTimeField()
    watts = models.FloatField()

    objects = BulkUpsertManager()

    class Meta:
        unique_together = [("device", "timestamp")]


class Customer(models.Model):
    email = models.CharField(max_length=100)
    name = models.CharField(max_length=100)
    orders = models.IntegerField(default=0)
    seen = models.DateTimeField(null=True)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="customer_email")]


class Listing(models.Model):
    sku = models.CharField(max_length=20)
    price = models.IntegerField()
    deleted = models.DateTimeField(null=True)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["sku"], name="listing_live", condition=Q(deleted=None))
        ]


class Offer(models.Model):
    sku = models.CharField(max_length=20, unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    withdrawn = models.BooleanField(default=False)
    seen = models.DateTimeField(default=timezone.now)

    objects = BulkUpsertManager()


class Visits(models.Model):
    page = models.CharField(max_length=200)
    day = models.DateField()
    count = models.IntegerField()

    objects = BulkUpsertManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["page", "day"],
                name="visits_of_a_day",
            ),
        ]


class Measurement(models.Model):
    device = models.CharField(max_length=40)
    timestamp = models.DateTimeField()
    watts = models.FloatField()

    objects = BulkUpsertManager()

    class Meta:
        managed = False
        constraints = [
            models.UniqueConstraint(
                fields=["device", "timestamp"],
                name="measurement_once",
            ),
        ]
