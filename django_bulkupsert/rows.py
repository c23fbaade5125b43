"""Rows of any kind to columns: model instances, mappings or sequences, walked once, in chunks.

The first row picks the reader; a reader knows which columns travel, which hold one value for
all rows (``auto_now``, plain defaults), and turns a list of rows into columns of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from operator import attrgetter, itemgetter
from types import SimpleNamespace
from typing import Any

from django.db import models
from django.db.models import expressions

from .columns import Column
from .encode import Fault, Texts
from .errors import (
    OptionError,
    RowFieldsError,
    RowTypeError,
    RowValueError,
    UnsavedRelatedError,
    listing,
)
from .target import Field, Model, pk_fields, resolve_all

#: Marks, on an instance, a field that the database's own default should fill (Django 5.0+).
DatabaseDefault: type = getattr(expressions, "DatabaseDefault", type("NoDatabaseDefault", (), {}))


@dataclass(frozen=True)
class Constant:
    """A column that holds one value in every row of the call."""

    column: Column
    value: Any
    text: str | None
    on_update: bool  # whether an update writes it too (auto_now), not only an insert


@dataclass(frozen=True)
class Chunk:
    """Some rows of the input, encoded: one Texts per column that travels, in order."""

    start: int
    count: int
    texts: list[Texts]

    @property
    def has_cells(self) -> bool:
        """Whether a value can't be carried as text: only VALUES can carry those."""
        return any(texts.cells for texts in self.texts)


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


def is_clock(field: Field) -> bool:
    """Whether the field is Django's own auto_now or auto_now_add."""
    return bool(
        getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    ) and _pre_save(field) in (
        models.DateField.pre_save,
        models.DateTimeField.pre_save,
        models.TimeField.pre_save,
    )


def has_own_pre_save(field: Field) -> bool:
    """Whether saving asks the field for its value, as a FileField wants."""
    return not is_clock(field) and _pre_save(field) not in (
        models.Field.pre_save,
        models.DateField.pre_save,
        models.DateTimeField.pre_save,
        models.TimeField.pre_save,
    )


def _pre_save(field: Field) -> Any:
    return type(field).pre_save


def is_generated(field: Field) -> bool:
    """Whether the database computes the column (GeneratedField, Django 5.0+)."""
    return bool(getattr(field, "generated", False))


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
            if each.field not in self.pk and getattr(each.field, "has_db_default", bool)()
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
                f"{_described(rows[offset])}, where {self.model._meta.label} instances are written",
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
                        f"{_described(item)}, where the field takes {related._meta.label}",
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
                    start + offset, None, f"{_described(rows[offset])}, where row 0 is a mapping"
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
            if not _is_sequence(kind):
                offset = next(i for i, row in enumerate(rows) if type(row) is kind)
                raise RowTypeError(
                    start + offset, None, f"{_described(rows[offset])}, where row 0 is a sequence"
                )
        if set(map(len, rows)) != {len(self.given)}:
            offset = next(i for i, row in enumerate(rows) if len(row) != len(self.given))
            raise RowFieldsError(
                start + offset,
                None,
                f"holds {len(rows[offset])} values, where fields= names {len(self.given)}",
            )
        return list(zip(*rows, strict=True))


class Rows:
    """The caller's rows behind a reader, pulled once and in order.

    Attributes:
        objects: The model instances pulled so far, where rows are instances; else None.
        count: How many rows were encoded so far.
        with_pk: How many of them gave a primary key.
    """

    def __init__(self, reader: Reader, iterator: Iterator[Any]) -> None:
        self.reader = reader
        self.iterator = iterator
        self.objects: list[Any] | None = [] if isinstance(reader, InstanceReader) else None
        self.count = 0
        self.with_pk = 0

    @cached_property
    def _pk(self) -> int | None:
        first = pk_fields(self.reader.model)[0]
        places = [i for i, each in enumerate(self.reader.carried) if each.field == first]
        return places[0] if places else None

    def pull(self, most: int | None) -> list[Any]:
        """Return the next rows, ``most`` at most."""
        return list(islice(self.iterator, most))

    def encode(self, rows: list[Any]) -> Chunk:
        """Return rows that were pulled as a chunk.

        Raises:
            RowError: A row can't be taken, with its index and field.
        """
        start = self.count
        reader = self.reader
        texts: list[Texts] = []
        for i, (column, values) in enumerate(
            zip(reader.carried, reader.read(rows, start), strict=True)
        ):
            flags: list[bool] = []
            given: Sequence[Any]
            if column in reader.defaulted:
                flags = [type(item) is DatabaseDefault for item in values]
                given = [None if flag else item for item, flag in zip(values, flags, strict=True)]
            else:
                given = values
            if i == self._pk:
                self.with_pk += len(given) - given.count(None)
            try:
                texts.append(column.encode(given))
            except Fault as fault:
                raise RowValueError(
                    start + fault.offset, column.field.name, fault.reason
                ) from fault.__cause__
            if flags:
                marks: list[str | None] = ["t" if flag else "f" for flag in flags]
                texts.append(Texts(marks, nulls=False, escape=False, quote=False))
        if self.objects is not None:
            self.objects.extend(rows)
        self.count += len(rows)
        return Chunk(start, len(rows), texts)


def open_rows(
    model: Model,
    rows: Iterable[Any],
    fields: Sequence[Field] | None,
    column: Callable[[Field], Column],
) -> Rows | None:
    """Look at the first row and pick the reader; None where there is no row.

    Raises:
        OptionError: ``fields`` doesn't go with rows of this kind.
        RowTypeError: The first row is of no kind that is taken, or of another model.
    """
    try:
        iterator = iter(rows)
    except TypeError:
        raise OptionError(
            "rows is an iterable of model instances, mappings or sequences, not "
            f"{_described(rows).removeprefix('of type ')}"
        ) from None
    for first in iterator:
        reader = _reader(model, first, fields, column)
        return Rows(reader, _chained(first, iterator))
    return None


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _reader(
    model: Model, first: Any, fields: Sequence[Field] | None, column: Callable[[Field], Column]
) -> Reader:
    if _is_sequence(type(first)):
        if fields is None:
            raise OptionError(
                f"row 0 is {_described(first)}; with rows that are sequences, fields= names "
                "what they hold"
            )
        return SequenceReader(model, fields, column)
    if fields is not None:
        raise OptionError(
            f"fields= names what sequences hold, and row 0 is {_described(first)}, "
            "which names its own"
        )
    if isinstance(first, models.Model):
        return InstanceReader(model, column)
    if isinstance(first, Mapping):
        return MappingReader(model, first, column)
    raise RowTypeError(
        0, None, f"{_described(first)}, where a row is a model instance, a mapping or a sequence"
    )


def _is_sequence(kind: type) -> bool:
    return issubclass(kind, Sequence) and not issubclass(kind, str | bytes | bytearray)


def _described(item: Any) -> str:
    if isinstance(item, models.Model):
        return f"an instance of {item._meta.label}"
    return f"of type {type(item).__name__}" if item is not None else "None"
