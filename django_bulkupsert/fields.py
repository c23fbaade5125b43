"""What a field of Django's says of itself, on every version of Django."""

from __future__ import annotations

from typing import Any, TypeAlias

from django.db import models
from django.db.models import expressions
from django.db.models.fields import NOT_PROVIDED

Field: TypeAlias = "models.Field[Any, Any]"

#: Marks, on an instance, a field that the database's own default should fill (Django 5.0+).
DatabaseDefault: type = getattr(expressions, "DatabaseDefault", type("NoDatabaseDefault", (), {}))

_CLOCKS = (models.DateField.pre_save, models.DateTimeField.pre_save, models.TimeField.pre_save)


def is_clock(field: Field) -> bool:
    """Whether the field is Django's own auto_now or auto_now_add."""
    ticks = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    return bool(ticks) and type(field).pre_save in _CLOCKS


def has_own_pre_save(field: Field) -> bool:
    """Whether saving asks the field for its value, as a FileField wants."""
    return type(field).pre_save not in (models.Field.pre_save, *_CLOCKS)


def is_djangos(field: Field | type) -> bool:
    """Whether the field's class is one that Django ships for PostgreSQL."""
    cls = field if isinstance(field, type) else type(field)
    return cls.__module__.startswith(("django.db.models.", "django.contrib.postgres."))


def is_generated(field: Field) -> bool:
    """Whether the database computes the column (GeneratedField, Django 5.0+)."""
    return bool(getattr(field, "generated", False))


def has_database_default(field: Field) -> bool:
    """Whether the database has a default that Django knows (db_default, Django 5.0+)."""
    return getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED
