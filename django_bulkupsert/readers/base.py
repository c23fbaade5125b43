"""What readers have in common: a reader turns a list of rows into columns of values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from types import SimpleNamespace
from typing import Any, TypeVar

from django.db import connections, models
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute

from ..columns import Column
from ..encode import Fault, Texts
from ..errors import OptionError, RowTypeError, UnsavedRelatedError
from ..fields import (
    DatabaseDefault,
    Field,
    has_database_default,
    has_own_pre_save,
    is_clock,
)
from ..names import Model, pk_fields
from ..sql import Fragment, Hole, value

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


class Reader:
    """Turns rows of one kind into columns.

    Attributes:
        given: The fields that the rows give, in their order.
        carried: The columns that travel in a relation.
        defaulted: Those of ``carried`` whose rows may leave the value to the database.
        constants: The columns that hold one value.
        missing: The columns that an insert needs and nothing gives.
        lent: The columns that the rows don't give, so that a stored row keeps its own.
    """

    def __init__(self, model: Model, given: Sequence[Field], column: Callable[[Field], Column]):
        self.model = model
        self.given = tuple(given)
        self.column = column
        self.carried: tuple[Column, ...] = ()
        self.defaulted: frozenset[Column] = frozenset()
        self.constants: tuple[Constant, ...] = ()
        self.missing: tuple[Column, ...] = ()
        self.lent: tuple[Column, ...] = ()
        self._kept: dict[Hashable, Any] = {}

    def keep(self, key: Hashable, make: Callable[[], KeptT]) -> KeptT:
        """Return what was made for all calls with rows of this shape, made once."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]  # type: ignore[no-any-return]

    def renewed(self: ReaderT) -> ReaderT:
        """Return a reader for another call with rows of the same shape, which has its own time."""
        reader = copy(self)
        reader.constants = tuple(
            self._clock(each.column.field) if is_clock(each.column.field) else each
            for each in self.constants
        )
        return reader

    #: Takes a column, a chunk's start, the offset there, and an expression that a row holds;
    #: None: expressions are values like any.
    aside: Callable[[Column, int, int, Any], None] | None = None

    def read(self, rows: Sequence[Any], start: int) -> list[Sequence[Any]]:
        """Return the values of each carried column; ``start`` is the first row's index."""
        raise NotImplementedError

    def _clock(self, field: Field) -> Constant:
        """Read the clock for an auto_now or auto_now_add field, once for the call."""
        now = field.pre_save(SimpleNamespace(), True)  # type: ignore[arg-type]
        ticks = bool(field.auto_now)  # type: ignore[attr-defined]
        return Constant.of(self.column(field), now, on_update=ticks)

    def _carry(self, carried: Sequence[Field]) -> None:
        """Settle what travels, and who has to be asked for it."""
        self.carried = tuple(map(self.column, carried))
        self.pk = [i for i, field in enumerate(carried) if field in pk_fields(self.model)]
        self.asked = [i for i, field in enumerate(carried) if has_own_pre_save(field)]
        self.defaulted = frozenset(
            column
            for i, column in enumerate(self.carried)
            if i not in self.pk and has_database_default(column.field)
        )

    def _keys(self, columns: list[Sequence[Any]]) -> None:
        """Ask the primary key for the value of rows that have none, as saving does."""
        for i in self.pk:
            values = columns[i]
            if None in values or DatabaseDefault in set(map(type, values)):
                ask: Any = self.carried[i].field
                keys = [ask.get_pk_value_on_save(None) if key is None else key for key in values]
                columns[i] = [None if type(key) is DatabaseDefault else key for key in keys]


def check_types(
    rows: Sequence[Any], start: int, taken: Callable[[type], bool], instead: str
) -> None:
    """Check that each row is of a type that is taken.

    Raises:
        RowTypeError: One is not; ``instead`` says what it should be.
    """
    wrong = {kind for kind in set(map(type, rows)) if not taken(kind)}
    if wrong:
        offset = next(i for i, row in enumerate(rows) if type(row) in wrong)
        raise RowTypeError(start + offset, None, f"{described(rows[offset])}, where {instead}")


def attributes(model: Model, rows: Sequence[Any], names: Sequence[str]) -> list[Sequence[Any]]:
    """Return the named attributes of instances, column by column.

    What an instance holds is read from its __dict__, unless the field wants to be asked. Of many
    instances that is not done, unless a field is a relation, whose own way to its value is slow:
    Python would have to make each __dict__ first.

    Raises:
        KeyError: An instance doesn't hold one: it is deferred.
    """
    kinds = set(map(type, rows))
    plain = {
        name for name in names if all(type(getattr(k, name)) is DeferredAttribute for k in kinds)
    }
    if len(plain) == len(names) and len(rows) > BLOCK_ROWS:
        with no_queries():
            return _blocks(rows, [attrgetter(name) for name in names])
    held: list[dict[str, Any]] = [row.__dict__ for row in rows]
    lazy = {name for name in names if isinstance(getattr(model, name), DeferredAttribute)}
    if any(map(lazy.difference, held)):
        raise KeyError(next(iter(lazy)))
    plain |= {
        name
        for name in names
        if all(type(getattr(k, name)) is ForeignKeyDeferredAttribute for k in kinds)
    }
    return [
        list(map(itemgetter(name), held) if name in plain else map(attrgetter(name), rows))
        for name in names
    ]


def _blocks(rows: Sequence[Any], getters: Sequence[Callable[[Any], Any]]) -> list[Sequence[Any]]:
    """Return what the getters get, column by column, a block of rows at a time."""
    columns: list[list[Any]] = [[] for _ in getters]
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        for getter, column in zip(getters, columns, strict=True):
            column.extend(map(getter, block))
    return columns  # type: ignore[return-value]  # of sequences, if of lists


@contextmanager
def no_queries() -> Iterator[None]:
    """Refuse every query: an attribute that is not there would be loaded, row by row.

    Raises:
        KeyError: There was one.
    """

    def refuse(*_: Any) -> None:
        raise KeyError("deferred")

    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(refuse))
        yield


#: Instances that are read at a time, column by column, while the processor's cache still has
#: them. Set by benchmarks/thresholds.py.
BLOCK_ROWS = 500


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
