"""Conditions on stored rows: a queryset's own filter, and ``where=``."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import models
from django.db.models import Q
from django.db.models.sql import Query

from ..errors import OptionError
from ..expressions import IncomingRow, Values
from ..names import Model
from ..sql import Fragment, quoting, raw
from .checks import check_instance, refused_as

NOTHING = raw("false")
EVERYTHING = raw("true")


class Condition:
    """A condition on the stored rows of a model's tables, compiled when it is asked for.

    Attributes:
        models: The models, the condition's own and parents of it, whose tables it reads.
    """

    def __init__(self, query: Query, connection: Any, row: IncomingRow | None = None) -> None:
        self.query = query
        self.connection = connection
        self.row = row
        self.models = _joined(query)

    def fragment(self, incoming: Values | None = None) -> Fragment:
        """Return the condition as SQL, which names tables by their own names.

        Args:
            incoming: What the incoming row brings for a field, if the condition asks for that.
        """
        if self.row is not None and incoming is not None:
            self.row.values = incoming
        found = compiled(self.query.where, self.query, self.connection)
        if found is NOTHING or found is EVERYTHING:
            return found
        return Fragment(f"({found.text})" if found.text else "true", found.params)


def compiled(node: Any, query: Query, connection: Any) -> Fragment:
    """Return a resolved expression or condition as Django compiles it for a query."""
    compiler = quoting(query.get_compiler(connection=connection))
    try:
        sql, params = compiler.compile(node)
    except EmptyResultSet:
        return NOTHING
    except FullResultSet:
        return EVERYTHING
    return Fragment(sql, tuple(params))


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


def where(
    model: Model, condition: Any, row: IncomingRow, connection: Any, hint: str = ""
) -> Condition:
    """Return the condition of ``where``, over the stored row and the incoming one.

    Raises:
        OptionError: It is no condition, or spans a relation.
        UnknownFieldError: Excluded names no field.
    """
    check_instance(condition, "where")
    with refused_as("where"):
        is_condition = isinstance(condition, Q) or getattr(condition, "conditional", False)
    if not is_condition:
        raise OptionError(
            f"where takes a Q or another condition, not {type(condition).__name__}; "
            'a comparison is written Q(price__lt=Excluded("price"))'
        )
    query = Query(model)
    query.bulkupsert_row = row  # type: ignore[attr-defined]
    query.get_initial_alias()
    with refused_as("where"):
        query.add_q(Q(condition))
        resolved = Condition(query, connection, row)
        if resolved.models is not None:
            resolved.fragment(lambda _field: raw("NULL"))
    if resolved.models is None:
        raise OptionError(
            f"where spans a relation, and may only read the stored row and the incoming one{hint}"
        )
    if query.where.contains_aggregate or query.where.contains_over_clause:
        raise OptionError("where holds an aggregate or a window expression; one row has none")
    return resolved
