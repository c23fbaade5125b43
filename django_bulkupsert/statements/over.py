"""What every statement over a relation is made of: columns of both sides, compared and ordered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from ..columns import Column
from ..plans.base import Plan
from ..readers import Constant
from ..relations import Relation, Slot
from ..sql import EMPTY, Fragment, comma, compose, identifier

AND = " AND "

#: NULL is the same as NULL, in forms that an index can serve and that a hash join can.
BY_INDEX = "({left} = {right} OR {left} IS NULL AND {right} IS NULL)"
BY_HASH = "ROW({left})::record = ROW({right})::record"


@dataclass(frozen=True)
class Over:
    """A plan, and the relation that carries its rows.

    Attributes:
        plan: The checked call.
        relation: The relation; its rows are known as bu_r.
        slots: The relation's columns.
        constants: The columns that hold one value in every row.
    """

    plan: Plan
    relation: Relation
    slots: Sequence[Slot]
    constants: Sequence[Constant]

    def execute(self, cursor: Any, fragment: Fragment) -> None:
        """Run a statement over the rows."""
        values = dict(self.relation.values)
        for each in self.constants:
            values.update(each.values)
        fragment.filled(values).execute(cursor)

    #: What the row brings for each slot, where that stands in the statement itself.
    literals: ClassVar[Mapping[Slot, Fragment] | None] = None

    @cached_property
    def slot_of(self) -> dict[Column, Slot]:
        """The slot that carries each column's values."""
        return {slot.column: slot for slot in self.slots if not slot.is_flag}

    @cached_property
    def constant_of(self) -> dict[Column, Fragment]:
        """The one value of each column that holds it in every row."""
        return {each.column: each.sql for each in self.constants}

    def prelude(self) -> Fragment:
        """Return ``WITH bu_r AS (..)``, or nothing where the relation is a table."""
        prelude = self.relation.prelude()
        return compose("WITH {prelude} ", prelude=prelude) if prelude.text else EMPTY

    def incoming(self, column: Column, row: str = "bu_r") -> Fragment:
        """Return the value that a row brings for a column."""
        slot = self.slot_of.get(column)
        if slot is None:
            return self.constant_of[column]
        return self.literals[slot] if self.literals is not None else slot.of(row)

    def new(self, column: Column, row: str) -> Fragment:
        """Return the value that a stored row's column is to get from a row."""
        return self.incoming(column, row)

    def changed(self, columns: Collection[Column], row: str = "bu_r") -> Fragment:
        """Return the condition that writing ``columns`` would change the stored row.

        By record image, which sees every change: ``IS DISTINCT FROM`` fails on json, xml and
        point, and is blind on box and citext. It wants the very same types on both sides
        (manual: "Composite Type Comparison").
        """
        return compose(
            "ROW({stored})::record OPERATOR(pg_catalog.*<>) ROW({incoming})::record",
            stored=comma(map(self.stored_typed, columns)),
            incoming=comma(self.new(column, row) for column in columns),
        )

    def same(
        self, column: Column, among: Collection[Column], nulls: Collection[Column], row: str
    ) -> Fragment:
        """Return the condition that a row has the stored value of a column, be it NULL.

        Without a NULL among the rows it is plain equality. With one, an index can serve it, if
        another column brings the hash join; else the table is read through, once.

        Args:
            column: The column.
            among: All columns that rows are matched by.
            nulls: Those in which a row may be NULL.
            row: The row.
        """
        stored = column.stored
        template = "{left} = {right}"
        if column in nulls:
            others = any(each not in nulls for each in among)
            template = BY_INDEX if others else BY_HASH
            stored = stored if others else self.stored_typed(column)
        return compose(template, left=stored, right=self.incoming(column, row))

    def stored_typed(self, column: Column) -> Fragment:
        """Return the stored value in the very type that the row brings."""
        stored = column.stored
        return stored if self.relation.exact_types and column.fits else column.cast(stored)


def alias(prefix: str, i: int) -> Fragment:
    """Return the name of the ``i``-th of some columns of a CTE."""
    return identifier(f"{prefix}{i}")
