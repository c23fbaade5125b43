"""One reader per kind of row: model instances, mappings, sequences -> columns of values.

A reader knows which columns travel, which hold one value for all rows (``auto_now``, plain
defaults), and turns a list of rows into columns of values; column by column, not row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from types import SimpleNamespace
from typing import Any

from django.db import models

from .columns import Column
from .errors import (
    OptionError,
    RowFieldsError,
    RowTypeError,
    RowValueError,
    UnsavedRelatedError,
    listing,
)
from .fields import (
    DatabaseDefault,
    Field,
    has_database_default,
    has_own_pre_save,
    is_clock,
    is_generated,
)
from .target import Model, pk_fields, resolve_all


@dataclass(frozen=True)
class Constant:
    """A column that holds one value in every row of the call."""

    column: Column
    value: Any
    text: str | None
    on_update: bool  # whether an update writes it too (auto_now), not only an insert


class Reader:
    """Turns rows of one kind into columns.

    Attributes:
        given: The fields that the rows give, in their order.
        carried: The columns that travel in a relation.
        defaulted: Those of ``carried`` whose rows may leave the value to the database.
        constants: The columns that hold one value.
        missing: The columns that an insert needs and nothing gives.
    """

    def __init__(self, model: Model, given: Sequence[Field], column: Callable[[Field], Column]):
        self.model = model
        self.given = tuple(given)
        self.column = column
        self.carried: tuple[Column, ...] = ()
        self.defaulted: frozenset[Column] = frozenset()
        self.constants: tuple[Constant, ...] = ()
        self.missing: tuple[Column, ...] = ()

    def read(self, rows: list[Any], start: int) -> list[Sequence[Any]]:
        """Return the values of each carried column; ``start`` is the first row's index."""
        raise NotImplementedError

    def _clock(self, field: Field) -> Constant:
        """Read the clock for an auto_now or auto_now_add field, once for the call."""
        column = self.column(field)
        now = field.pre_save(SimpleNamespace(), True)  # type: ignore[arg-type]
        return Constant(column, now, column.encode([now]).values[0], bool(field.auto_now))  # type: ignore[attr-defined]


class InstanceReader(Reader):
    """Reads model instances: all their columns, as ``save()`` would write them."""

    def __init__(self, model: Model, column: Callable[[Field], Column]) -> None:
        given = [field for field in model._meta.concrete_fields if not is_generated(field)]
        super().__init__(model, given, column)
        carried = [field for field in given if not is_clock(field)]
        self.carried = tuple(map(column, carried))
        self.constants = tuple(self._clock(field) for field in given if is_clock(field))
        self.pk = [field for field in pk_fields(model) if field in carried]
        self.defaulted = frozenset(
            each
            for each in self.carried
            if each.field not in self.pk and has_database_default(each.field)
        )
        self.asked = [i for i, field in enumerate(carried) if has_own_pre_save(field)]
        self.getter = attrgetter(*(field.attname for field in carried))
        meta: Any = model._meta
        self.related = bool(meta.private_fields) or any(field.is_relation for field in carried)

    def read(self, rows: list[Any], start: int) -> list[Sequence[Any]]:
        """Return the values of each carried column."""
        self._check_types(rows, start)
        if self.related:
            self._check_related(rows, start)
        values = list(map(self.getter, rows))
        columns: list[Sequence[Any]] = (
            list(zip(*values, strict=True)) if len(self.carried) > 1 else [values]
        )
        for i in self.asked:
            field = self.carried[i].field
            columns[i] = [field.pre_save(row, True) for row in rows]
        for i, each in enumerate(self.carried):
            if each.field in self.pk:
                columns[i] = self._keys(each.field, columns[i])
        return columns

    def _check_types(self, rows: list[Any], start: int) -> None:
        own = self.model._meta.concrete_model
        wrong = {
            kind
            for kind in set(map(type, rows))
            if not issubclass(kind, models.Model) or kind._meta.concrete_model is not own
        }
        if wrong:
            offset = next(i for i, row in enumerate(rows) if type(row) in wrong)
            raise RowTypeError(
                start + offset,
                None,
                f"{described(rows[offset])}, where {self.model._meta.label} instances are written",
            )

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

    def _keys(self, field: Field, values: Sequence[Any]) -> Sequence[Any]:
        """Ask the primary key for the value of rows that have none, as saving does."""
        if None not in values and DatabaseDefault not in set(map(type, values)):
            return values
        ask: Any = field
        keys = [ask.get_pk_value_on_save(None) if item is None else item for item in values]
        return [None if type(item) is DatabaseDefault else item for item in keys]


