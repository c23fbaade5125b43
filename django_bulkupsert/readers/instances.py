"""Rows that are model instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from django.db import models
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute

from ..columns import Column
from ..errors import RowFieldsError, UnsavedRelatedError, listing
from ..fields import Field, is_clock, is_generated
from ..target import Model
from .base import Reader, check_types

_PLAIN = (DeferredAttribute, ForeignKeyDeferredAttribute)


class InstanceReader(Reader):
    """Reads model instances: all their columns, as ``save()`` of a new one would write them."""

    def __init__(self, model: Model, column: Callable[[Field], Column]) -> None:
        given = [field for field in model._meta.concrete_fields if not is_generated(field)]
        super().__init__(model, given, column)
        carried = [field for field in given if not is_clock(field)]
        self._carry(carried)
        self.constants = tuple(self._clock(field) for field in given if is_clock(field))
        self.names = [field.attname for field in carried]
        meta: Any = model._meta
        self.related = bool(meta.private_fields) or any(field.is_relation for field in carried)

    def read(self, rows: list[Any], start: int) -> list[Sequence[Any]]:
        """Return the values of each carried column."""
        check_types(rows, start, self._takes, f"{self.model._meta.label} instances are written")
        if self.related:
            self._check_related(rows, start)
        # What an instance holds is read from its __dict__, unless the field wants to be asked.
        held = [row.__dict__ for row in rows]
        plain = set(self.names).intersection(*map(self._plain, set(map(type, rows))))
        lazy = {
            name
            for name in set(self.names) - plain
            if isinstance(getattr(self.model, name), DeferredAttribute)
        }
        if lazy and any(map(lazy.difference, held)):
            self._check_deferred(rows, start)
        try:
            columns: list[Sequence[Any]] = [
                list(map(itemgetter(name), held))
                if name in plain
                else [getattr(row, name) for row in rows]
                for name in self.names
            ]
        except KeyError:
            self._check_deferred(rows, start)
            raise
        for i in self.asked:
            field = self.carried[i].field
            columns[i] = [field.pre_save(row, True) for row in rows]
        self._keys(columns)
        return columns

    def _plain(self, kind: type) -> set[str]:
        """Return the names that a class reads from the instance's __dict__ and nowhere else."""
        return {name for name in self.names if type(getattr(kind, name)) in _PLAIN}

    def _takes(self, kind: type) -> bool:
        """Whether a class is the model's own, or a proxy of it."""
        own = self.model._meta.concrete_model
        return issubclass(kind, models.Model) and kind._meta.concrete_model is own

    def _check_deferred(self, rows: list[Any], start: int) -> None:
        for offset, row in enumerate(rows):
            deferred = [name for name in self.names if name not in row.__dict__]
            if deferred:
                raise RowFieldsError(
                    start + offset,
                    None,
                    f"{listing(map(repr, deferred))} deferred, and would take a query of each row; "
                    "load the instance whole",
                ) from None

    def _check_related(self, rows: list[Any], start: int) -> None:
        for offset, row in enumerate(rows):
            if not row._state.fields_cache:
                continue
            try:
                row._prepare_related_fields_for_save(operation_name="bulk_upsert")
            except ValueError as error:
                name = next(
                    (
                        field.name
                        for field in (*row._meta.concrete_fields, *row._meta.private_fields)
                        if field.is_relation
                        and field.name in row._state.fields_cache
                        and getattr(row._state.fields_cache[field.name], "pk", 0) is None
                    ),
                    None,
                )
                raise UnsavedRelatedError(start + offset, name, str(error)) from error
