"""A model of types that come with extensions; imported where the server has them."""

from django.contrib.postgres.fields import HStoreField
from django.db import models

from django_bulkupsert import BulkUpsertManager


class CitextField(models.TextField):
    """Case-insensitive text."""

    def db_type(self, connection):
        return "citext"


class Extended(models.Model):
    id = models.IntegerField(primary_key=True)
    hstore = HStoreField(null=True)
    citext = CitextField(null=True)

    objects = BulkUpsertManager()

    class Meta:
        app_label = "tests"
        managed = False
        db_table = "tests_extended"
