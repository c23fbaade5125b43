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


def makes_keys(field: Field) -> bool:
    """Whether saving asks a primary key for the value of an object that has none."""
    own: Any = type(field)
    asked = getattr(own, "get_pk_value_on_save", None)
    return field.has_default() or asked is not getattr(models.Field, "get_pk_value_on_save", None)


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


def is_filled(field: Field) -> bool:
    """Whether the database has a value for a row that gives none, as Django knows the column."""
    return isinstance(field, models.AutoField) or has_database_default(field)


_WANTED = {
    "BinaryField": "bytes",
    "BooleanField": "true or false",
    "DateField": "a date",
    "DateTimeField": "a date and time",
    "DecimalField": "a finite decimal number",
    "DurationField": "a duration",
    "FloatField": "a number",
    "GenericIPAddressField": "an IP address",
    "TimeField": "a time",
    "UUIDField": "a UUID",
}


def wanted(field: Field) -> str:
    """Say what values a field takes, for people."""
    target: Any = getattr(field, "target_field", None)
    if target is not None:
        return f"the key of {field.related_model._meta.label}, {wanted(target)}"  # type: ignore[union-attr]
    kind = field.get_internal_type()
    if kind.endswith(("IntegerField", "AutoField")):
        return "an integer"
    return _WANTED.get(kind, f"a value of {type(field).__name__}")


def related_key(field: Field, item: models.Model, operation: str = "bulk_upsert") -> Any:
    """Return what a relation holds of an object: the value of the field that it points to.

    Args:
        field: The relation.
        item: The object.
        operation: The method that asks.

    Raises:
        TypeError: The field is no relation, or to another model.
        ValueError: The object is not saved.
    """
    related: Any = field.related_model if field.is_relation else None
    if related is None or not isinstance(item, related._meta.concrete_model):
        takes = f"takes {related._meta.label}" if related else "is no relation"
        raise TypeError(f"an instance of {item._meta.label}, where the field {takes}")
    target: Any = field.target_field  # type: ignore[attr-defined]
    key = getattr(item, target.attname)
    if item.pk is None or key is None:
        raise ValueError(
            f"{operation}() prohibited to prevent data loss due to unsaved related "
            f"object '{field.name}'."
        )
    return key
