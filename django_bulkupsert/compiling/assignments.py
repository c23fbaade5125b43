"""What a column is set to by an expression: by one of a row's, or by ``update_fields``."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db.models import Value
from django.db.models.sql import UpdateQuery

from ..columns import Column
from ..errors import OptionError
from ..expressions import IncomingRow, Values, subquery_tables
from ..fields import DatabaseDefault
from ..names import Model
from ..server import is_enum
from ..sql import Fragment, compose, raw


def assignment(column: Column, expression: Any, compiler: Any) -> Fragment:
    """Do what Django's UPDATE does with an expression.

    Raises:
        FieldError: It can't stand in an UPDATE, as Django says.
    """
    field: Any = column.field
    connection = column.connection
    if type(expression) is DatabaseDefault:
        return column.cast(column.database_default())
    if isinstance(expression, Value) and "output_field" not in vars(expression):
        if expression.value is None:  # not JSON's null, which a JSONField would make of it
            return column.cast(raw("NULL"))
        expression = Value(expression.value, output_field=field)
    resolved = expression.resolve_expression(compiler.query, allow_joins=False, for_save=True)
    for found, what in (
        (resolved.contains_aggregate, "Aggregate functions"),
        (resolved.contains_over_clause, "Window expressions"),
    ):
        if found:
            raise FieldError(f"{what} are not allowed in this query ({field.name}).")
    prepared = field.get_db_prep_save(resolved, connection)
    if not hasattr(prepared, "as_sql"):  # a JSONField takes the value out of a Value
        return _cast(column, column.literal(prepared))
    placed = "%s"
    if column.placeholder is not None:
        placed = column.placeholder(prepared, compiler, connection)
    if isinstance(placed, str):
        sql, params = compiler.compile(prepared)
        sql = placed % sql
    else:
        sql, params = placed
    return _cast(column, Fragment(sql, tuple(params)))


def _cast(column: Column, fragment: Fragment) -> Fragment:
    """Return an expression as one of the column's type, where that can't cut a value."""
    if column.base_type is None and _is_enum(column):
        name = column.field.db_type(column.connection) or ""
        return compose("({sql})::{type}", sql=fragment, type=raw(name))
    return column.cast(fragment)


def _is_enum(column: Column) -> bool:
    return is_enum(column.connection, column.field.db_type(column.connection) or "")


class Assigned:
    """An expression that ``update_fields`` sets a column to.

    ``F()`` in it is the stored row, ``Excluded()`` the incoming one.

    Attributes:
        column: The column.
        asked: The fields of the incoming row that it asks for.
    """

    def __init__(self, model: Model, column: Column, expression: Any) -> None:
        self.model = model
        self.column = column
        option = f"update_fields, {column.field.name!r}"
        if isinstance(expression, type):
            raise OptionError(
                f"{option}: the class {expression.__name__}, where an instance is wanted"
            )
        self.expression = (
            expression if hasattr(expression, "resolve_expression") else Value(expression)
        )
        self._row = IncomingRow(model, option)
        try:
            self.fragment(lambda _field: raw("NULL"))
            self._check_tables()
        except OptionError:
            raise
        except (FieldError, TypeError, ValueError) as error:
            raise OptionError(f"{option}: {error}") from error
        except ValidationError as error:
            raise OptionError(f"{option}: {' '.join(error.messages)}") from error
        self.asked = tuple(self._row.fields)

    @property
    def is_typed(self) -> bool:
        """Whether its SQL is of the column's very type."""
        return self.column.base_type is not None or _is_enum(self.column)

    def fragment(self, incoming: Values) -> Fragment:
        """Return the expression as SQL, of the column's type where a cast is safe.

        Args:
            incoming: What the incoming row brings for a field.
        """
        self._row.values = incoming
        return assignment(self.column, self.expression, self._compiler())

    def _compiler(self) -> Any:
        query = UpdateQuery(self.model)
        query.bulkupsert_row = self._row  # type: ignore[attr-defined]
        query.get_initial_alias()
        return query.get_compiler(connection=self.column.connection)

    def _check_tables(self) -> None:
        """Refuse a subquery that reads the table which is being written: it sees it as it was."""
        resolved = self.expression.resolve_expression(
            self._compiler().query, allow_joins=False, for_save=True
        )
        if self.model._meta.db_table in subquery_tables(resolved):
            raise FieldError(
                f"a subquery reads {self.model._meta.label} itself, and would see its rows as "
                "they were before the call; F() is the stored row"
            )
