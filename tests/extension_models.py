"""Models of types that not every server has; imported, and their tables made, where it has them."""

from django.contrib.postgres.fields import HStoreField
from django.db import models

from django_bulkupsert import BulkUpsertManager


class CitextField(models.TextField):
    """Case-insensitive text."""

    def db_type(self, connection):
        return "citext"


class WithHstore(models.Model):
    key = models.IntegerField(primary_key=True)
    value = HStoreField(null=True)

    objects = BulkUpsertManager()

    class Meta:
        app_label = "tests"
        managed = False
        db_table = "tests_hstore"


class WithCitext(models.Model):
    key = CitextField(primary_key=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        app_label = "tests"
        managed = False
        db_table = "tests_citext"


class WithCollation(models.Model):
    """A key whose collation takes upper and lower case for the same."""

    key = models.CharField(max_length=10, primary_key=True, db_collation="tests_ci")
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        app_label = "tests"
        managed = False
        db_table = "tests_collation"


class WithCaselessNote(models.Model):
    """A value whose type takes upper and lower case for the same."""

    key = models.IntegerField(primary_key=True)
    note = CitextField(null=True)

    objects = BulkUpsertManager()

    class Meta:
        app_label = "tests"
        managed = False
        db_table = "tests_caseless_note"
