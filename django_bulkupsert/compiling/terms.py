"""Expressions over one row, be it a stored one or an incoming one: of indexes, of transforms."""

from __future__ import annotations

import copy
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import CharField, Subquery, TextField
from django.db.models.expressions import Col
from django.db.models.sql import Query

from ..columns import Column
from ..expressions import Incoming, IncomingRow, Values
from ..fields import Field
from ..names import Model
from ..sql import Fragment, raw
from .assignments import literal
from .checks import check_instance, check_one_row, check_value, refused_as
from .conditions import compiled


class Term:
    """An expression or a condition of a unique index, for each place that it has to stand in.

    Attributes:
        fields: The fields that it reads.
    """

    def __init__(self, model: Model, expression: Any, connection: Any) -> None:
        self.model = model
        self.expression = expression
        self.connection = connection
        self._row = IncomingRow(model, "constraint")
        self._over_incoming = over_incoming(self._resolved(), self._row)
        self.fields = tuple(self._row.fields)

    @property
    def is_text(self) -> bool:
        """Whether it is a text, or of a type that is not known."""
        try:
            return isinstance(self._over_incoming.output_field, CharField | TextField)
        except FieldError:
            return True

    def stored(self) -> Fragment:
        """Return it over the stored row."""
        return compiled(self._resolved(), Query(self.model), self.connection)

    def of(self, incoming: Values) -> Fragment:
        """Return it over a row that brings these values."""
        self._row.values = incoming
        return compiled(self._over_incoming, Query(self.model), self.connection)

    def indexed(self) -> Fragment:
        """Return it as the index has it: bare names, and literals that the planner can compare."""
        found = compiled(self._resolved(alias_cols=False), Query(self.model), self.connection)
        if not found.params:
            return found
        self.connection.ensure_connection()
        sql: str = self.connection.ops.compose_sql(found.text, found.params)
        return raw(sql)

    def _resolved(self, *, alias_cols: bool = True) -> Any:
        query = Query(self.model, alias_cols=alias_cols)
        query.get_initial_alias()
        return self.expression.resolve_expression(query, allow_joins=False)


class Transform:
    """An expression by which a column of the incoming rows is replaced before all else.

    Names in it, of ``F()`` and ``Excluded()`` alike, are the incoming row's.

    Attributes:
        column: The column.
        asked: The fields that it reads.
    """

    def __init__(self, model: Model, column: Column, expression: Any) -> None:
        option = f"transform, {column.field.name!r}"
        check_instance(expression, option)
        self.model = model
        self.column = column
        self._row = IncomingRow(model, option)
        self._literal: Fragment | None = None
        with refused_as(option):
            if hasattr(expression, "resolve_expression"):
                self._expression = self._resolved(expression)
                self.fragment(lambda _field: raw("NULL"))
            else:
                self._literal = literal(Column.of(column.field, column.connection), expression)
        self.asked = tuple(self._row.fields)

    def fragment(self, incoming: Values) -> Fragment:
        """Return the expression as SQL of the column's type.

        Args:
            incoming: What the row brought for a field.
        """
        if self._literal is not None:
            return self._literal
        self._row.values = incoming
        query = Query(self.model)
        return self.column.cast(compiled(self._expression, query, self.column.connection))

    def _resolved(self, expression: Any) -> Any:
        query = Query(self.model)
        query.bulkupsert_row = self._row  # type: ignore[attr-defined]
        query.get_initial_alias()
        resolved = expression.resolve_expression(query, allow_joins=False)
        check_one_row(resolved, self.column.field)
        check_value(resolved, self.column.base_type)
        return over_incoming(resolved, self._row)


def over_incoming(node: Any, row: IncomingRow) -> Any:
    """Return a resolved expression whose columns are the incoming row's.

    Raises:
        FieldError: It holds a subquery, which can't be turned.
    """
    if isinstance(node, Incoming):
        return node
    if isinstance(node, Col):
        field: Field = node.target
        row.note(field)
        return Incoming(node.alias, row, field)
    if type(node).__name__ == "ColPairs":
        raise FieldError("a primary key of several fields, where one value is wanted")
    if isinstance(node, Subquery | Query):
        raise FieldError("a subquery, which can't read the incoming row")
    sources: list[Any] = getattr(node, "get_source_expressions", list)()
    if not sources:
        return node
    turned = copy.copy(node)
    turned.set_source_expressions(
        [None if each is None else over_incoming(each, row) for each in sources]
    )
    return turned
