"""What every statement over a relation is made of: columns of both sides, matched and ordered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from django.db import models

from ..columns import Column
from ..fields import has_database_default
from ..plan import Plan
from ..readers import Constant
from ..relations import Relation, Slot
from ..sql import EMPTY, Fragment, compose, identifier, join, raw, value

AND = " AND "

#: NULL is the same as NULL, in forms that an index can serve and that a hash join can.
BY_INDEX = "({left} = {right} OR {left} IS NULL AND {right} IS NULL)"
BY_HASH = "ROW({left})::record = ROW({right})::record"


@dataclass(frozen=True)
class Over:
    """A plan, the relation that carries its rows, and which of these are meant.

    Attributes:
        plan: The checked call.
        relation: The relation; its rows are known as bu_r.
        slots: The relation's columns.
        constants: The columns that hold one value in every row.
        part: None for all rows, or whether those that have a primary key are meant.
    """

    plan: Plan
    relation: Relation
    slots: Sequence[Slot]
    constants: Sequence[Constant]
    part: bool | None

    @cached_property
    def slot_of(self) -> dict[Column, Slot]:
        """The slot that carries each column's values."""
        return {slot.column: slot for slot in self.slots if not slot.is_flag}

    def prelude(self) -> Fragment:
        """Return ``WITH bu_r AS (..)``, or nothing where the relation is a table."""
        prelude = self.relation.prelude()
        return compose("WITH {prelude} ", prelude=prelude) if prelude.text else EMPTY

    def incoming(self, column: Column, row: str = "bu_r") -> Fragment:
        """Return the value that a row brings for a column."""
        slot = self.slot_of.get(column)
        if slot is None:
            return next(each.sql for each in self.constants if each.column is column)
        return slot.of(row)

    def stored(self, column: Column) -> Fragment:
        """Return the column of the table, which is never given another name."""
        return compose("{table}.{name}", table=self.plan.table, name=column.name)

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns by which rows are told apart: the target's, else the primary key's."""
        if self.plan.target is None:
            return self.plan.pk if all(column in self.slot_of for column in self.plan.pk) else ()
        return self.plan.key

    @property
    def has_key(self) -> bool:
        """Whether the rows give every part of the key."""
        constant = [each.column for each in self.constants]
        return all(column in self.slot_of or column in constant for column in self.key_columns)

    def key(self, row: str = "bu_r") -> list[Fragment]:
        """Return the parts of a row's key."""
        return [self.incoming(column, row) for column in self.key_columns]

    def within(self, row: str = "bu_r") -> list[Fragment]:
        """Return the condition that a row is of the part that is meant."""
        slot = self.slot_of.get(self.plan.pk[0])
        if self.part is None or slot is None:
            return []
        template = "{pk} IS NOT NULL" if self.part else "{pk} IS NULL"
        return [compose(template, pk=slot.of(row))]

    def keyed(self, row: str = "bu_r") -> list[Fragment]:
        """Return the conditions that a row is meant and has a key; a NULL may be one like any."""
        if self.plan.target is not None and self.plan.target.null_safe:
            return [*self.within(row), raw("true")]
        return [compose("{part} IS NOT NULL", part=part) for part in self.key(row)]

    def equal(self, left: Iterable[Fragment], right: Iterable[Fragment], either: str) -> Fragment:
        """Return the condition that two keys are the same, as the conflict target sees it.

        Args:
            left: The parts of one key.
            right: The parts of the other.
            either: How a NULL is the same as another: SQL that an index can serve, or a hash
                join, but no SQL can be served by both.
        """
        null_safe = self.plan.target is not None and self.plan.target.null_safe
        return join(
            AND,
            [
                compose(
                    either if null_safe and column.field.null else "{left} = {right}",
                    left=a,
                    right=b,
                )
                for column, a, b in zip(self.key_columns, left, right, strict=True)
            ],
        )

    def matched(self, row: str = "bu_r") -> Fragment:
        """Return the condition that a row's key is a stored row's."""
        return self.equal(self.key(row), map(self.stored, self.plan.key), BY_INDEX)

    def changed(self, columns: Collection[Column], row: str = "bu_r") -> Fragment:
        """Return the condition that writing ``columns`` would change the stored row.

        By record image, which sees every change: ``IS DISTINCT FROM`` fails on json, xml and
        point, and is blind on box and citext. It wants the very same types on both sides
        (manual: "Composite Type Comparison").
        """
        return compose(
            "ROW({stored})::record OPERATOR(pg_catalog.*<>) ROW({incoming})::record",
            stored=join(", ", map(self._stored_typed, columns)),
            incoming=join(", ", [self.incoming(column, row) for column in columns]),
        )

    def _stored_typed(self, column: Column) -> Fragment:
        stored = self.stored(column)
        return stored if self.relation.exact_types else column.cast(stored)

    def order(self, columns: Iterable[Column], row: str) -> Fragment:
        """Return the one order in which every call takes its locks: by bytes, where it's text."""
        return join(
            ", ",
            [
                *(
                    compose(
                        '{slot}::text COLLATE "C"' if column.is_text else "{slot}",
                        slot=self.slot_of[column].of(row),
                    )
                    for column in columns
                    if column in self.slot_of  # not what is the same in every row
                ),
                compose("{row}.ord", row=raw(row)),
            ],
        )


def alias(prefix: str, i: int) -> Fragment:
    """Return the name of the ``i``-th of some columns of a CTE."""
    return identifier(f"{prefix}{i}")


def drawn(column: Column, table: Fragment) -> Fragment | None:
    """Return what gives a new row its value of the column; None: nothing that is known."""
    if has_database_default(column.field):
        return column.cast(column.database_default())
    if not isinstance(column.field, models.AutoField):
        return None
    return compose(
        "nextval((SELECT pg_get_serial_sequence({table}, {column}))::regclass)",
        table=value(table.plain()),
        column=value(column.field.column),
    )