class GivenReader(Reader):
    """Reads rows that name some fields; the others get their defaults, as ``Model()`` would."""

    def __init__(
        self, model: Model, given: Sequence[Field], column: Callable[[Field], Column]
    ) -> None:
        for field in given:
            if is_generated(field):
                raise OptionError(f"rows: {field.name!r} is generated by the database")
        super().__init__(model, given, column)
        self.calls: list[Field] = []  # filled per row, after the given ones
        constants: list[Constant] = []
        missing: list[Column] = []
        for field in model._meta.concrete_fields:
            if is_clock(field):
                constants.append(self._clock(field))
            elif field in given or is_generated(field):
                continue
            elif has_own_pre_save(field) or (field.has_default() and callable(field.default)):
                self.calls.append(field)
            elif (
                not isinstance(field, models.AutoField)
                and not getattr(field, "has_db_default", bool)()
            ):
                value = field.get_default()
                if value is not None:
                    text = column(field).encode([value]).values[0]
                    constants.append(Constant(column(field), value, text, on_update=False))
                elif not field.null:
                    missing.append(column(field))
        self.constants = tuple(constants)
        self.missing = tuple(missing)
        # A clock's column is not carried, even if the rows give it: saving overwrites it too.
        self.kept = [i for i, field in enumerate(given) if not is_clock(field)]
        self.carried = (
            *(column(given[i]) for i in self.kept),
            *map(column, self.calls),
        )
        self.asked = [i for i, each in enumerate(self.carried) if has_own_pre_save(each.field)]

    def _columns(self, rows: list[Any], start: int) -> list[Sequence[Any]]:
        raise NotImplementedError

    def read(self, rows: list[Any], start: int) -> list[Sequence[Any]]:
        """Return the values of each carried column."""
        read = self._columns(rows, start)
        columns = [self._related(self.given[i], read[i], start) for i in self.kept]
        for field in self.calls:
            columns.append([field.get_default() for _ in rows])
        if self.asked:
            names = [each.field.attname for each in self.carried]
            scratch = [
                self.model(**dict(zip(names, row, strict=True)))
                for row in zip(*columns, strict=True)
            ]
            for i in self.asked:
                field = self.carried[i].field
                columns[i] = [field.pre_save(row, True) for row in scratch]
        return columns

    def _related(self, field: Field, values: Sequence[Any], start: int) -> Sequence[Any]:
        """Put the key in the place of a related object."""
        if not field.is_relation or not any(
            issubclass(kind, models.Model) for kind in set(map(type, values))
        ):
            return values
        related: Any = field.related_model
        target: Any = field.target_field  # type: ignore[attr-defined]
        keys = []
        for offset, item in enumerate(values):
            key = item
            if isinstance(item, models.Model):
                if not isinstance(item, related._meta.concrete_model):
                    raise RowValueError(
                        start + offset,
                        field.name,
                        f"{described(item)}, where the field takes {related._meta.label}",
                    )
                key = getattr(item, target.attname)
                if item.pk is None or key is None:
                    raise UnsavedRelatedError(
                        start + offset,
                        field.name,
                        "bulk_upsert() prohibited to prevent data loss due to unsaved related "
                        f"object '{field.name}'.",
                    )
            keys.append(key)
        return keys


class MappingReader(GivenReader):
    """Reads mappings; the first one's keys are every row's keys."""

    def __init__(
        self, model: Model, first: Mapping[Any, Any], column: Callable[[Field], Column]
    ) -> None:
        self.keys = list(first)
        if not self.keys:
            raise RowFieldsError(0, None, "an empty mapping gives no field")
        given = resolve_all(model, self.keys, "rows")
        super().__init__(model, given, column)
        self.getter = itemgetter(*self.keys)

    def _columns(self, rows: list[Any], start: int) -> list[Sequence[Any]]:
        for kind in set(map(type, rows)):
            if not issubclass(kind, Mapping):
                offset = next(i for i, row in enumerate(rows) if type(row) is kind)
                raise RowTypeError(
                    start + offset, None, f"{described(rows[offset])}, where row 0 is a mapping"
                )
        try:
            if set(map(len, rows)) != {len(self.keys)}:
                raise KeyError
            values = list(map(self.getter, rows))
        except KeyError:
            self._differs(rows, start)
        return list(zip(*values, strict=True)) if len(self.keys) > 1 else [values]

    def _differs(self, rows: list[Any], start: int) -> None:
        keys = set(self.keys)
        offset = next(i for i, row in enumerate(rows) if set(row) != keys)
        missing = [key for key in self.keys if key not in rows[offset]]
        extra = [key for key in rows[offset] if key not in keys]
        reasons = []
        if missing:
            reasons.append(f"lacks {listing(map(repr, missing))}, which row 0 gives")
        if extra:
            reasons.append(f"gives {listing(map(repr, extra))}, which row 0 does not")
        raise RowFieldsError(start + offset, None, " and ".join(reasons)) from None


class SequenceReader(GivenReader):
    """Reads tuples and lists; ``fields`` names what they hold."""

    def __init__(
        self, model: Model, given: Sequence[Field], column: Callable[[Field], Column]
    ) -> None:
        super().__init__(model, given, column)

    def _columns(self, rows: list[Any], start: int) -> list[Sequence[Any]]:
        for kind in set(map(type, rows)):
            if not is_sequence(kind):
                offset = next(i for i, row in enumerate(rows) if type(row) is kind)
                raise RowTypeError(
                    start + offset, None, f"{described(rows[offset])}, where row 0 is a sequence"
                )
        if set(map(len, rows)) != {len(self.given)}:
            offset = next(i for i, row in enumerate(rows) if len(row) != len(self.given))
            raise RowFieldsError(
                start + offset,
                None,
                f"holds {len(rows[offset])} values, where fields= names {len(self.given)}",
            )
        return list(zip(*rows, strict=True))


def is_sequence(kind: type) -> bool:
    """Whether a row of this type is a sequence of values; a text is not."""
    return issubclass(kind, Sequence) and not issubclass(kind, str | bytes | bytearray)


def described(item: Any) -> str:
    """Say what a thing is that is not what it should be."""
    if isinstance(item, models.Model):
        return f"an instance of {item._meta.label}"
    return f"of type {type(item).__name__}" if item is not None else "None"
