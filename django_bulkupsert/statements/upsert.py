"""INSERT .. SELECT .. ORDER BY key ON CONFLICT (key) DO UPDATE, and what became of each row.

One statement, built of CTEs, each there only if the call needs it::

    bu_r    the relation's rows, typed                         (unnest, values)
    bu_d    whether a key stands twice in bu_r: then nothing is written;
            or, with duplicates="first" or "last", the rows that are left out
    bu_i    bu_r beside the stored rows, the unchanged ones marked or left out
    bu_up   the INSERT, in the order of the key, with RETURNING
    ...     counts, or one row per input row: ord, status, primary key, what was asked for

Columns of these are named by a letter and a number: c is a slot; s, m and w are the stored row's
primary key, columns that the row doesn't give, and columns asked for; p, k, v and o are the written
row's primary key, key, columns asked for, and these before the write.

Rows are matched by key, never by position; counts come from RETURNING, never from the
cursor. Both hold on a distributed table too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..fields import Field
from ..sql import EMPTY, Fragment, comma, compose, identifier, join, raw
from .over import AND, BY_HASH, alias
from .proposed import CREATED, SKIPPED, UNCHANGED, UPDATED, Proposed


@dataclass(frozen=True)
class Upsert(Proposed):
    """One upsert over one relation; see Proposed."""

    def fragment(self) -> Fragment:
        """Return the statement."""
        ctes = [self.relation.prelude(), self.duplicates(), *self.writes()]
        return compose(
            "WITH {ctes} {reply}",
            ctes=comma(cte for cte in ctes if cte.text),
            reply=self._rows() if self.per_row else self._counts(),
        )

    def duplicates(self) -> Fragment:
        """Return the CTE bu_d."""
        if not self.judges:
            return EMPTY
        parts = {
            "source": self.relation.source(),
            "keyed": join(AND, self.keyed()),
            "key": comma(self.key()),
        }
        if not self.drops:
            return compose(
                "bu_d AS MATERIALIZED (SELECT 1 FROM {source} WHERE {keyed} "
                "GROUP BY {key} HAVING count(*) > 1 LIMIT 1)",
                **parts,
            )
        return compose(
            "bu_d AS MATERIALIZED (SELECT bu_n.ord FROM (SELECT bu_r.ord, row_number() OVER "
            "(PARTITION BY {key} ORDER BY bu_r.ord{descending}) AS n FROM {source} "
            "WHERE {keyed}) AS bu_n WHERE bu_n.n > 1)",
            descending=raw(" DESC" if self.plan.options.duplicates == "last" else ""),
            **parts,
        )

    def writes(self) -> list[Fragment]:
        """Return the CTEs that match and write."""
        return [self._input(), self.insert()]

    def _input(self) -> Fragment:
        if not self.narrows:
            return EMPTY
        columns = [raw("bu_r.ord"), *(slot.of() for slot in self.slot_of.values())]
        where = self.within()
        source = self.beside_dropped(self.relation.source())
        if self.matches:
            source = compose(
                "{source} LEFT JOIN {table} ON {matched}",
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
        return compose("bu_i AS MATERIALIZED ({rows})", rows=rows)

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
            " WHERE {where} ORDER BY {order}{conflict} RETURNING {returning})",
            table=self.plan.table,
            names=comma(column.name for column, _ in inserted),
            overriding=raw(" OVERRIDING SYSTEM VALUE" if gives_pk else ""),
            values=comma(incoming for _, incoming in inserted),
            source=raw("bu_i") if self.narrows else self.relation.source(),
            where=join(AND, where or [raw("true")]),
            order=self.in_order(row),
            conflict=self.conflict(),
            returning=self.returning(),
        )

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
        if self.per_row or self.joins:
            named += self.named("p", self.plan.pk)
            if self.matches:
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

    # The replies --------------------------------------------------------------------------

    def _counts(self) -> Fragment:
        """Return: whether a key stands twice, rows wanted, unchanged, created, written.

        Wanted: to be written; None: all. Unchanged, of the others; None: all of them.
        """
        judged = self.judges and not self.drops
        wanted = unchanged = raw("NULL")
        if self.tells:
            wanted = raw("(SELECT count(*) FROM bu_i WHERE bu_i.fate IS NULL)")
            unchanged = compose(
                "(SELECT count(*) FROM bu_i WHERE bu_i.fate = {unchanged})", unchanged=UNCHANGED
            )
        elif self.narrows:
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

    def _returned(self, name: str) -> Fragment:
        """Return the condition that a written row has the key of an input row."""
        keys = [
            compose("{name}.{k}", name=raw(name), k=alias("k", i))
            for i in range(len(self.plan.key))
        ]
        same = [self.equal(self.key("bu_i"), keys, BY_HASH)]
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
