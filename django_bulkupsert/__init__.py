"""Write many rows into PostgreSQL at once, from a Django model's manager."""

from __future__ import annotations

from .csvs import CsvRows
from .errors import (
    BulkUpsertError,
    CsvError,
    DeferredConstraintError,
    DuplicateKeysError,
    MatchError,
    MissingConstraintError,
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
from .functions import bulk_upsert
from .managers import BulkUpsertManager, BulkUpsertQuerySet
from .result import Rejected, ReturnedRow, Status, UpdateResult, UpsertResult

__version__ = "0.1.0"

__all__ = [
    "BulkUpsertError",
    "BulkUpsertManager",
    "BulkUpsertQuerySet",
    "CsvError",
    "CsvRows",
    "DeferredConstraintError",
    "DuplicateKeysError",
    "Excluded",
    "MatchError",
    "MissingConstraintError",
    "OptionError",
    "Rejected",
    "ReturnedRow",
    "RowConstraintError",
    "RowError",
    "RowExpressionError",
    "RowFieldsError",
    "RowTypeError",
    "RowValueError",
    "Status",
    "UnknownFieldError",
    "UnsavedRelatedError",
    "UnsupportedDatabase",
    "UnsupportedModel",
    "UpdateResult",
    "UpsertResult",
    "bulk_upsert",
]
