"""What an update answers: what its parts hand on for that, and the SELECT that reads them.

The reply turns on the plan alone. It names what the parts hand on: a table's CTE is bu_ and the
table's number in the plan; p and a number is a part of a primary key, v and a number a value that
is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..columns import Column
from ..plans.update import Table, UpdatePlan
from ..sql import Fragment, comma, compose, join, raw
from .over import AND, alias


@dataclass(frozen=True)
class UpdateReply:
    """The reply of one update.

    Attributes:
        plan: The checked call.
    """

    plan: UpdatePlan

    @cached_property
    def is_wanted(self) -> bool:
        """Whether more is asked for than the count of rows."""
        return self.plan.reports or self.plan.returning is not None

    @cached_property
    def written(self) -> list[Table]:
        """The tables that are updated; the last one's is the main UPDATE."""
        return [table for table in reversed(self.plan.tables) if table.updates]

    def name(self, table: Table) -> Fragment:
        """Return the name of the CTE that updates a table."""
        return raw(f"bu_{self.plan.tables.index(table)}")

    def pk_alias(self, column: Column) -> Fragment:
        """Return what a part of a primary key is called."""
        return alias("p", self._pks.index(column))

    @cached_property
    def _pks(self) -> list[Column]:
        """The primary keys of the tables that are updated, and of the model's own."""
        tables = dict.fromkeys((self.plan.tables[0], *self.written))
        return [column for table in tables for column in table.pk]

    @cached_property
    def _returned(self) -> list[tuple[int, Column, Table]]:
        """The columns that are asked for: the number of each, itself, and its table."""
        table_of = {table.name: table for table in self.plan.tables}
        return [
            (i, column, table_of[column.table])
            for i, (_, column) in enumerate(self.plan.returning or ())
        ]

    # What the parts hand on ---------------------------------------------------------------

    def of_locked(self) -> list[Fragment]:
        """Return what bu_l hands on of a row: its keys, and values that no UPDATE returns."""
        keys = [
            compose("{column} AS {alias}", column=column.stored, alias=self.pk_alias(column))
            for column in self._pks
        ]
        return keys + [
            compose("{column} AS {alias}", column=column.stored, alias=alias("v", i))
            for i, column, table in self._returned
            if not table.updates
        ]

    def of_updated(self, table: Table, *, locked: bool) -> list[Fragment]:
        """Return what the UPDATE of a table returns of a row.

        Args:
            table: The table.
            locked: Whether there is bu_l, which has the keys.
        """
        columns = [raw("bu_r.ord")]
        if locked:
            columns += [
                compose("bu_l.{alias}", alias=self.pk_alias(column))
                for column in self.plan.tables[0].pk
            ]
        return columns + [
            compose("{column} AS {alias}", column=column.stored, alias=alias("v", i))
            for i, column, holder in self._returned
            if holder is table
        ]

    # The answer ---------------------------------------------------------------------------

    def fragment(self) -> Fragment:
        """Return: how many rows match, are unchanged, and were written, if that is to be reported.

        Then, with ``returning``, each row's position and values; no position: there is no row.
        """
        main = self.name(self.written[-1])
        counts = []
        if self.plan.reports:
            written = compose("(SELECT count(*) FROM {main})", main=main)
            counts = [raw("bu_c.matched"), raw("bu_c.unchanged"), written]
        if self.plan.returning is None:
            return compose("SELECT {counts} FROM bu_c", counts=comma(counts))
        columns = [*counts, compose("{main}.ord", main=main)]
        columns += [
            compose("{source}.{alias}", source=self._source(table), alias=alias("v", i))
            for i, _, table in self._returned
        ]
        joined = main
        if self.plan.reports:  # the counts come back beside no row, too
            joined = compose("bu_c LEFT JOIN {main} ON true", main=main)
        for table in self.written[:-1]:
            joined = self._beside(joined, self.name(table))
        if any(not table.updates for _, _, table in self._returned):
            joined = self._beside(joined, raw("bu_l"))
        return compose(
            "SELECT {columns} FROM {joined} ORDER BY {main}.ord",
            columns=comma(columns),
            joined=joined,
            main=main,
        )

    def _source(self, table: Table) -> Fragment:
        """Return the name of what hands on a table's values."""
        return self.name(table) if table.updates else raw("bu_l")

    def _beside(self, joined: Fragment, name: Fragment) -> Fragment:
        """Return a join to what another table has of the same row."""
        same = [
            compose(
                "{name}.{pk} = {main}.{pk}",
                name=name,
                main=self.name(self.written[-1]),
                pk=self.pk_alias(column),
            )
            for column in self.plan.tables[0].pk
        ]
        return compose(
            "{joined} LEFT JOIN {name} ON {same}", joined=joined, name=name, same=join(AND, same)
        )
