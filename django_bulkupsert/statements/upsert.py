"""INSERT .. SELECT .. ORDER BY key ON CONFLICT (key) DO UPDATE, and what became of each row.

One statement, built of CTEs, each there only if the call needs it::

    bu_r    the relation's rows, typed                         (unnest, values)
    bu_d    whether a key stands twice in bu_r: then nothing is written;
            or, with duplicates="first" or "last", the rows that are left out
    bu_i    bu_r beside the stored rows, the unchanged ones marked or left out; no CTE but a part
            of bu_up, where what was written tells what was left out
    bu_up   the INSERT, in the order of the key, with RETURNING
    ...     counts, or one row per input row: ord, status, primary key, what was asked for

Columns of these are named by a letter and a number: c is a slot; s, m and w are the stored row's
primary key, columns that the row doesn't give, and columns asked for; p, k, v and o are the written
row's primary key, key, columns asked for, and these before the write.

Rows are matched by key, never by position; counts come from RETURNING, never from the
cursor. Both hold on a distributed table too.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ..driver import GONE
from ..sql import EMPTY, Fragment, comma, compose, join, literal, raw
from .inserted import Inserted
from .over import AND, BY_HASH, BY_INDEX, alias
from .proposed import CREATED, SKIPPED, UNCHANGED, UPDATED


@dataclass(frozen=True)
class Upsert(Inserted):
    """One upsert over one relation; see Proposed."""

    def fragment(self) -> Fragment:
        """Return the statement."""
        prelude = EMPTY if self.reads_once else self.relation.prelude()
        ctes = [prelude, self.duplicates(), *self.writes()]
        return compose(
            "WITH {ctes} {reply}{unless}",
            ctes=comma(cte for cte in ctes if cte.text),
            reply=self._rows() if self.per_row else self._counts(),
            unless=self._unless_gone() if self.watches else EMPTY,
        )

    @property
    def shape(self) -> Hashable:
        """What the statement turns on, beside the plan and the shape of rows; None: on its rows."""
        if self.relation.shape is None:
            return None
        constants = tuple([each.sql.text for each in self.constants])
        return (
            self.relation.shape, self.part, self.created_by, self.per_row, self.pk_given,
            self.distinct, self.looks_up, self.sure, constants,
        )  # fmt: skip

    def _unless_gone(self) -> Fragment:
        """Return the condition that no row was inserted which was stored before; else an error."""
        written, new = self._written_key("bu_up"), [raw("bu_up.created")]
        if self.plan.condition is not None:
            new.append(raw("bu_up.within"))
        if self.streams:  # the statement sees what was there before
            same = self.equal([part.stored() for part in self.plan.key], written, BY_INDEX)
            rows = compose(
                "SELECT 1 FROM bu_up JOIN {table} ON {same} WHERE {new}",
                table=self.plan.table,
                same=join(AND, [same, *self.stored_in_index()]),
                new=join(AND, new),
            )
        else:  # no join: of CTEs the planner takes a nested loop
            rows = compose(
                "SELECT {written} FROM bu_up WHERE {new}"
                " INTERSECT SELECT {key} FROM bu_i WHERE bu_i.s0 IS NOT NULL",
                written=comma(written),
                new=join(AND, new),
                key=comma(self.key("bu_i")),
            )
        return compose(
            " WHERE (CASE WHEN EXISTS ({rows}) THEN {gone} ELSE '0' END)::integer = 0",
            rows=rows,
            gone=literal(GONE),
        )

    # The replies --------------------------------------------------------------------------

    def _counts(self) -> Fragment:
        """Return: whether a key stands twice, rows wanted, unchanged, created, written.

        Wanted: to be written; None: all, or those that are written. Unchanged, of the others; None:
        all of them.
        """
        judged = self.judges and not self.drops
        wanted = unchanged = raw("NULL")
        if self.tells:
            wanted = raw("(SELECT count(*) FROM bu_i WHERE bu_i.fate IS NULL)")
            unchanged = compose(
                "(SELECT count(*) FROM bu_i WHERE bu_i.fate = {unchanged})", unchanged=UNCHANGED
            )
        elif self.narrows and not self.streams:
            wanted = raw("(SELECT count(*) FROM bu_i)")
        created, written, source = self.counted()
        return compose(
            "SELECT {twice}, {wanted}, {unchanged}, {created}, {written} FROM {source}",
            twice=raw("EXISTS (SELECT 1 FROM bu_d)" if judged else "false"),
            wanted=wanted,
            unchanged=unchanged,
            created=created,
            written=written,
            source=source,
        )

    def counted(self) -> tuple[Fragment, Fragment, Fragment]:
        """Return the counts of rows created, and written, and what they are counted in."""
        template = "count(*) FILTER (WHERE {created})"
        if not self.joins:
            return compose(template, created=raw("bu_up.created")), raw("count(*)"), raw("bu_up")
        # What was there is written under its primary key; what is new has another.
        wanted = raw(" AND bu_i.fate IS NULL" if self.tells else "")
        source = compose(
            "bu_up LEFT JOIN bu_i ON {same}{wanted}", same=self._stored("bu_up"), wanted=wanted
        )
        return compose(template, created=raw("bu_i.s0 IS NULL")), raw("count(*)"), source

    def _rows(self) -> Fragment:
        """Return for each input row: ord, status, primary key, and what is asked for.

        The status is None where a key stands twice; the position, where no row claims it. With
        values from before the write comes whether there was a row, as the last column.
        """
        names, joined = self.found()
        written = self.written(names)
        created = self.created(names)
        twice = EMPTY
        if self.judges and not self.drops:
            twice = raw(" WHEN EXISTS (SELECT 1 FROM bu_d) THEN NULL")
        columns = [
            self._latest(names, "p", i, "s" if self.matches else None)
            for i in range(len(self.plan.pk))
        ]
        columns += [
            self._latest(names, "v", i, "w" if self.matches else None)
            for i in range(len(self.returns))
        ]
        columns += [self.old(names, i) for i in range(len(self.olds))]
        if self.olds:
            columns.append(self._was(written, created))
        return compose(
            "SELECT bu_i.ord, CASE{twice} WHEN bu_i.fate IS NOT NULL THEN bu_i.fate"
            " WHEN {created} THEN {CREATED} WHEN {written} THEN {UPDATED} ELSE {SKIPPED} END,"
            " {columns} FROM bu_i{joined}",
            twice=twice,
            created=created,
            CREATED=CREATED,
            written=written,
            UPDATED=UPDATED,
            SKIPPED=SKIPPED,
            columns=comma(columns),
            joined=joined,
        )

    def written(self, names: Sequence[str]) -> Fragment:
        """Return the condition that a row was written."""
        return any_of(names, "p0 IS NOT NULL")

    def created(self, names: Sequence[str]) -> Fragment:
        """Return the condition that a row was inserted."""
        if not self.joins:
            return any_of(names, "created")
        written = self.written(names)
        return compose("{written} AND bu_i.s0 IS NULL", written=written)

    def found(self) -> tuple[list[str], Fragment]:
        """Return how the written rows are known, and the joins of the input to them.

        A written row is found by its key; where a row may have none, or an update may change
        it, also by the primary key that it had or was given. A full join, where there is one,
        also brings what no input row claims: a trigger may have changed its key.
        """
        if self.literals is not None:  # one row: what is written is its row
            return ["bu_up"], raw(" LEFT JOIN bu_up ON true")
        found: list[tuple[str, Fragment]] = []
        if self.matches:
            found.append(("bu_up", self._returned("bu_up")))
        if self.rekeys or (self.finds_by_pk and self.matches):
            found.append(("bu_same", self._stored("bu_same")))
        if self.finds_by_pk:
            found.append(("bu_fresh", self._numbered("bu_fresh")))
        joinable = len(found) == 1 and all(
            part.column is not None and part.column in self.slot_of for part in self.parts
        )
        how = raw("FULL JOIN" if joinable else "LEFT JOIN")
        joined = [
            compose(" {how} bu_up AS {name} ON {same}", how=how, name=raw(name), same=same)
            for name, same in found
        ]
        return [name for name, _ in found], join("", joined)

    def _latest(self, names: Sequence[str], prefix: str, i: int, before: str | None) -> Fragment:
        """Return a column of the row as it is now: as it was written, else as it was before."""
        number = raw(str(i))
        cases = [
            compose(
                "WHEN {name}.p0 IS NOT NULL THEN {name}.{prefix}{i}",
                name=raw(name),
                prefix=raw(prefix),
                i=number,
            )
            for name in names
        ]
        if before is not None:
            cases.append(compose("ELSE bu_i.{before}{i}", before=raw(before), i=number))
        return compose("CASE {cases} END", cases=join(" ", cases))

    def old(self, names: Sequence[str], i: int) -> Fragment:
        """Return a column of the row as it was before."""
        if not self.matches:
            return raw("NULL")
        if self.told_by_old:
            return self._latest(names, "o", i, "w")
        return compose("bu_i.{w}", w=alias("w", i))

    def _was(self, written: Fragment, created: Fragment) -> Fragment:
        """Return the condition that there was a row before: as far as that was seen."""
        if not self.matches:
            return raw("false")
        if self.told_by_old:
            template = "CASE WHEN {written} THEN ({created}) IS NOT TRUE ELSE {found} END"
        else:
            template = "({found} AND ({created}) IS NOT TRUE)"
        found = raw("bu_i.s0 IS NOT NULL")
        return compose(template, written=written, created=created, found=found)

    def _written_key(self, name: str) -> list[Fragment]:
        return [
            compose("{name}.{k}", name=raw(name), k=alias("k", i))
            for i in range(len(self.plan.key))
        ]

    def _returned(self, name: str) -> Fragment:
        """Return the condition that a written row has the key of an input row."""
        same = [self.equal(self.key("bu_i"), self._written_key(name), BY_HASH)]
        if self.plan.condition is not None:
            # An update may have taken the row out of a partial index.
            same += self.in_index("bu_i")
            within = "({name}.within OR {name}.p0 = bu_i.s0)"
            same.append(compose(within, name=raw(name)))
        return join(AND, same)

    def _stored(self, name: str) -> Fragment:
        """Return the condition that a written row is the stored one of an input row."""
        same = [
            compose("{name}.{p} = bu_i.{s}", name=raw(name), p=alias("p", i), s=alias("s", i))
            for i in range(len(self.plan.pk))
        ]
        return join(AND, same)

    def _numbered(self, name: str) -> Fragment:
        """Return the condition that a written row has the primary key of an input row."""
        same = [compose("{name}.p0 = bu_i.fresh", name=raw(name))]
        for i, column in enumerate(self.plan.pk[1:], 1):
            same.append(
                compose(
                    "{name}.{p} = {given}",
                    name=raw(name),
                    p=alias("p", i),
                    given=self.incoming(column, "bu_i"),
                )
            )
        return join(AND, same)


def any_of(names: Sequence[str], condition: str) -> Fragment:
    """Return the condition that holds for one of several rows."""
    conditions = [
        compose("{name}.{condition}", name=raw(name), condition=raw(condition)) for name in names
    ]
    return compose("({conditions})", conditions=join(" OR ", conditions or [raw("false")]))
