"""What an expression may be; and what Django says of one that can't be, as an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.exceptions import (
    EmptyResultSet,
    FieldError,
    FullResultSet,
    ValidationError,
)
from django.db.models.expressions import OrderBy
from django.db.models.sql import Query

from ..errors import OptionError
from ..fields import Field
from ..names import Model
from ..sql import Fragment, raw


@contextmanager
def refused_as(option: str) -> Iterator[None]:
    """Turn what Django says of an expression that can't be into an error that names the option.

    Raises:
        OptionError: There was such an error.
    """
    try:
        yield
    except OptionError:
        raise
    except ValidationError as error:
        raise OptionError(f"{option}: {' '.join(error.messages)}") from error
    except (EmptyResultSet, FullResultSet) as error:
        raise OptionError(f"{option}: a condition that holds always, or never") from error
    except (
        FieldError, TypeError, ValueError, AttributeError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        raise OptionError(f"{option}: {error}") from error


def check_one_row(resolved: Any, field: Field) -> None:
    """Check, in Django's words, that a resolved expression is over one row.

    Raises:
        FieldError: It is an aggregate, or over a window.
    """
    for found, what in (
        (resolved.contains_aggregate, "Aggregate functions"),
        (resolved.contains_over_clause, "Window expressions"),
    ):
        if found:
            raise FieldError(f"{what} are not allowed in this query ({field.name}).")


def check_tables(model: Model, node: Any) -> None:
    """Check that no subquery of an expression reads the table which is being written.

    Raises:
        FieldError: One does.
    """
    if model._meta.db_table in _subquery_tables(node):
        raise FieldError(
            f"a subquery reads {model._meta.label} itself, and would see its rows as they were "
            "before the call; F() is the stored row"
        )


def check_value(resolved: Any, column_type: Fragment | None) -> None:
    """Check that a resolved expression is one value of a row.

    Args:
        resolved: The expression.
        column_type: The type of the column that is to get it.

    Raises:
        FieldError: It is an order, a condition where none is wanted, a key of several fields.
    """
    if isinstance(resolved, OrderBy):
        raise FieldError("an order, where a value is wanted")
    if type(resolved).__name__ == "ColPairs":
        raise FieldError("a primary key of several fields, where one value is wanted")
    with suppress(FieldError):  # its type may not be known
        if getattr(resolved, "conditional", False) and column_type != raw("boolean"):
            raise TypeError("a condition, where the column takes no boolean")


def check_instance(expression: Any, option: str) -> None:
    """Check that an expression is no class of expressions.

    Raises:
        OptionError: It is.
    """
    if isinstance(expression, type):
        raise OptionError(f"{option}: the class {expression.__name__}, where an instance is wanted")


def _subquery_tables(node: Any) -> set[str]:
    """Return the tables that the subqueries of an expression read."""
    if isinstance(node, Query):
        used = [node.alias_map[alias] for alias, uses in node.alias_refcount.items() if uses]
        model: Any = node.model
        found = {table.table_name for table in used} or {model._meta.db_table}
        nested = [node.where, *node.annotations.values(), *node.combined_queries]
    else:
        found = set()
        nested = [getattr(node, "query", None), getattr(node, "rhs", None)]
        nested += getattr(node, "get_source_expressions", list)()
    for each in nested:
        if each is not None and each is not node:
            found |= _subquery_tables(each)
    return found
