"""Rows and what they are matched by: which have a key, and which stored row that is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from django.db import models

from ..columns import Column
from ..expressions import Values
from ..fields import has_database_default
from ..plans.keys import ColumnPart, KeyPart
from ..plans.upsert import UpsertPlan
from ..sql import Fragment, comma, compose, join, raw, value
from ..target import candidates
from .over import AND, BY_INDEX, Over


@dataclass(frozen=True)
class Keyed(Over):
    """An upsert's rows, and which of them are meant; see Over.

    Attributes:
        part: None for all rows, or whether those that have a primary key are meant.
    """

    plan: UpsertPlan
    part: bool | None

    @cached_property
    def parts(self) -> tuple[KeyPart, ...]:
        """What rows are told apart by: the parts of the target's key, else the primary key."""
        if self.plan.key:
            return self.plan.key
        if all(column in self.slot_of for column in self.plan.pk):
            return tuple(map(ColumnPart, self.plan.pk))
        return ()

    @property
    def has_key(self) -> bool:
        """Whether the rows give every part of the key."""
        given = [*self.slot_of, *self.constant_of]
        fields = {column.field for column in given}
        return all(field in fields for part in self.parts for field in part.fields)

    def brings(self, row: str) -> Values:
        """Return what a row brings for a field; where nothing gives it, what an insert would."""
        return lambda field: self._proposed(self.plan.column(field), row)

    def _proposed(self, column: Column, row: str) -> Fragment:
        if column in self.slot_of or column in self.constant_of:
            return self.incoming(column, row)
        if has_database_default(column.field):
            return column.cast(column.database_default())
        return column.cast(raw("NULL"))

    def key(self, row: str = "bu_r") -> list[Fragment]:
        """Return the parts of a row's key."""
        return [part.of(self.brings(row)) for part in self.parts]

    def within(self, row: str = "bu_r") -> list[Fragment]:
        """Return the condition that a row is of the part that is meant."""
        slot = self.slot_of.get(self.plan.pk[0])
        if self.part is None or slot is None:
            return []
        template = "{pk} IS NOT NULL" if self.part else "{pk} IS NULL"
        return [compose(template, pk=self.incoming(slot.column, row))]

    @property
    def null_safe(self) -> bool:
        """Whether a NULL in a key is the same as another."""
        return self.plan.target is not None and self.plan.target.null_safe

    def in_index(self, row: str = "bu_r") -> list[Fragment]:
        """Return the condition that a partial index would have a row."""
        if self.plan.condition is None:
            return []
        return [compose("({condition})", condition=self.plan.condition.of(self.brings(row)))]

    def keyed(self, row: str = "bu_r") -> list[Fragment]:
        """Return the conditions that a row is meant and has a key; a NULL may be one like any."""
        if self.null_safe:
            return [*self.within(row), *self.in_index(row), raw("true")]
        given = [compose("{part} IS NOT NULL", part=part) for part in self.key(row)]
        return [*given, *self.in_index(row)]

    def twice(self) -> Fragment:
        """Return the query that has a row if a key stands twice."""
        return compose(
            "SELECT 1 FROM {source} WHERE {keyed} GROUP BY {key} HAVING count(*) > 1 LIMIT 1",
            source=self.relation.source(),
            keyed=join(AND, self.keyed()),
            key=comma(self.key()),
        )

    def equal(self, left: Iterable[Fragment], right: Iterable[Fragment], either: str) -> Fragment:
        """Return the condition that two keys are the same, as the conflict target sees it.

        Args:
            left: The parts of one key.
            right: The parts of the other.
            either: How a NULL is the same as another: SQL that an index can serve, or a hash
                join, but no SQL can be served by both.
        """
        return join(
            AND,
            [
                compose(
                    either if self.null_safe and self.takes_null(part) else "{left} = {right}",
                    left=a,
                    right=b,
                )
                for part, a, b in zip(self.parts, left, right, strict=True)
            ],
        )

    def takes_null(self, part: KeyPart) -> bool:
        """Whether a part of the key may be NULL."""
        return part.nullable

    def matched(self, row: str = "bu_r") -> Fragment:
        """Return the condition that a row's key is a stored row's."""
        same = [self.equal(self.key(row), [part.stored() for part in self.plan.key], BY_INDEX)]
        same += [*self.in_index(row), *self.stored_in_index()]
        return join(AND, same)

    def stored_in_index(self) -> list[Fragment]:
        """Return the condition that a partial index has the stored row."""
        if self.plan.condition is None:
            return []
        return [compose("({condition})", condition=self.plan.condition.stored())]

    def in_order(self, row: str) -> Fragment:
        """Return the one order in which every call takes its locks: by bytes, where it's text."""
        if self.part is False:
            ordered = []
        elif self.plan.key:
            ordered = [
                part.ordered(part.of(self.brings(row)))
                for part in self.plan.key
                if part.column is None or part.column in self.slot_of  # not what is all the same
            ]
        else:
            ordered = [
                column.ordered(self.slot_of[column].of(row)) for column in self._guessed_order()
            ]
        return comma([*ordered, compose("{row}.ord", row=raw(row))])

    def _guessed_order(self) -> tuple[Column, ...]:
        """Return which columns give the order of locks, where there is no key.

        Any unique index may be the one that waits, and the best guess is the first that is not
        the primary key's.
        """
        for target in candidates(self.plan.model, self.plan.connection):
            columns = tuple(map(self.plan.column, target.fields))
            if not target.is_pk and all(column in self.slot_of for column in columns):
                return columns
        return tuple(column for column in self.plan.pk if column in self.slot_of)


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
