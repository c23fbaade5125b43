"""Write many rows into PostgreSQL at once, from a Django model's manager."""

from __future__ import annotations

from .errors import (
    BulkUpsertError,
    DuplicateKeysError,
    MatchError,
    OptionError,
    RowConstraintError,
    RowError,
    RowFieldsError,
    RowTypeError,
    RowValueError,
    UnknownFieldError,
    UnsavedRelatedError,
    UnsupportedDatabase,
    UnsupportedModel,
)
from .managers import BulkUpsertManager, BulkUpsertQuerySet
from .result import UpsertResult

__version__ = "0.1.0"

__all__ = [
    "BulkUpsertError",
    "BulkUpsertManager",
    "BulkUpsertQuerySet",
    "DuplicateKeysError",
    "MatchError",
    "OptionError",
    "RowConstraintError",
    "RowError",
    "RowFieldsError",
    "RowTypeError",
    "RowValueError",
    "UnknownFieldError",
    "UnsavedRelatedError",
    "UnsupportedDatabase",
    "UnsupportedModel",
    "UpsertResult",
]
