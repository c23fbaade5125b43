"""One column of the table: its name, its type, and how its values become text.

Which road values take is decided once per chunk of a column, by the set of their types: where
the field's class is Django's own and every value already is what that class would prepare, a
plain loop renders them; everything else goes through ``get_db_prep_save``, Django's road.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from types import NoneType
from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db.models.sql import InsertQuery

from .casts import cast_type, integer_bounds
from .encode import Fault, NoText, Texts, check_text, spread, text_of
from .fields import Field, is_djangos, wanted
from .lazy import LazyValues
from .loops import Digits, Renderer, check_range, ready
from .sql import Fragment, compose, identifier, raw, value


@dataclass(frozen=True, eq=False)
class Column:
    """A column that a call writes or matches by.

    Attributes:
        field: The model's field.
        name: The column's quoted name.
        table: Its table's, which with multi-table inheritance may be a parent's.
        base_type: Its type as casts name it, see casts; None: no cast is safe.
        collation: The model's own collation of the column, or None.
        ready: Per type, the loop for values that need no preparation.
        longest: The most characters that the column takes, or None.
        bounds: The least and the greatest integer that the column takes, or None.
        digits: The digits of a numeric column, or None.
        own: Whether ``ready`` runs no code of others: an encoder of JSON may even query.
        placeholder: The field's own ``get_placeholder_sql`` (or ``get_placeholder``), or None.
        fits: Whether values have to fit the column as they come in, before a transform.
        connection: The database's connection.
    """

    field: Field
    name: Fragment
    table: Fragment
    base_type: Fragment | None
    collation: str | None
    ready: Mapping[type, Renderer]
    own: bool
    longest: int | None
    bounds: tuple[int, int] | None
    digits: Digits | None
    placeholder: Callable[..., Any] | None
    fits: bool
    connection: Any

    @classmethod
    def of(cls, field: Field, connection: Any, *, fits: bool = True) -> Column:
        """Look at a concrete field once."""
        db_type = field.db_type(connection) or ""
        base = cast_type(db_type)
        varchar = re.fullmatch(r"(?:varchar|character varying) ?\((\d+)\)", db_type)
        longest = int(varchar[1]) if varchar and fits else None
        bounds = integer_bounds(field, base)
        digits = Digits.of(db_type)
        return cls(
            field=field,
            name=identifier(field.column or ""),
            table=identifier(field.model._meta.db_table),
            base_type=None if base is None else raw(base),
            collation=field.db_parameters(connection).get("collation"),
            ready=ready(field, longest, bounds, digits),
            own=getattr(field, "encoder", None) is None,
            longest=longest,
            bounds=bounds,
            digits=digits,
            placeholder=_placeholder(field),
            fits=fits,
            connection=connection,
        )

    @property
    def stored(self) -> Fragment:
        """The column in a statement, where its table is never given another name."""
        return compose("{table}.{name}", table=self.table, name=self.name)

    @property
    def is_text(self) -> bool:
        """Whether the type is ordered by a collation that the model does not name."""
        texts = (raw("varchar"), raw("text"))
        return self.collation is None and self.base_type in texts

    @property
    def is_told_by_text(self) -> bool:
        """Whether two values of the column are the same just when their texts are."""
        return self.collation is None and self.base_type in _TOLD_BY_TEXT

    def ordered(self, value: Fragment) -> Fragment:
        """Return what puts values of the column into an order that is the same everywhere."""
        return compose('{value}::text COLLATE "C"' if self.is_text else "{value}", value=value)

    def cast(self, value: Fragment) -> Fragment:
        """Return the value as one of the column's type, where a cast is safe."""
        if self.base_type is None:
            return value
        return compose("({value})::{type}", value=value, type=self.base_type)

    @property
    def collate(self) -> Fragment:
        """The COLLATE clause that makes a carried value compare as the column does."""
        if self.collation is None:
            return raw("")
        return Fragment(" COLLATE " + identifier(self.collation).text)

    def encode(
        self,
        values: Sequence[Any],
        aside: Callable[[int, Any], None] | None = None,
        pause: Callable[[], None] | None = None,
    ) -> Texts:
        """Return one chunk of the column as text.

        Args:
            values: The values, as rows hold them.
            aside: Takes the offset of an expression, and the expression, whose text is then
                None. Without it, expressions are cells.
            pause: Called before code runs that isn't Django's or ours.

        Raises:
            Fault: A value can't be stored; the offset is the one in ``values``.
        """
        if isinstance(values, LazyValues):
            taken = values.texts(self.bounds)
            if taken is not None:
                return taken
            values = values.values
        kinds = set(map(type, values))
        nulls = NoneType in kinds
        kinds.discard(NoneType)
        if not kinds:
            return Texts(list(values), nulls=True, escape=False, quote=False, sure=True)
        roads = set(map(self.ready.get, kinds))
        road = roads.pop() if len(roads) == 1 else None
        if pause is not None and not (road and self.own):
            pause()
        if road is None:
            return self._prepared(values, aside)
        if not nulls:
            return road(values) or self._prepared(values, aside)
        try:
            done = road([item for item in values if item is not None])
        except Fault as fault:
            places = [offset for offset, item in enumerate(values) if item is not None]
            raise Fault(places[fault.offset], fault.reason) from fault.__cause__
        if done is None:
            return self._prepared(values, aside)
        texts: Any = done.values  # none of them is None
        return replace(done, values=spread(values, texts), nulls=True)

    def _prepared(self, values: Sequence[Any], aside: Callable[[int, Any], None] | None) -> Texts:
        """Take Django's road: ``get_db_prep_save``, or SQL where the value is an expression."""
        cells: dict[int, Fragment] = {}
        texts: list[str | None] = []
        for offset, item in enumerate(values):
            text = None
            if aside is not None and hasattr(item, "resolve_expression"):
                aside(offset, item)
                texts.append(None)
                continue
            try:
                prepared = self._prepare(item)
                if hasattr(prepared, "as_sql"):
                    cells[offset] = self._compile(prepared)
                elif prepared is not None and self.placeholder is not None:
                    cells[offset] = self._place(prepared)
                elif prepared is not None:
                    text = self._checked(prepared)
            except NoText as error:
                if is_djangos(self.field):
                    raise Fault(offset, self._refusal(item)) from error
                cells[offset] = value(prepared)  # a class of the caller's, which the driver knows
            except Fault as fault:
                raise Fault(offset, fault.reason) from fault.__cause__
            except UNFIT as error:
                raise Fault(offset, self._refusal(item)) from error
            texts.append(text)
        return Texts(texts, nulls=None in texts, cells=cells or None)

    def _prepare(self, item: Any) -> Any:
        """Do what Django's INSERT does with one value before it reaches the driver."""
        if isinstance(item, type):
            raise TypeError("a class")
        if hasattr(item, "resolve_expression"):
            item = item.resolve_expression(
                InsertQuery(self.field.model), allow_joins=False, for_save=True
            )
            if item.contains_column_references:
                raise Fault(0, "an expression that reads a column, such as F(), can't be inserted")
            if item.contains_aggregate or item.contains_over_clause:
                raise Fault(0, "an aggregate or a window expression can't be inserted")
        return self.field.get_db_prep_save(item, self.connection)

    def literal(self, prepared: Any) -> Fragment:
        """Return a prepared value as SQL."""
        if self.placeholder is not None:
            return self._place(prepared)
        try:
            return value(text_of(prepared))
        except NoText:
            return value(prepared)

    def _checked(self, prepared: Any) -> str:
        if self.base_type == raw("interval") and not isinstance(prepared, timedelta | str):
            raise TypeError("the server would take a number for seconds")
        if self.digits is not None and isinstance(prepared, Decimal):
            return self.digits.text(prepared)
        text = text_of(prepared)
        check_text([text], self.longest)
        if self.bounds is not None and isinstance(prepared, int):
            check_range([prepared], self.bounds)
        return text

    def database_default(self) -> Fragment:
        """Return the expression of the field's db_default, as Django compiles it."""
        field: Any = self.field
        compiler = self._compiler()
        expression = field._db_default_expression.resolve_expression(
            compiler.query, allow_joins=False
        )
        sql, params = compiler.compile(expression)
        return Fragment(f"({sql})", tuple(params))

    def _compiler(self) -> Any:
        return InsertQuery(self.field.model).get_compiler(connection=self.connection)

    def _compile(self, expression: Any) -> Fragment:
        sql, params = self._compiler().compile(expression)
        return Fragment(sql, tuple(params))

    def _place(self, prepared: Any) -> Fragment:
        placed = self.placeholder(prepared, self._compiler(), self.connection)  # type: ignore[misc]
        if isinstance(placed, str):
            return Fragment(placed, (prepared,))
        sql, params = placed
        return Fragment(sql, tuple(params))

    def _refusal(self, item: Any) -> str:
        """Say what the value is not; the value itself is not for a log."""
        return f"this {type(item).__name__} can't be read as {wanted(self.field)}"

    @cached_property
    def loader(self) -> Callable[[Any], Any] | None:
        """What turns a value as the driver gives it into a field's; None: nothing."""
        column = self.field.get_col(self.field.model._meta.db_table)
        steps: list[Any] = [
            *self.connection.ops.get_db_converters(column),
            *column.get_db_converters(self.connection),
        ]
        if not steps:
            return None

        def load(stored: Any) -> Any:
            for convert in steps:
                stored = convert(stored, column, self.connection)
            return stored

        return load


#: What a field raises when it is given a value that it can't take.
UNFIT = (
    TypeError, ValueError, ArithmeticError, AttributeError, LookupError, ValidationError, FieldError
)  # fmt: skip

#: Types of which a value has one text, as it is written here; of a collation of the model's own
#: two texts may be one.
_TOLD_BY_TEXT = [
    raw(name) for name in ("smallint", "integer", "bigint", "uuid", "date", "varchar", "text")
]


def _placeholder(field: Any) -> Callable[..., Any] | None:
    """Return the method that wraps a field's placeholder, unless it is one of Django's casts."""
    for name in ("get_placeholder_sql", "get_placeholder"):
        for cls in type(field).__mro__:
            if name in vars(cls):
                return None if is_djangos(cls) else getattr(field, name)
    return None
