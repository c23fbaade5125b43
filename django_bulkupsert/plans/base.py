"""What every plan has in common: the model, the connection, and the columns looked at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..columns import Column
from ..errors import OptionError, UnsupportedDatabase, UnsupportedModel, listing
from ..fields import Field
from ..relations import STRATEGIES, Slot
from ..sql import Fragment, identifier
from ..target import Model, pk_fields


class Plan:
    """A checked call.

    Attributes:
        model: The model.
        connection: The database's connection.
        strategy: The relation that the caller wants, or None.
        table: The table's quoted name.
        pk: The primary key's columns.
    """

    def __init__(self, model: Model, connection: Any, strategy: Any) -> None:
        if connection.vendor != "postgresql":
            raise UnsupportedDatabase(connection.alias, connection.vendor)
        meta: Any = model._meta
        if meta.abstract or meta.swapped:
            raise UnsupportedModel(
                f"{meta.label} is {'abstract' if meta.abstract else 'swapped out'}"
            )
        if strategy is not None and strategy not in STRATEGIES:
            raise OptionError(
                f"strategy is None or one of {listing(map(repr, STRATEGIES))}, not {strategy!r}"
            )
        self.model: Model = meta.concrete_model
        self.connection = connection
        self.strategy: str | None = strategy
        self.table: Fragment = identifier(meta.db_table)
        self._columns: dict[Field, Column] = {}
        self.pk = tuple(map(self.column, pk_fields(self.model)))

    def column(self, field: Field) -> Column:
        """Return the column of a field, looked at once per plan."""
        if field not in self._columns:
            self._columns[field] = Column.of(field, self.connection)
        return self._columns[field]

    def wants_exact_types(self, slots: Iterable[Slot]) -> bool:
        """Whether only the staging table, which copies the table's types, is sure to have them.

        Django makes no table for an unmanaged model, and no cast is known to be safe for the
        type of a field that isn't Django's.
        """
        return not self.model._meta.managed or any(slot.column.base_type is None for slot in slots)

    def check_castable(self, slots: Iterable[Slot]) -> None:
        """Refuse a forced strategy that would have to cast to a type not known here."""
        for slot in slots:
            if slot.column.base_type is None:
                field = slot.column.field
                raise OptionError(
                    f"strategy={self.strategy!r} can't carry {field.name!r}, whose type is "
                    f"{field.db_type(self.connection)}; leave strategy out, or pass 'copy'"
                )
