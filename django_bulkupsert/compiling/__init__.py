"""Django's compiler at work: conditions, assignments, the expressions of rows, of indexes."""

from __future__ import annotations

from .assignments import Assigned
from .checks import check_tables, refused_as
from .conditions import NOTHING, Condition, filtered, where
from .row_expressions import RowExpressions
from .terms import Term, Transform

__all__ = [
    "NOTHING",
    "Assigned",
    "Condition",
    "RowExpressions",
    "Term",
    "Transform",
    "check_tables",
    "filtered",
    "refused_as",
    "where",
]
