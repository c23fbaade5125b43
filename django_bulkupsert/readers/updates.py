"""Model instances of which some fields are to be updated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.core.exceptions import FieldError
from django.db import models

from ..columns import Column
from ..compiling import RowExpressions
from ..errors import RowExpressionError, RowFieldsError
from ..fields import DatabaseDefault, Field
from ..names import Model
from .attributes import Attributes
from .base import Reader, check_related, check_types


class UpdateReader(Reader):
    """Reads the fields that are updated, and those by which rows are matched.

    As in Django's ``bulk_update``, the values are what the instances hold: no field is asked
    what it would like to save. Expressions are set aside.

    Attributes:
        expressions: Takes those of a call; set for each.
    """

    expressions: RowExpressions
    operation = "bulk_update"

    def __init__(
        self,
        model: Model,
        *,
        match: Sequence[Column],
        fields: Sequence[Column],
        further: Sequence[Column],
        clocks: Sequence[Field],
        by_pk: bool,
        column: Callable[[Field], Column],
    ) -> None:
        super().__init__(model, [each.field for each in fields], column)
        self.carried = tuple(dict.fromkeys((*match, *fields, *further)))
        self.constants = tuple(map(self._clock, clocks))
        self.names = [each.field.attname for each in self.carried]
        self.attributes = Attributes(model, self.names)
        self.updated = set(fields)
        self.matched = len(match)
        self.by_pk = by_pk
        self.read_fields = [each.field for each in self.carried]
        self.related = any(field.is_relation for field in self.read_fields)

    def read(self, rows: Sequence[Any], start: int) -> list[Sequence[Any]]:
        """Return the values of each carried column."""
        columns = self.attributes_of(rows, start)
        if self.by_pk:
            for values in columns[: self.matched]:
                if None in values:
                    raise _without_pk(start + list(values).index(None))
        return columns

    def attributes_of(self, rows: Sequence[Any], start: int) -> list[Sequence[Any]]:
        """Return what the rows hold for each carried column."""
        check_types(
            rows, start, self._takes, f"bulk_update() takes {self.model._meta.label} instances"
        )
        if self.related:
            check_related(rows, start, self.operation, self.read_fields)
        try:
            return self.attributes(rows)
        except KeyError:  # some are deferred: they are loaded one by one, as Django does
            return [[getattr(row, name) for row in rows] for name in self.names]

    def _takes(self, kind: type) -> bool:
        """Whether a class has the model's fields: itself, a proxy of it, or a child."""
        own: Any = self.model._meta.concrete_model
        if issubclass(kind, own):
            return True
        # A migration's own class of the model, or the other way round.
        return issubclass(kind, models.Model) and kind._meta.label == own._meta.label

    def aside(self, column: Column, start: int, offset: int, expression: Any) -> None:
        """Set an expression aside."""
        position, name = start + offset, column.field.name
        if column not in self.updated:
            if type(expression) is DatabaseDefault and self.by_pk:
                raise _without_pk(position)
            raise RowExpressionError(
                position, name, "an SQL expression, where rows are matched or compared by a value"
            )
        if isinstance(expression, type):
            raise RowExpressionError(
                position, name, f"the class {expression.__name__}, where an instance is wanted"
            )
        try:
            self.expressions.add(column, position, expression)
        except (FieldError, TypeError, ValueError) as error:
            raise RowExpressionError(position, name, str(error)) from error


def _without_pk(position: int) -> RowFieldsError:
    return RowFieldsError(
        position,
        None,
        "All bulk_update() objects must have a primary key set. Save it, or name match_fields.",
    )
