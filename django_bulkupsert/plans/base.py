"""What every plan has in common: the model, the connection, and the columns looked at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..columns import Column
from ..errors import OptionError, UnsupportedDatabase, UnsupportedModel, listing
from ..fields import Field
from ..names import Model, Named, name_list, named_all, pk_fields, resolve_all
from ..relations import STRATEGIES, Slot
from ..sql import Fragment, identifier


def check_batch_size(size: Any) -> None:
    """Check ``batch_size``, which is None or a positive integer.

    Raises:
        OptionError: It is neither, as Django says.
    """
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size <= 0):
        raise OptionError(f"Batch size must be a positive integer. Got {size!r}.")


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

    def sequence_fields(self, names: Any) -> tuple[Named, ...] | None:
        """Return what ``fields`` names, which rows that are sequences hold.

        Raises:
            UnknownFieldError: A name is no column.
            OptionError: It is no list of names, or an empty one.
        """
        if names is None:
            return None
        found = named_all(self.model, names, "fields")
        if not found:
            raise OptionError("fields is empty; it names what rows that are sequences hold")
        return tuple(found)

    def returned(self, names: Any) -> tuple[tuple[str, Column], ...] | None:
        """Return what ``returning`` asks for: the names, as they were given, and their columns.

        Raises:
            UnknownFieldError: A name is no column.
            OptionError: It is no list of names, or an empty one.
        """
        if names is None or names is False:
            return None
        if names is True:
            names = [field.name for field in self.model._meta.concrete_fields]
        names = name_list(names, "returning", refused=Mapping)
        found = resolve_all(self.model, names, "returning")
        if not found:
            raise OptionError("returning is empty; leave it out, or name the fields to return")
        # "pk" may be several fields.
        called = names if len(names) == len(found) else [field.name for field in found]
        return tuple(zip(called, map(self.column, found), strict=True))

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
