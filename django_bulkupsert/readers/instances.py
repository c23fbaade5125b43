"""Rows that are model instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import models

from ..columns import Column
from ..errors import RowFieldsError, listing
from ..fields import Field, is_clock, is_generated
from ..names import Model
from .attributes import Attributes
from .base import Reader, check_related, check_types


class InstanceReader(Reader):
    """Reads model instances: all their columns, as ``save()`` of a new one would write them."""

    def __init__(self, model: Model, column: Callable[[Field], Column]) -> None:
        # All of the model's, but for those that are in the tables of parents.
        given = [field for field in model._meta.local_concrete_fields if not is_generated(field)]
        super().__init__(model, given, column)
        carried = [field for field in given if not is_clock(field)]
        self._carry(carried)
        self.constants = tuple(self._clock(field) for field in given if is_clock(field))
        self.names = [field.attname for field in carried]
        self.attributes = Attributes(model, self.names)
        meta: Any = model._meta
        self.related = bool(meta.private_fields) or any(field.is_relation for field in carried)

    def is_plain(self, rows: Sequence[Any]) -> bool:
        """Whether reading these rows is sure to run no code of the caller's."""
        asks = self._asks_fields or self.related
        return not asks and set(map(type, rows)) == {self.model} and self.attributes.is_plain

    def held(self, rows: Any, offset: int, name: str) -> Any:
        """Return what an instance holds for a field; see Reader."""
        field: Any = self.model._meta.get_field(name)
        return vars(rows[offset]).get(field.attname)

    def read(self, rows: Sequence[Any], start: int) -> list[Sequence[Any]]:
        """Return the values of each carried column."""
        check_types(rows, start, self._takes, f"{self.model._meta.label} instances are written")
        if self.related:
            check_related(rows, start, self.operation)
        columns = self._held(rows, start)
        self._ask(columns, rows, start)
        self._keys(columns)
        return columns

    def _held(self, rows: Sequence[Any], start: int) -> list[Sequence[Any]]:
        try:
            return self.attributes(rows)
        except KeyError:
            self._check_deferred(rows, start)
            raise

    def _takes(self, kind: type) -> bool:
        """Whether a class is the model's own, or a proxy of it."""
        own = self.model._meta.concrete_model
        return issubclass(kind, models.Model) and kind._meta.concrete_model is own

    def _check_deferred(self, rows: Sequence[Any], start: int) -> None:
        for offset, row in enumerate(rows):
            deferred = [name for name in self.names if name not in row.__dict__]
            if deferred:
                raise RowFieldsError(
                    start + offset,
                    None,
                    f"{listing(map(repr, deferred))} deferred, and reading that would take a query "
                    "for each row; load the instances without only() and defer()",
                ) from None


class TableReader(InstanceReader):
    """Reads what instances of a model with parents have in the table of one of these.

    Args:
        model: The model whose table it is.
        column: Returns the column of a field.
        keys: Per attribute, the values that it has, whatever the instances hold.
    """

    def __init__(
        self,
        model: Model,
        column: Callable[[Field], Column],
        keys: Mapping[str, Sequence[Any]],
    ) -> None:
        super().__init__(model, column)
        self.keys = keys

    def _takes(self, kind: type) -> bool:
        return issubclass(kind, self.model)

    def _held(self, rows: Sequence[Any], start: int) -> list[Sequence[Any]]:
        columns = super()._held(rows, start)
        for i, name in enumerate(self.names):
            if name in self.keys:
                columns[i] = self.keys[name][start : start + len(rows)]
        return columns
