"""Django's compiler at work for an update: conditions, and the expressions that rows hold."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

from django.core.exceptions import EmptyResultSet, FieldError, FullResultSet, ValidationError
from django.db import models
from django.db.models import Q, Value
from django.db.models.sql import Query, UpdateQuery

from .columns import Column
from .errors import OptionError
from .expressions import IncomingRow
from .fields import DatabaseDefault
from .server import is_enum
from .sql import Fragment, compose, raw
from .target import Model

#: Expressions that are known again as objects; those of an endless input are not kept.
MOST_SEEN = 1_000

NOTHING = raw("false")
EVERYTHING = raw("true")


class Condition:
    """A condition on the stored rows of a model's tables, compiled when it is asked for.

    Attributes:
        models: The models, the condition's own and parents of it, whose tables it reads.
    """

    def __init__(self, query: Query, connection: Any) -> None:
        self.query = query
        self.connection = connection
        self.models = _joined(query)

    def fragment(self) -> Fragment:
        """Return the condition as SQL, which names tables by their own names."""
        compiler = self.query.get_compiler(connection=self.connection)
        try:
            sql, params = compiler.compile(self.query.where)
        except EmptyResultSet:
            return NOTHING
        except FullResultSet:
            return EVERYTHING
        return Fragment(f"({sql})" if sql else "true", tuple(params))


def _joined(query: Query) -> list[Model] | None:
    """Return the models whose tables a query reads; None: others than a model's own ones."""
    model: Any = query.model
    meta = model._meta
    own: dict[str, Model] = {
        each._meta.db_table: each for each in (meta.concrete_model, *meta.get_parent_list())
    }
    read = [alias for alias, uses in query.alias_refcount.items() if uses]
    if any(query.alias_map[alias].table_name != alias or alias not in own for alias in read):
        return None
    return [own[alias] for alias in read]


def filtered(queryset: models.QuerySet[Any, Any], connection: Any) -> Condition | None:
    """Return the queryset's filter; None where it has none.

    One that reads no other table is a plain condition, which the server checks once more on a
    row that it had to wait for. Any other is a subquery.
    """
    if not queryset.query.where.children:
        return None
    query = queryset.query.chain()
    query.get_initial_alias()
    of_one_row = not (
        query.group_by is not None
        or query.extra_tables
        or query.where.contains_aggregate
        or query.where.contains_over_clause
    )
    condition = Condition(query, connection)
    if of_one_row and condition.models is not None:
        return condition
    pk = queryset.model._meta.pk
    if isinstance(query.group_by, tuple) and not any(
        getattr(each, "target", None) is pk for each in query.group_by
    ):
        raise OptionError(
            "the queryset's rows are groups of values(), and no stored rows that could be updated"
        )
    keys = queryset.order_by().values("pk")
    keys.query.distinct_fields = ()  # Django's update() pays no heed to it either
    outer = Query(queryset.model)
    outer.add_q(Q(pk__in=keys))
    return Condition(outer, connection)


def where(model: Model, condition: Any, row: IncomingRow, connection: Any) -> Condition:
    """Return the condition of ``where``, over the stored row and the incoming one.

    Raises:
        OptionError: It is no condition, or spans a relation.
        UnknownFieldError: Excluded names no field.
    """
    if not (isinstance(condition, Q) or getattr(condition, "conditional", False)):
        raise OptionError(
            f"where takes a Q or another condition, not one {type(condition).__name__}; "
            'a comparison is written Q(price__lt=Excluded("price"))'
        )
    query = Query(model)
    query.bulkupsert_row = row  # type: ignore[attr-defined]
    query.get_initial_alias()
    try:
        query.add_q(Q(condition))
    except (FieldError, TypeError, ValueError) as error:
        raise OptionError(f"where: {error}") from error
    except ValidationError as error:
        raise OptionError(f"where: {' '.join(error.messages)}") from error
    resolved = Condition(query, connection)
    if resolved.models is None:
        raise OptionError(
            "where spans a relation, and may only read the stored row and the incoming one; "
            "filter() the queryset by what is related"
        )
    if query.where.contains_aggregate or query.where.contains_over_clause:
        raise OptionError("where holds an aggregate or a window expression; one row has none")
    return resolved


