"""The expressions that rows hold in the place of values."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

from django.db import models
from django.db.models.sql import UpdateQuery

from ..columns import Column
from ..names import Model
from ..sql import Fragment, compose, quoting, raw
from .assignments import assignment

#: Expressions that are known again as objects; those of an endless input are not kept.
MOST_SEEN = 1_000


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
            model: Any = column.field.model
            compiler = self._compiler(model._meta.concrete_model)
            fragment = assignment(column, expression, compiler)
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

    def _compiler(self, model: Model) -> Any:
        """Return a compiler of updates of a model's own table; a parent has one of its own."""
        if model not in self._compilers:
            own = model is self.queryset.model._meta.concrete_model
            query: Any = self.queryset.query.chain(UpdateQuery) if own else UpdateQuery(model)
            query.get_initial_alias()
            self._compilers[model] = quoting(query.get_compiler(connection=self.connection))
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
    if isinstance(param, int):  # the driver has classes of its own
        return type(param), int.__repr__(param)
    if param is None or type(param) in _TOLD_BY_REPR:  # a class of the caller's may not tell
        return type(param), repr(param)
    return type(param), id(param)  # alive as long as the fragment is


_TOLD_BY_REPR = frozenset([
    str, bytes, float, decimal.Decimal, datetime.date, datetime.datetime, uuid.UUID,
])  # fmt: skip


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
