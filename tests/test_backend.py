"""Databases that are not PostgreSQL, and the check that warns of them."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.core.checks.registry import registry
from django.db import NotSupportedError

from django_bulkupsert import UnsupportedDatabase
from django_bulkupsert.apps import check_databases
from testproject.readings.models import Reading

from .models import PlainManager, Product


class ToLite:
    """Writes everything to SQLite."""

    def db_for_write(self, model, **hints):
        return "lite"


def test_other_backend_is_refused():
    """The error names the alias and the vendor, before any row is read."""
    rows = iter([Product(sku="a")])
    with pytest.raises(UnsupportedDatabase, match="alias 'lite' is sqlite") as caught:
        Product.objects.using("lite").bulk_upsert(rows)
    assert isinstance(caught.value, NotSupportedError)
    assert (caught.value.alias, caught.value.vendor) == ("lite", "sqlite")
    assert next(rows)


def test_check_is_silent_on_postgresql():
    """Nothing is said where all is well."""
    assert check_databases in registry.get_checks()
    assert check_databases() == []


def test_check_warns(settings):
    """Each model with our methods is named, and no other."""
    settings.DATABASE_ROUTERS = ["tests.test_backend.ToLite"]
    found = check_databases()
    assert {warning.id for warning in found} == {"django_bulkupsert.W001"}
    named = {warning.obj for warning in found}
    assert Product in named
    assert PlainManager not in named
    assert "sqlite" in str(found[0])
    assert check_databases([apps.get_app_config("readings")])[0].obj is Reading


def test_abstract_model_is_refused():
    """A model without a table is refused."""
    from django_bulkupsert import UnsupportedModel
    from django_bulkupsert.engine.dispatch import run
    from django_bulkupsert.plans.options import UpsertOptions
    from testproject.airports.models import AirportFields

    with pytest.raises(UnsupportedModel, match="is abstract"):
        run(AirportFields, [], UpsertOptions(), "default")


def test_manager_of_another_queryset():
    """A manager of ours whose querysets lack the methods is refused where it is made."""
    from django.db import models

    from django_bulkupsert import BulkUpsertManager, BulkUpsertQuerySet

    class Plain(models.QuerySet):
        pass

    class Ours(BulkUpsertQuerySet):
        def cheap(self):
            return self.filter(stock=0)

    with pytest.raises(TypeError, match="make Plain a subclass of BulkUpsertQuerySet"):
        BulkUpsertManager.from_queryset(Plain)
    with pytest.raises(TypeError, match="makes querysets of Plain"):

        class Mixed(models.Manager.from_queryset(Plain), BulkUpsertManager):
            pass

    class Manager(BulkUpsertManager.from_queryset(Ours)):
        pass

    manager = Manager()
    manager.model = Product
    assert isinstance(manager.cheap(), Ours)
    assert manager.bulk_update([], ["stock"]) == 0
