"""Rows matched by any fields, unique or not: the stored rows are updated, the rest inserted.

One statement too, but with no ON CONFLICT in it, which needs an index::

    bu_r, bu_d    as in an upsert
    bu_m    per input row the first stored row that it matches, and the row's fate: it is
            left out if all that it matches are
    bu_i    bu_r beside that
    bu_l    the stored rows that are to be written, all that match, locked in the order of the key
    bu_u    the UPDATE of these
    bu_up   the INSERT of rows that match nothing
    ...     the reply
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

from ..columns import Column
from ..plans.keys import KeyPart
from ..sql import EMPTY, Fragment, comma, compose, join, raw, unqualified
from .over import AND, BY_HASH, alias
from .proposed import SKIPPED
from .upsert import Upsert, any_of


@dataclass(frozen=True)
class MatchedUpsert(Upsert):
    """An upsert without an arbiter; see Upsert.

    Attributes:
        nulls: The columns in which a row may be NULL.
        locks: Whether the engine can lock rows first.
    """

    nulls: Collection[Column]
    locks: bool

    @property
    def shape(self) -> Hashable:
        """What the statement turns on, beside the plan and the shape of rows; None: on its rows."""
        shape = super().shape
        nulls = frozenset(self.nulls).intersection(part.column for part in self.plan.key)
        return shape and (shape, self.locks, nulls)

    # An UPDATE needs no column lent, tells itself from an INSERT, and draws no primary key; each
    # row has a key, by which it is found, and is looked at beside what it matches.
    lends = joins = finds_by_pk = numbers = told_by_old = reads_once = False
    tells = filters = True
    literals = None

    def writes(self) -> list[Fragment]:
        """Return the CTEs that match and write."""
        updates = [] if self.leaves else [self._locked(), self._update()]
        new = raw("bu_i.s0 IS NULL")
        if updates and self.locks:  # or what it matched is gone, now that it could be locked
            new = raw("(bu_i.s0 IS NULL OR bu_i.ord NOT IN (SELECT bu_l.ord FROM bu_l))")
        return [self._matches(), self._beside(), *updates, self.insert(new)]

    def takes_null(self, part: KeyPart) -> bool:
        """Whether a part of the key may be NULL."""
        return part.column in self.nulls

    def matched(self, row: str = "bu_r") -> Fragment:
        """Return the condition that a row's key is a stored row's."""
        columns = [part.column for part in self.plan.key if part.column is not None]
        return join(AND, [self.same(column, columns, self.nulls, row) for column in columns])

    def conflict(self) -> Fragment:
        """Return no ON CONFLICT clause."""
        return EMPTY

    @property
    def updated_by_old(self) -> bool:
        """Whether what is updated is beside what it was before."""
        return self.created_by == "old" and not self.leaves

    def _matches(self) -> Fragment:
        return compose(
            "bu_m AS MATERIALIZED (SELECT DISTINCT ON (bu_n.ord) bu_n.*, "
            "first_value(bu_n.each) OVER (PARTITION BY bu_n.ord ORDER BY bu_n.each NULLS FIRST) "
            "AS fate FROM (SELECT bu_r.ord, {columns} FROM {source} JOIN {table} ON {matched}) "
            "AS bu_n ORDER BY bu_n.ord, {pk})",
            columns=comma(
                [
                    *self.named("s", self.plan.pk),
                    *self.named("w", self.returns),
                    compose("{fate} AS each", fate=self.fate()),
                ]
            ),
            source=self.beside_dropped(self.relation.source()),
            table=self.plan.table,
            matched=self.matched(),
            pk=comma(compose("bu_n.{s}", s=alias("s", i)) for i in range(len(self.plan.pk))),
        )

    def _beside(self) -> Fragment:
        columns = [raw("bu_r.ord"), *(slot.of() for slot in self.slot_of.values())]
        for prefix, named in (("s", self.plan.pk), ("w", self.returns)):
            columns += [compose("bu_m.{name}", name=alias(prefix, i)) for i in range(len(named))]
        dropped = compose("CASE WHEN bu_d.ord IS NOT NULL THEN {left} END", left=SKIPPED)
        fates = [*([dropped] if self.drops else []), raw("bu_m.fate")]
        columns.append(compose("COALESCE({fates}) AS fate", fates=comma(fates)))
        return compose(
            "bu_i AS MATERIALIZED (SELECT {columns} FROM {source} "
            "LEFT JOIN bu_m ON bu_m.ord = bu_r.ord)",
            columns=comma(columns),
            source=self.beside_dropped(self.relation.source()),
        )

    def _locked(self) -> Fragment:
        """Return the CTE bu_l; a row that was waited for is one only if it still matches."""
        conditions = [raw("bu_i.s0 IS NOT NULL"), raw("bu_i.fate IS NULL")]
        if self.judges and not self.drops:
            conditions.append(raw("NOT EXISTS (SELECT 1 FROM bu_d)"))
        lock = compose(" FOR NO KEY UPDATE OF {table}", table=unqualified(self.plan.table))
        return compose(
            "bu_l AS MATERIALIZED (SELECT bu_i.ord, {pk} FROM bu_i JOIN {table} ON {matched} "
            "WHERE {conditions} ORDER BY {order}{lock})",
            pk=comma(self.named("p", self.plan.pk)),
            table=self.plan.table,
            matched=self.matched("bu_i"),
            conditions=join(AND, conditions),
            order=comma(
                [
                    *(part.ordered(part.stored()) for part in self.plan.key),
                    *(column.ordered(column.stored) for column in self.plan.pk),
                ]
            ),
            lock=lock if self.locks else EMPTY,
        )

    def _update(self) -> Fragment:
        returned = [raw("bu_l.ord"), *self.named("p", self.plan.pk), *self.named("v", self.returns)]
        with_old = EMPTY
        if self.updated_by_old and self.olds:
            with_old = raw("WITH (OLD AS bu_old) ")
            returned += [
                compose("bu_old.{name} AS {alias}", name=column.name, alias=alias("o", i))
                for i, column in enumerate(self.olds)
            ]
        same = [
            compose("{stored} = bu_l.{p}", stored=column.stored, p=alias("p", i))
            for i, column in enumerate(self.plan.pk)
        ]
        # The server checks these on a row that it had to wait for as it is now.
        if self.plan.where is not None:
            same.append(self.plan.where.fragment(self.brings("bu_i")))
        if self.skips:
            same.append(self.changed(self.write.compares, "bu_i"))
        return compose(
            "bu_u AS (UPDATE {table} SET {set} FROM bu_l JOIN bu_i ON bu_i.ord = bu_l.ord "
            "WHERE {same} RETURNING {old}{returned})",
            table=self.plan.table,
            set=comma(
                compose("{name} = {new}", name=column.name, new=self.new(column, "bu_i"))
                for column in self.write.updates
            ),
            same=join(AND, same),
            old=with_old,
            returned=comma(returned),
        )

    def counted(self) -> tuple[Fragment, Fragment, Fragment]:
        """Return the counts of rows created, and written, and what they are counted in."""
        if self.leaves:
            return super().counted()
        written = "count(*) + (SELECT count(DISTINCT bu_u.ord) FROM bu_u)"
        return raw("count(*)"), raw(written), raw("bu_up")

    def found(self) -> tuple[list[str], Fragment]:
        """Return how the written rows are known, and the joins of the input to them.

        An input row's inserted row is found by its key; the first of those that it matches by
        its primary key: so a row that was left out as a duplicate has it too. If that one was
        gone when it could be locked, the next.
        """
        keys = [compose("bu_up.{k}", k=alias("k", i)) for i in range(len(self.plan.key))]
        joinable = any(part.column in self.slot_of for part in self.plan.key)
        inserted = compose(
            " {how} JOIN bu_up ON {same}",
            how=raw("FULL" if joinable else "LEFT"),
            same=self.equal(self.key("bu_i"), keys, BY_HASH),
        )
        if self.leaves:
            return ["bu_up"], inserted
        updated = compose(" LEFT JOIN bu_u ON {same}", same=self._stored("bu_u"))
        if not self.locks:
            return ["bu_up", "bu_u"], compose("{a}{b}", a=inserted, b=updated)
        numbers = range(len(self.plan.pk))
        another = compose(
            " LEFT JOIN (SELECT DISTINCT ON (bu_u.ord) bu_u.* FROM bu_u ORDER BY bu_u.ord, {p})"
            " AS bu_w ON bu_w.ord = bu_i.ord AND ({s}) NOT IN (SELECT {l} FROM bu_l)",
            p=comma(compose("bu_u.{p}", p=alias("p", i)) for i in numbers),
            s=comma(compose("bu_i.{s}", s=alias("s", i)) for i in numbers),
            l=comma(compose("bu_l.{p}", p=alias("p", i)) for i in numbers),
        )
        joined = compose("{a}{b}{c}", a=inserted, b=updated, c=another)
        return ["bu_up", "bu_u", "bu_w"], joined

    def written(self, names: Sequence[str]) -> Fragment:
        """Return the condition that a row was written, be it to another than the first."""
        if self.leaves:
            return any_of(names, "p0 IS NOT NULL")
        return compose(
            "({inserted} OR bu_i.ord IN (SELECT bu_u.ord FROM bu_u))",
            inserted=any_of(names[:1], "p0 IS NOT NULL"),
        )

    def created(self, names: Sequence[str]) -> Fragment:
        """Return the condition that a row was inserted."""
        return any_of(names[:1], "p0 IS NOT NULL")

    def old(self, names: Sequence[str], i: int) -> Fragment:
        """Return a column of the row as it was before."""
        if self.updated_by_old:
            return self._latest(names[1:], "o", i, "w")
        return compose("bu_i.{w}", w=alias("w", i))
