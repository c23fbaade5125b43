"""Rows and the conflict target: which have a key, and which stored row that is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from django.db import models

from ..columns import Column
from ..fields import has_database_default
from ..plans.upsert import UpsertPlan
from ..sql import Fragment, compose, join, raw, value
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
        return self.equal(self.key(row), [column.stored for column in self.plan.key], BY_INDEX)


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
