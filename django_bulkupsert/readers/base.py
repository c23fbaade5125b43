"""What readers have in common: a reader turns a list of rows into columns of values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any, TypeVar

from django.db import models

from ..columns import UNFIT, Column
from ..csvs.verbatim import Verbatim
from ..encode import Fault, Texts
from ..errors import OptionError, RowTypeError, RowValueError, UnsavedRelatedError
from ..fields import (
    DatabaseDefault,
    Field,
    has_database_default,
    has_own_pre_save,
    is_clock,
    makes_keys,
)
from ..names import Model, Named, pk_fields
from ..sql import Fragment, Hole, value
from .related import RelatedKeys

KeptT = TypeVar("KeptT")
ReaderT = TypeVar("ReaderT", bound="Reader")


@dataclass(frozen=True)
class Constant:
    """A column that holds one value in every row of the call.

    Attributes:
        column: The column.
        value: The value, as an instance holds it.
        sql: The value in a statement; its parameters are holes.
        values: What goes into these.
        texts: The value as text.
        on_update: Whether an update writes it too (auto_now), not only an insert.
    """

    column: Column
    value: Any
    sql: Fragment
    values: Mapping[Hole, Any]
    texts: Texts
    on_update: bool

    @classmethod
    def of(cls, column: Column, held: Any, *, on_update: bool) -> Constant:
        """Encode the value.

        Raises:
            OptionError: The column can't hold it.
        """
        try:
            texts = column.encode([held])
        except Fault as fault:
            raise OptionError(
                f"the default of {column.field.name!r} can't be stored: {fault.reason}"
            ) from fault.__cause__
        given = (texts.cells or {}).get(0) or value(texts.values[0])
        name = column.field.attname
        values = {Hole(f"{name}, {i}"): param for i, param in enumerate(given.params)}
        sql = column.cast(Fragment(given.text, tuple(values)))
        return cls(column, held, sql, values, texts, on_update)

    def now(self) -> Constant:
        """Return the constant of another call: a clock's has that call's time."""
        field = self.column.field
        if not is_clock(field):
            return self
        held = read_clock(field)
        texts = self.column.encode([held])
        if texts.cells:
            return Constant.of(self.column, held, on_update=self.on_update)
        values = dict.fromkeys(self.values, texts.values[0])
        return Constant(self.column, held, self.sql, values, texts, self.on_update)


def read_clock(field: Field) -> Any:
    """Return what saving would set an auto_now or auto_now_add field to."""
    return field.pre_save(SimpleNamespace(), True)  # type: ignore[arg-type]


class Reader:
    """Turns rows of one kind into columns.

    Attributes:
        given: The fields that the rows give, in their order.
        carried: The columns that travel in a relation.
        defaulted: Those of ``carried`` whose rows may leave the value to the database.
        constants: The columns that hold one value.
        missing: The columns that an insert needs and nothing gives.
        lent: The columns that the rows don't give, so that a stored row keeps its own.
        finders: What finds the keys of foreign keys that rows give by another field.
        coded: Those, where the columns hold what the rows give, for a join to find the keys; else
            none.
        asked: Which of ``carried`` are of fields that are asked for their values.
        operation: The method that reads the rows.
        pattern: The index of the row by which all are read.
    """

    operation = "bulk_upsert"
    pattern = 0
    asked: Sequence[int] = ()

    def __init__(self, model: Model, given: Sequence[Field], column: Callable[[Field], Column]):
        self.model = model
        self.given = tuple(given)
        self.column = column
        self.carried: tuple[Column, ...] = ()
        self.defaulted: frozenset[Column] = frozenset()
        self.constants: tuple[Constant, ...] = ()
        self.missing: tuple[Column, ...] = ()
        self.lent: tuple[Column, ...] = ()
        self.finders: Mapping[Column, RelatedKeys] = {}
        self.coded: Mapping[Column, RelatedKeys] = {}
        self._kept: dict[Hashable, Any] = {}

    def keep(self, key: Hashable, make: Callable[[], KeptT]) -> KeptT:
        """Return what was made for all calls with rows of this shape, made once."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]  # type: ignore[no-any-return]

    def renewed(self: ReaderT) -> ReaderT:
        """Return a reader for another call with rows of the same shape, which has its own time."""
        reader = object.__new__(type(self))
        vars(reader).update(vars(self))
        reader.constants = tuple([each.now() for each in self.constants])
        reader.finders = {column: finder.anew() for column, finder in self.finders.items()}
        reader.coded = {}
        return reader

    def join_keys(self) -> None:
        """Leave foreign keys to a join over all rows: what is read is what the rows give.

        Not where a field is asked for its value, of an object that should hold the key.
        """
        if not self.asked:
            self.coded = self.finders

    def sent(self, column: Column) -> tuple[str, Column]:
        """Return what messages call a column's values, and the column that they are texts of."""
        finder = self.coded.get(column)
        return (column.field.name, column) if finder is None else (finder.named.label, finder.leaf)

    def _related_keys(self, names: Iterable[Named]) -> None:
        """Settle what finds keys by what the rows name."""
        columns = {self.column(named.field): named for named in names if named.path is not None}
        self.finders = {
            column: RelatedKeys(named, column.connection) for column, named in columns.items()
        }

    def _found(self, column: Column, values: Sequence[Any], start: int) -> Sequence[Any]:
        """Return the keys of a column, or what they will be found by; other columns' as they are.

        Raises:
            RowValueError: A key can't be found.
        """
        if column not in self.finders or column in self.coded:
            return values
        return self.finders[column].keys(values, start)

    #: Takes a column, a chunk's start, the offset there, and an expression that a row holds;
    #: None: expressions are values like any.
    aside: Callable[[Column, int, int, Any], None] | None = None

    def is_plain(self, rows: Sequence[Any]) -> bool:  # noqa: ARG002
        """Whether reading these rows is sure to run no code of the caller's."""
        return False

    def verbatim(self) -> Verbatim | None:
        """Return what rows of a file have to be that are sent as they stand; None: all are read."""
        return None

    def made(self, count: int) -> list[Sequence[Any]]:  # noqa: ARG002
        """Return the values that are made for each of so many rows, column by column."""
        return []

    def held(self, rows: Any, offset: int, name: str) -> Any:  # noqa: ARG002
        """Return what a row holds for what is called so; None, if that is not known."""
        return None

    def foresee(self, rows: Any) -> None:
        """Prepare for reading rows again, one by one."""

    def read(self, rows: Sequence[Any], start: int) -> list[Sequence[Any]]:
        """Return the values of each carried column; ``start`` is the first row's index."""
        raise NotImplementedError

    def _clock(self, field: Field) -> Constant:
        """Read the clock for an auto_now or auto_now_add field, once for the call."""
        ticks = bool(field.auto_now)  # type: ignore[attr-defined]
        return Constant.of(self.column(field), read_clock(field), on_update=ticks)

    def _carry(self, carried: Sequence[Field]) -> None:
        """Settle what travels, and who has to be asked for it."""
        self.carried = tuple(map(self.column, carried))
        self.pk = [i for i, field in enumerate(carried) if field in pk_fields(self.model)]
        self.makes_keys = any(makes_keys(carried[i]) for i in self.pk)
        self.asked = [i for i, field in enumerate(carried) if has_own_pre_save(field)]
        self.defaulted = frozenset(
            column
            for i, column in enumerate(self.carried)
            if i not in self.pk and has_database_default(column.field)
        )

    @cached_property
    def _asks_fields(self) -> bool:
        """Whether a field or a primary key is asked for its values, which may run any code."""
        return bool(self.asked) or self.makes_keys

    def _ask(self, columns: list[Sequence[Any]], rows: Sequence[Any], start: int) -> None:
        """Ask the fields that want it for their values, as saving does.

        Raises:
            RowValueError: A field can't take what a row holds.
        """
        for i in self.asked:
            field, held, values = self.carried[i].field, columns[i], []
            for offset, row in enumerate(rows):
                try:
                    values.append(field.pre_save(row, True))
                except UNFIT as error:
                    kind = type(held[offset]).__name__
                    reason = f"the field's pre_save() can't take this {kind}"
                    raise RowValueError(start + offset, field.name, reason) from error
            columns[i] = values

    def _keys(self, columns: list[Sequence[Any]]) -> None:
        """Ask the primary key for the value of rows that have none, as saving does."""
        for i in self.pk:
            values = columns[i]
            ask: Any = self.carried[i].field
            if DatabaseDefault in set(map(type, values)) or (None in values and makes_keys(ask)):
                keys = [ask.get_pk_value_on_save(None) if key is None else key for key in values]
                columns[i] = [None if type(key) is DatabaseDefault else key for key in keys]


