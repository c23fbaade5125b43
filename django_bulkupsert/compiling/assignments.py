"""What a column is set to by an expression: by one of a row's, or by ``update_fields``."""

from __future__ import annotations

from typing import Any

from django.db import connections, models
from django.db.models import Value
from django.db.models.sql import UpdateQuery

from ..columns import Column
from ..encode import Fault
from ..errors import TAKES_NO_NULL
from ..expressions import IncomingRow, Values
from ..fields import DatabaseDefault, related_key
from ..names import Model
from ..server import is_enum
from ..sql import Fragment, compose, quoting, raw, value
from .checks import check_instance, check_one_row, check_tables, check_value, refused_as


def assignment(column: Column, expression: Any, compiler: Any, *, typed: bool = True) -> Fragment:
    """Do what Django's UPDATE does with an expression.

    Args:
        column: The column that it is for.
        expression: The expression.
        compiler: A compiler of updates of the column's table.
        typed: Whether it is cast to the column's type, as the model has it.

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
    check_one_row(resolved, field)
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
    fragment = Fragment(sql, tuple(params))
    return _cast(column, fragment) if typed else fragment


def _cast(column: Column, fragment: Fragment) -> Fragment:
    """Return an expression as one of the column's type, where that can't cut a value."""
    if column.base_type is None and _is_enum(column):
        name = column.field.db_type(column.connection) or ""
        return compose("({sql})::{type}", sql=fragment, type=raw(name))
    return column.cast(fragment)


def _is_enum(column: Column) -> bool:
    return is_enum(
        connections[column.connection.alias], column.field.db_type(column.connection) or ""
    )


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
        check_instance(expression, option)
        self.expression = expression
        self._row = IncomingRow(model, option)
        self._literal: Fragment | None = None
        with refused_as(option):
            if hasattr(expression, "resolve_expression"):
                self._check()
                self.fragment(lambda _field: raw("NULL"))
            else:
                self._literal = literal(column, expression, typed=self.is_typed)
        self.asked = tuple(self._row.fields)

    @property
    def is_typed(self) -> bool:
        """Whether its SQL is of the column's very type, if Django made the column."""
        managed = self.model._meta.managed
        return managed and (self.column.base_type is not None or _is_enum(self.column))

    def fragment(self, incoming: Values) -> Fragment:
        """Return the expression as SQL, of the column's type where a cast is safe.

        Args:
            incoming: What the incoming row brings for a field.
        """
        if self._literal is not None:
            return self._literal
        self._row.values = incoming
        return assignment(self.column, self.expression, self._compiler(), typed=self.is_typed)

    def _compiler(self) -> Any:
        query = UpdateQuery(self.model)
        query.bulkupsert_row = self._row  # type: ignore[attr-defined]
        query.get_initial_alias()
        return quoting(query.get_compiler(connection=self.column.connection))

    def _check(self) -> None:
        """Refuse what is no value, and a subquery that reads the table which is being written."""
        query = self._compiler().query
        resolved = self.expression.resolve_expression(query, allow_joins=False, for_save=True)
        check_value(resolved, self.column.base_type)
        check_tables(self.model, resolved)


def literal(column: Column, item: Any, *, typed: bool = True) -> Fragment:
    """Return a value that is no expression as SQL of the column's type.

    Raises:
        ValueError: The column can't hold it.
    """
    if isinstance(item, models.Model):
        item = related_key(column.field, item)
    if item is None and not column.field.null:
        raise ValueError(TAKES_NO_NULL)
    try:
        texts = column.encode([item])
    except Fault as fault:
        raise ValueError(fault.reason) from fault.__cause__
    text = texts.values[0]
    placed = (texts.cells or {}).get(0) or (raw("NULL") if text is None else value(text))
    return _cast(column, placed) if typed else placed
