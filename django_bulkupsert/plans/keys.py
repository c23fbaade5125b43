"""The parts of a key, each as SQL over a stored row, over a row that comes in, in the index."""

from __future__ import annotations

from typing import Any

from django.db.models import Field as DjangoField
from django.db.models.functions import Collate

from ..columns import Column
from ..compiling import Term
from ..expressions import Values
from ..fields import Field
from ..names import Model
from ..sql import Fragment, compose, identifier


class KeyPart:
    """One part of what rows are matched by.

    Attributes:
        name: The part, for people.
        column: The column, where the part is one.
        fields: The fields that it reads.
        nullable: Whether it may be NULL.
    """

    name: str
    column: Column | None
    fields: tuple[Field, ...]
    nullable: bool

    def stored(self) -> Fragment:
        """Return the part over the stored row."""
        raise NotImplementedError

    def of(self, incoming: Values) -> Fragment:
        """Return the part over a row that brings these values."""
        raise NotImplementedError

    def indexed(self) -> Fragment:
        """Return the part as ON CONFLICT names it."""
        raise NotImplementedError

    def ordered(self, value: Fragment) -> Fragment:
        """Return what puts values of the part into an order that is the same everywhere."""
        raise NotImplementedError


class ColumnPart(KeyPart):
    """A part that is a column."""

    column: Column

    def __init__(self, column: Column) -> None:
        self.column = column
        self.name = column.field.name
        self.fields = (column.field,)
        self.nullable = column.field.null

    def stored(self) -> Fragment:
        """Return the stored column."""
        return self.column.stored

    def of(self, incoming: Values) -> Fragment:
        """Return what the row brings."""
        return incoming(self.column.field)

    def indexed(self) -> Fragment:
        """Return the column's name."""
        return self.column.name

    def ordered(self, value: Fragment) -> Fragment:
        """Return the value, or its bytes where a collation that is not known would order it."""
        return self.column.ordered(value)


class ExpressionPart(KeyPart):
    """A part that is an expression of an index: ``Lower("email")``."""

    def __init__(self, model: Model, expression: Any, connection: Any) -> None:
        self.name = str(expression)
        self.column = None
        self.nullable = True
        self.collation: str | None = None
        self.term = Term(model, expression, connection)
        self.fields = self.term.fields
        if isinstance(expression, Collate):
            self.collation = expression.collation  # type: ignore[attr-defined]
            expression = expression.get_source_expressions()[0]
        self.bare = Term(model, expression, connection)

    def stored(self) -> Fragment:
        """Return the expression over the stored row."""
        return self.term.stored()

    def of(self, incoming: Values) -> Fragment:
        """Return the expression over a row that brings these values."""
        return self.term.of(incoming)

    def ordered(self, value: Fragment) -> Fragment:
        """Return the value, or its bytes where it is a text, or may be one."""
        template = '({value})::text COLLATE "C"' if self.term.is_text else "({value})"
        return compose(template, value=value)

    def indexed(self) -> Fragment:
        """Return the expression, its collation outside."""
        bare = compose("({term})", term=self.bare.indexed())
        if self.collation is None:
            return bare
        return compose(
            "{term} COLLATE {collation}", term=bare, collation=identifier(self.collation)
        )


def key_part(model: Model, part: Any, column: Any, connection: Any) -> KeyPart:
    """Return a part of a target: of a field, or of an expression."""
    if isinstance(part, DjangoField):
        return ColumnPart(column(part))
    return ExpressionPart(model, part, connection)
