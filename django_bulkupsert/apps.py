"""The app's configuration, and the check that warns of a database that is not PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import connections, router

from .managers import BulkUpsertQuerySet


class DjangoBulkupsertConfig(AppConfig):
    """Registers the check."""

    name = "django_bulkupsert"

    def ready(self) -> None:
        """Register the check."""
        register(Tags.models)(check_databases)


def check_databases(
    app_configs: Sequence[AppConfig] | None = None, **_kwargs: Any
) -> list[CheckMessage]:
    """Warn of each model with our methods whose rows are written to another database.

    Looks at the settings alone; no connection is made.
    """
    configs = apps.get_app_configs() if app_configs is None else app_configs
    found: list[CheckMessage] = []
    for model in (model for config in configs for model in config.get_models()):
        if not any(
            issubclass(getattr(manager, "_queryset_class", object), BulkUpsertQuerySet)
            for manager in model._meta.managers
        ):
            continue
        alias = router.db_for_write(model)
        vendor = connections[alias].vendor
        if vendor != "postgresql":
            found.append(
                Warning(
                    f"{model._meta.label} is written to the database alias {alias!r}, which is "
                    f"{vendor}; its bulk methods will raise UnsupportedDatabase.",
                    hint=f"Route {model._meta.label} to PostgreSQL, or use another manager.",
                    obj=model,
                    id="django_bulkupsert.W001",
                )
            )
    return found
