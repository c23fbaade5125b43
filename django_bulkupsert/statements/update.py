"""UPDATE .. FROM the rows, which are locked in the order of their keys first.

One statement::

    bu_r    the relation's rows, typed                         (unnest, values)
    bu_x    which expression a row holds, of those rows that hold one
    bu_f    in it, the first row of each key
    bu_l    the stored rows that are meant, locked in order, each beside the position of its row
    bu_c    how many match, and how many of them would stay as they are
    bu_0    the UPDATE of the model's own table
    bu_1 .. the UPDATE of a parent's table

The statement *is* the last UPDATE where nothing but the count of rows is asked for. Columns are
named by a letter and a number: c is a slot, e a number of an expression; those of the reply are
told in update_reply.

UPDATE .. FROM locks rows in the order in which a join happens to find them; that is why bu_l
goes first. An engine that can't lock (Citus, over shards) gets the plain, ordered UPDATE, as
does a single row.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..columns import Column
from ..compiling import RowExpressions
from ..encode import Texts, array_literal
from ..fields import Field
from ..plans.update import Table, UpdatePlan
from ..sql import EMPTY, Fragment, comma, compose, join, raw, unqualified, value
from .over import AND, Over, alias
from .update_reply import UpdateReply


@dataclass(frozen=True)
class Update(Over):
    """One update over one relation; see Over.

    Attributes:
        count: How many rows the relation holds.
        nulls: The columns in which one of them is NULL.
        locks: Whether the engine can lock rows first.
        expressions: The expressions that rows hold.
    """

    plan: UpdatePlan
    count: int
    nulls: Collection[Column]
    locks: bool
    expressions: RowExpressions

    # What the call needs ------------------------------------------------------------------

    @property
    def shape(self) -> Hashable:
        """What the statement turns on, beside the plan; None: on its rows."""
        if self.relation.shape is None or self.expressions.codes:
            return None
        constants = tuple([each.sql.text for each in self.constants])
        nulls = frozenset(self.nulls).intersection(self.plan.match)
        return self.relation.shape, self.count == 1, nulls, self.locks, constants

    @cached_property
    def unlocked(self) -> bool:
        """Whether the statement is one plain UPDATE, before which nothing is locked."""
        one = self.count == 1 and self.plan.by_pk
        return len(self.plan.tables) == 1 and (one or not self.locks)

    @cached_property
    def reply(self) -> UpdateReply:
        """What the statement answers."""
        return UpdateReply(self.plan)

    # The statement ------------------------------------------------------------------------

    def fragment(self) -> Fragment:
        """Return the statement."""
        ctes = [self._rows(), self._expressions()]
        if not self.unlocked:
            ctes.append(self._locked())
        if self.plan.reports:
            ctes.append(self._counted())
        written = self.reply.written
        updates = [self._update(table) for table in written]
        if self.reply.is_wanted:
            updates.append(self.reply.fragment())
        ctes += [
            compose("{name} AS ({update})", name=self.reply.name(table), update=update)
            for table, update in zip(written, updates[:-1], strict=False)
        ]
        ctes = [cte for cte in ctes if cte.text]
        if not ctes:
            return updates[-1]
        return compose("WITH {ctes} {last}", ctes=comma(ctes), last=updates[-1])

    def _rows(self) -> Fragment:
        if not self.unlocked:
            return self.relation.prelude()
        rows = self.relation.select()
        if self.count > 1:  # the first of a key's rows, and in the order of the keys
            rows = compose(
                "SELECT DISTINCT ON ({key}) * FROM ({rows}) AS bu_r ORDER BY {key}, ord",
                key=comma(self.key("bu_r")),
                rows=rows,
            )
        return compose("bu_r AS ({rows})", rows=rows)

    def _source(self) -> Fragment:
        return raw("bu_r") if self.unlocked else self.relation.source()

    def _expressions(self) -> Fragment:
        if not self._chosen:
            return EMPTY
        codes = self.expressions.codes
        positions = sorted(set().union(*(codes[column] for column in self._chosen)))
        arrays = [
            _array(positions),
            *(_array([codes[column].get(at) for at in positions]) for column in self._chosen),
        ]
        return compose(
            "bu_x (ord, {names}) AS (SELECT * FROM unnest({arrays}))",
            names=comma(alias("e", i) for i in range(len(self._chosen))),
            arrays=comma(arrays),
        )

    @cached_property
    def _chosen(self) -> list[Column]:
        """The columns of which some rows hold an expression, and others another, or a value."""
        return [column for column in self.expressions.codes if not self._has_one(column)]

    def _has_one(self, column: Column) -> bool:
        """Whether every row holds the same expression for a column."""
        expressions = self.expressions
        return (
            len(expressions.fragments[column]) == 1 and len(expressions.codes[column]) == self.count
        )

    def _with_expressions(self, source: Fragment) -> Fragment:
        if not self._chosen:
            return source
        return compose("{source} LEFT JOIN bu_x ON bu_x.ord = bu_r.ord", source=source)

    def _locked(self) -> Fragment:
        columns = [compose("{row}.ord", row=raw(self._keys_row)), *self.reply.of_locked()]
        lock = EMPTY
        if self.locks:
            lock = compose(
                " FOR NO KEY UPDATE OF {tables}",
                tables=comma(unqualified(table.name) for table in self.reply.written),
            )
        return compose(
            "bu_l AS MATERIALIZED (SELECT {columns} FROM {joined} WHERE {conditions}"
            " ORDER BY {order}{lock})",
            columns=comma(columns),
            joined=self._joined(),
            conditions=join(AND, self._conditions()),
            order=comma(column.ordered(column.stored) for column in self.plan.order),
            lock=lock,
        )

    def _counted(self) -> Fragment:
        """Return the CTE that counts what matches, and what of it would stay as it is."""
        same = [raw("false")]
        if self.plan.options.skip_unchanged:
            same = [compose("NOT ({changed})", changed=self.changed(self.plan.fields))]
            if self.plan.where is not None:
                same.append(self.plan.where.fragment(self._incoming_field))
        return compose(
            "bu_c AS (SELECT count(*) AS matched, count(*) FILTER (WHERE {same}) AS unchanged"
            " FROM {joined} WHERE {conditions})",
            same=join(AND, same),
            joined=self._joined(),
            conditions=join(AND, self._matched()),
        )

    # Rows and stored rows -----------------------------------------------------------------

    @cached_property
    def _keys_row(self) -> str:
        """The row that brings the key: the first of those that have it, in any order."""
        return "bu_r" if self.unlocked or self.count == 1 else "bu_f"

    def _joined(self) -> Fragment:
        """Return the rows beside the model's tables."""
        source = self._source()
        if self._keys_row == "bu_f":
            first = compose(
                "(SELECT {key}, min(bu_r.ord) AS ord FROM {source} GROUP BY {key}) AS bu_f",
                key=comma(self.key("bu_r")),
                source=source,
            )
            if self.plan.reports:  # what the rows bring is compared, not only their keys
                source = compose(
                    "{first} JOIN {source} ON bu_r.ord = bu_f.ord", first=first, source=source
                )
            else:
                source = first
        if self.plan.reports:
            source = self._with_expressions(source)
        return comma([source, *(table.name for table in self.plan.tables)])

    def _conditions(self) -> list[Fragment]:
        """Return the conditions that a stored row is to be written."""
        conditions = self._matched()
        if self.plan.where is not None:
            conditions.append(self.plan.where.fragment(self._incoming_field))
        if self.plan.options.skip_unchanged:
            conditions.append(self.changed(self.plan.fields))
        return conditions

    def _matched(self) -> list[Fragment]:
        """Return the conditions that a stored row is one that a row means."""
        conditions = [
            self.same(column, self.plan.match, self.nulls, self._keys_row)
            for column in self.plan.match
        ]
        conditions += [
            compose("{left} = {right}", left=table.link[0].stored, right=table.link[1].stored)
            for table in self.plan.tables
            if table.link
        ]
        if self.plan.filter is not None:
            conditions.append(self.plan.filter)
        return conditions

    def key(self, row: str) -> list[Fragment]:
        """Return the parts of a row's key."""
        return [self.incoming(column, row) for column in self.plan.match]

    def incoming(self, column: Column, row: str = "bu_r") -> Fragment:
        """Return the value that a row brings for a column: its expression, or its value."""
        if column not in self.expressions.codes:
            return super().incoming(column, row)
        if self._has_one(column):
            return self.expressions.fragments[column][0]
        return self.expressions.value(
            column,
            compose("bu_x.{code}", code=alias("e", self._chosen.index(column))),
            super().incoming(column, row),
        )

    def new(self, column: Column, row: str = "bu_r") -> Fragment:
        """Return the value that a column is set to: a clock's is not what the row holds."""
        found = self.constant_of.get(column)
        return self.incoming(column, row) if found is None else found

    def _incoming_field(self, field: Field) -> Fragment:
        return self.incoming(self.plan.column(field))

    # The updates --------------------------------------------------------------------------

    def _update(self, table: Table) -> Fragment:
        """Return the UPDATE of a table."""
        sets = comma(
            compose("{name} = {new}", name=column.name, new=self.new(column))
            for column in table.updates
        )
        if self.unlocked:
            source = self._with_expressions(raw("bu_r"))
            conditions = self._conditions()
        else:
            source = compose("bu_l JOIN {source} ON bu_r.ord = bu_l.ord", source=self._source())
            source = self._with_expressions(source)
            conditions = [
                compose(
                    "{stored} = bu_l.{alias}",
                    stored=column.stored,
                    alias=self.reply.pk_alias(column),
                )
                for column in table.pk
            ]
        returning = EMPTY
        if self.reply.is_wanted or table is not self.reply.written[-1]:
            columns = self.reply.of_updated(table, locked=not self.unlocked)
            returning = compose(" RETURNING {columns}", columns=comma(columns))
        return compose(
            "UPDATE {table} SET {sets} FROM {source} WHERE {conditions}{returning}",
            table=table.name,
            sets=sets,
            source=source,
            conditions=join(AND, conditions),
            returning=returning,
        )


def _array(numbers: Sequence[int | None]) -> Fragment:
    texts = [None if each is None else str(each) for each in numbers]
    literal = array_literal(Texts(texts, nulls=True, escape=False, quote=False))
    return compose("{array}::bigint[]", array=value(literal))
