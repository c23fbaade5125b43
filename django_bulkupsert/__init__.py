"""Write many rows into PostgreSQL at once, from a Django model's manager."""

from __future__ import annotations

from .errors import (
    BulkUpsertError,
    DuplicateKeysError,
    MatchError,
    OptionError,
    RowConstraintError,
    RowError,
    RowExpressionError,
    RowFieldsError,
    RowTypeError,
    RowValueError,
    UnknownFieldError,
    UnsavedRelatedError,
    UnsupportedDatabase,
    UnsupportedModel,
)
from .expressions import Excluded
from .managers import BulkUpsertManager, BulkUpsertQuerySet
from .result import ReturnedRow, UpdateResult, UpsertResult

__version__ = "0.1.0"

__all__ = [
    "BulkUpsertError",
    "BulkUpsertManager",
    "BulkUpsertQuerySet",
    "DuplicateKeysError",
    "Excluded",
    "MatchError",
    "OptionError",
    "ReturnedRow",
    "RowConstraintError",
    "RowError",
    "RowExpressionError",
    "RowFieldsError",
    "RowTypeError",
    "RowValueError",
    "UnknownFieldError",
    "UnsavedRelatedError",
    "UnsupportedDatabase",
    "UnsupportedModel",
    "UpdateResult",
    "UpsertResult",
]
