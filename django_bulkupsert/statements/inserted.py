"""The CTEs that match the rows of an upsert and write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..fields import Field
from ..relations import Slot
from ..sql import EMPTY, Fragment, comma, compose, identifier, join, raw
from .over import AND, alias
from .proposed import Proposed


@dataclass(frozen=True)
class Inserted(Proposed):
    """The rows of an upsert as they are written; see Proposed."""

    @cached_property
    def literals(self) -> Mapping[Slot, Fragment] | None:  # type: ignore[override]
        """What the one row brings, where it needs no relation to bring it."""
        return self.relation.literals

    @property
    def reads_once(self) -> bool:
        """Whether the relation is read in one place only, and needs no CTE."""
        return not self.judges

    def read(self) -> Fragment:
        """Return the FROM item that brings the rows."""
        if self.literals is not None:
            return raw("(SELECT 0::bigint AS ord) AS bu_r")
        if self.reads_once and self.looks_up:
            # OFFSET keeps each text from being cast twice: to be compared, and to be written.
            return compose("({select} OFFSET 0) AS bu_r", select=self.relation.select())
        return self.relation.inline() if self.reads_once else self.relation.source()

    def duplicates(self) -> Fragment:
        """Return the CTE bu_d."""
        if not self.judges:
            return EMPTY
        if self.drops and self.relation.dropped is not None:
            return compose("bu_d AS MATERIALIZED ({dropped})", dropped=self.relation.dropped)
        if not self.drops:
            return compose("bu_d AS MATERIALIZED ({twice})", twice=self.twice())
        return compose(
            "bu_d AS MATERIALIZED (SELECT bu_n.ord FROM (SELECT bu_r.ord, row_number() OVER "
            "(PARTITION BY {key} ORDER BY bu_r.ord{descending}) AS n FROM {source} "
            "WHERE {keyed}) AS bu_n WHERE bu_n.n > 1)",
            descending=raw(" DESC" if self.plan.options.duplicates == "last" else ""),
            source=self.relation.source(),
            keyed=join(AND, self.keyed()),
            key=comma(self.key()),
        )

    def writes(self) -> list[Fragment]:
        """Return the CTEs that match and write."""
        return [self._input(), self.insert()]

    def _input(self) -> Fragment:
        if not self.narrows or self.streams:
            return EMPTY
        return compose("bu_i AS MATERIALIZED ({rows})", rows=self._looked_at())

    def _looked_at(self) -> Fragment:
        """Return the query bu_i."""
        columns = [raw("bu_r.ord")]
        if self.literals is None:
            columns += [slot.of() for slot in self.slot_of.values()]
        where = self.within()
        source = self.beside_dropped(self.read())
        if self.matches:
            # Of some rows; the planner would rather read through all of a table of thousands.
            template = "{source} LEFT JOIN {table} ON {matched}"
            if self.looks_up and self.literals is None:
                template = (
                    "{source} LEFT JOIN LATERAL "
                    "(SELECT * FROM {table} WHERE {matched} LIMIT 1) AS {table} ON true"
                )
            source = compose(
                template,
                source=source,
                table=self.plan.table,
                matched=self.matched(),
            )
            columns += self.named("s", self.plan.pk)
            columns += self.named("m", self.lent if self.lends else ())
            columns += self.named("w", self.returns)
        if self.tells:
            columns.append(compose("{fate} AS fate", fate=self.fate()))
        elif self.filters:
            where.append(compose("{fate} IS NULL", fate=self.fate()))
        rows = compose(
            "SELECT {columns} FROM {source} WHERE {where}",
            columns=comma(columns),
            source=source,
            where=join(AND, where or [raw("true")]),
        )
        if self.numbers:
            rows = compose(
                "SELECT bu_j.*, {pk} AS fresh FROM ({rows}) AS bu_j",
                pk=self.fresh("bu_j"),
                rows=rows,
            )
        return rows

    def beside_dropped(self, source: Fragment) -> Fragment:
        """Return rows, beside which of them are left out as duplicates."""
        if not self.drops:
            return source
        return compose("{source} LEFT JOIN bu_d ON bu_d.ord = bu_r.ord", source=source)

    def insert(self, *conditions: Fragment) -> Fragment:
        """Return the CTE bu_up, of rows for which the conditions hold."""
        row = "bu_i" if self.narrows else "bu_r"
        where = [*conditions] if self.narrows else self.within()
        if self.tells:
            where.append(raw("bu_i.fate IS NULL"))
        if self.judges and not self.drops:
            where.append(raw("NOT EXISTS (SELECT 1 FROM bu_d)"))
        inserted = self.inserted(row)
        gives_pk = any(column in self.plan.pk for column, _ in inserted)
        return compose(
            "bu_up AS (INSERT INTO {table} ({names}){overriding} SELECT {values} FROM {source}"
            " WHERE {where}{order}{conflict} RETURNING {returning})",
            table=self.plan.table,
            names=comma(column.name for column, _ in inserted),
            overriding=raw(" OVERRIDING SYSTEM VALUE" if gives_pk else ""),
            values=comma(incoming for _, incoming in inserted),
            source=self._source(),
            where=join(AND, where or [raw("true")]),
            order=EMPTY
            if self.relation.is_single
            else compose(" ORDER BY {order}", order=self.in_order(row)),
            conflict=self.conflict(),
            returning=self.returning(),
        )

    def _source(self) -> Fragment:
        """Return the FROM item of the rows that are proposed."""
        if self.streams:
            return compose("({rows}) AS bu_i", rows=self._looked_at())
        return raw("bu_i") if self.narrows else self.read()

    def conflict(self) -> Fragment:
        """Return the ON CONFLICT clause."""
        target = self.plan.target
        if target is None:
            return raw(" ON CONFLICT DO NOTHING")
        if not (self.matches or target.excludes):
            return EMPTY  # a row without a primary key is an insert: a conflict is an error
        if target.is_constraint and target.name is not None:
            arbiter = compose("ON CONSTRAINT {name}", name=identifier(target.name))
        else:
            arbiter = compose("({key})", key=comma(part.indexed() for part in self.plan.key))
        if self.plan.condition is not None:
            arbiter = compose(
                "{arbiter} WHERE {condition}",
                arbiter=arbiter,
                condition=self.plan.condition.indexed(),
            )
        if self.leaves:
            return compose(" ON CONFLICT {arbiter} DO NOTHING", arbiter=arbiter)
        where = EMPTY
        if self.plan.where is not None:
            where = compose(" WHERE {where}", where=self.plan.where.fragment(self.excluded))
        return compose(
            " ON CONFLICT {arbiter} DO UPDATE SET {set}{where}",
            arbiter=arbiter,
            set=comma(
                compose(
                    "{name} = {new}",
                    name=column.name,
                    new=self.plan.assigned[column].fragment(self.excluded)
                    if column in self.plan.assigned
                    else self.excluded(column.field),
                )
                for column in self.write.updates
            ),
            where=where,
        )

    def excluded(self, field: Field) -> Fragment:
        """Return the value of a field in the row that was proposed for insertion."""
        return compose("EXCLUDED.{name}", name=self.plan.column(field).name)

    @property
    def told_by_old(self) -> bool:
        """Whether the written row is beside what it was before."""
        return self.matches and not self.leaves and self.created_by == "old"

    def returning(self) -> Fragment:
        """Return what is asked of the rows that are written."""
        with_old = EMPTY
        created = raw("true")
        if self.told_by_old:
            with_old = raw("WITH (OLD AS bu_old) ")
            created = compose("bu_old.{pk} IS NULL", pk=self.plan.pk[0].name)
        elif self.matches and not self.leaves and self.created_by == "xmax":
            created = compose("{table}.xmax = 0", table=self.plan.table)
        named = [compose("{created} AS created", created=created)]
        if self.watches or self.per_row or self.joins:
            named += self.named("p", self.plan.pk)
            if self.watches or (self.matches and self.literals is None):
                named += [
                    compose("{key} AS {alias}", key=part.stored(), alias=alias("k", i))
                    for i, part in enumerate(self.plan.key)
                ]
            named += [compose("{it} AS within", it=each) for each in self.stored_in_index()]
            named += self.named("v", self.returns)
        if self.told_by_old:
            named += [
                compose("bu_old.{name} AS {alias}", name=column.name, alias=alias("o", i))
                for i, column in enumerate(self.olds)
            ]
        return compose("{old}{named}", old=with_old, named=comma(named))