def check_types(
    rows: Sequence[Any], start: int, taken: Callable[[type], bool], instead: str
) -> None:
    """Check that each row is of a type that is taken.

    Raises:
        RowTypeError: One is not; ``instead`` says what it should be.
    """
    wrong = [kind for kind in set(map(type, rows)) if not taken(kind)]
    if wrong:
        offset = next(i for i, row in enumerate(rows) if type(row) in wrong)
        raise RowTypeError(start + offset, None, f"{described(rows[offset])}, where {instead}")


def check_related(
    rows: Sequence[Any], start: int, operation: str, fields: Sequence[Field] | None = None
) -> None:
    """Check that related objects are saved, and take over their keys, as saving does.

    Raises:
        UnsavedRelatedError: One is not.
    """
    for offset, row in enumerate(rows):
        if not row._state.fields_cache:
            continue
        try:
            row._prepare_related_fields_for_save(operation_name=operation, fields=fields)
        except ValueError as error:
            name = next(
                (
                    field.name
                    for field in fields or (*row._meta.concrete_fields, *row._meta.private_fields)
                    if field.is_relation
                    and field.name in row._state.fields_cache
                    and getattr(row._state.fields_cache[field.name], "pk", 0) is None
                ),
                None,
            )
            raise UnsavedRelatedError(start + offset, name, str(error)) from error


def is_sequence(kind: type) -> bool:
    """Whether a row of this type is a sequence of values; a text is not."""
    return issubclass(kind, Sequence) and not issubclass(kind, str | bytes | bytearray)


def described(item: Any) -> str:
    """Say what a thing is that is not what it should be."""
    if isinstance(item, models.Model):
        return f"an instance of {item._meta.label}"
    return f"of type {type(item).__name__}" if item is not None else "None"