class RowExpressions:
    """The expressions that rows hold in the place of values, each compiled once.

    Attributes:
        codes: Per column and position of a row, the number of the expression that it holds.
        fragments: Per column, its expressions by number.
    """

    def __init__(self, queryset: models.QuerySet[Any, Any], connection: Any) -> None:
        self.queryset = queryset
        self.connection = connection
        self.codes: dict[Column, dict[int, int]] = {}
        self.fragments: dict[Column, list[Fragment]] = {}
        self._numbers: dict[Any, int] = {}
        self._seen: dict[tuple[Column, int], tuple[Any, int]] = {}
        self._compilers: dict[Model, Any] = {}

    def add(self, column: Column, position: int, expression: Any) -> None:
        """Note that the row at ``position`` holds an expression for ``column``.

        Raises:
            FieldError: It can't stand in an UPDATE, as Django says.
        """
        seen = self._seen.get((column, id(expression)))
        if seen is None:
            fragment = self._compile(column, expression)
            code = self._number(column, fragment)
            if len(self._seen) >= MOST_SEEN:
                self._seen.clear()
            # The object is kept with its number, or another might get its id.
            self._seen[column, id(expression)] = expression, code
        else:
            code = seen[1]
        self.codes.setdefault(column, {})[position] = code

    def _number(self, column: Column, fragment: Fragment) -> int:
        fragments = self.fragments.setdefault(column, [])
        key = column, fragment.text, tuple(map(_identity, fragment.params))
        known = self._numbers.get(key)
        if known is None:
            known = self._numbers[key] = len(fragments)
            fragments.append(fragment)
        return known

    def _compile(self, column: Column, expression: Any) -> Fragment:
        """Do what Django's UPDATE does with an expression."""
        field: Any = column.field
        if type(expression) is DatabaseDefault:
            return column.cast(column.database_default())
        if isinstance(expression, Value) and "output_field" not in vars(expression):
            if expression.value is None:  # not JSON's null, which a JSONField would make of it
                return column.cast(raw("NULL"))
            expression = Value(expression.value, output_field=field)
        compiler = self._compiler(field.model._meta.concrete_model)
        resolved = expression.resolve_expression(compiler.query, allow_joins=False, for_save=True)
        for found, what in (
            (resolved.contains_aggregate, "Aggregate functions"),
            (resolved.contains_over_clause, "Window expressions"),
        ):
            if found:
                raise FieldError(f"{what} are not allowed in this query ({field.name}).")
        prepared = field.get_db_prep_save(resolved, self.connection)
        if not hasattr(prepared, "as_sql"):  # a JSONField takes the value out of a Value
            return self._cast(column, column.literal(prepared))
        placed = "%s"
        if column.placeholder is not None:
            placed = column.placeholder(prepared, compiler, self.connection)
        if isinstance(placed, str):
            sql, params = compiler.compile(prepared)
            sql = placed % sql
        else:
            sql, params = placed
        return self._cast(column, Fragment(sql, tuple(params)))

    def _cast(self, column: Column, fragment: Fragment) -> Fragment:
        """Return an expression as one of the column's type, where that can't cut a value."""
        name = column.field.db_type(self.connection) or ""
        if column.base_type is None and is_enum(self.connection, name):
            return compose("({sql})::{type}", sql=fragment, type=raw(name))
        return column.cast(fragment)

    def _compiler(self, model: Model) -> Any:
        """Return a compiler of updates of a model's own table; a parent has one of its own."""
        if model not in self._compilers:
            own = model is self.queryset.model._meta.concrete_model
            query: Any = self.queryset.query.chain(UpdateQuery) if own else UpdateQuery(model)
            query.get_initial_alias()
            self._compilers[model] = query.get_compiler(connection=self.connection)
        return self._compilers[model]

    def value(self, column: Column, row: Fragment, otherwise: Fragment) -> Fragment:
        """Return the value of a column whose rows hold expressions.

        Args:
            column: The column.
            row: The number of the row's expression; NULL where it holds a value.
            otherwise: The row's value.
        """
        return compose(
            "CASE WHEN {row} IS NULL THEN {otherwise} ELSE {chosen} END",
            row=row,
            otherwise=otherwise,
            chosen=_chosen(row, 0, self.fragments[column]),
        )


def _identity(param: Any) -> Any:
    """Return what is equal only for parameters that are the same to the server.

    1, 1.0 and True are equal to Python, as are 1.0 and 1.00, and the same moment in two zones.
    """
    if param is None or isinstance(param, _TOLD_BY_REPR):
        return type(param), repr(param)
    return type(param), id(param)  # alive as long as the fragment is


_TOLD_BY_REPR = (str, int, bytes, float, decimal.Decimal, datetime.date, uuid.UUID)


def _chosen(row: Fragment, first: int, fragments: list[Fragment]) -> Fragment:
    """Choose among fragments by a number, in a tree: a list would be read through per row."""
    if len(fragments) == 1:
        return fragments[0]
    middle = len(fragments) // 2
    return compose(
        "CASE WHEN {row} < {middle} THEN {low} ELSE {high} END",
        row=row,
        middle=raw(str(first + middle)),
        low=_chosen(row, first, fragments[:middle]),
        high=_chosen(row, first + middle, fragments[middle:]),
    )
