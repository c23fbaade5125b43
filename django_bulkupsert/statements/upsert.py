"""INSERT .. SELECT .. ORDER BY key ON CONFLICT (key) DO UPDATE, and what became of each row.

One statement, built of CTEs, each there only if the call needs it::

    bu_r    the relation's rows, typed                         (unnest, values)
    bu_d    whether a key stands twice in bu_r: then nothing is written
    bu_i    bu_r beside the stored rows, the unchanged ones marked or left out
    bu_up   the INSERT, in the order of the key, with RETURNING
    ...     counts, or one row per input row: ord, status, primary key, what was asked for

Columns of these are named by a letter and a number: c is a slot; s, m and w are the stored row's
primary key, columns that the row doesn't give, and columns asked for; p, k and v are the written
row's primary key, key, and columns asked for.

Rows are matched by key, never by position; counts come from RETURNING, never from the
cursor. Both hold on a distributed table too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..columns import Column
from ..plans.upsert import Write
from ..result import Status
from ..sql import EMPTY, Fragment, comma, compose, join, raw
from .keyed import Keyed, drawn
from .over import AND, BY_HASH, alias


@dataclass(frozen=True)
class Upsert(Keyed):
    """One upsert over one relation.

    Attributes:
        write: What an update sets and compares.
        lent: The columns that the rows don't give, but a stored row can.
        created_by: How an insert is told from an update: by "old", RETURNING old (PostgreSQL
            18); by "xmax", which is 0 (not on a partitioned table); by "join": no stored row
            was there before.
        per_row: Whether a row per input row is wanted, or counts.
        pk_given: Whether all (True), no (False) or only some (None) rows give a primary key.
        returns: Columns whose stored values are wanted, per row.
    """

    write: Write
    lent: Sequence[Column]
    created_by: str
    per_row: bool
    pk_given: bool | None
    returns: Sequence[Column]

    # What the call needs ------------------------------------------------------------------

    @cached_property
    def matches(self) -> bool:
        """Whether rows are matched to stored ones: not those that have no primary key."""
        return self.plan.target is not None and self.part is not False

    @cached_property
    def judges(self) -> bool:
        """Whether the rows have keys, which may not stand twice."""
        return bool(self.key_columns) and self.part is not False

    @cached_property
    def leaves(self) -> bool:
        """Whether a stored row is left as it is: nothing to update, or conflicts ignored."""
        return not self.write.updates

    @cached_property
    def filters(self) -> bool:
        """Whether stored rows are looked at to leave some of the input out."""
        skips = self.plan.options.skip_unchanged and bool(self.write.compares)
        return self.matches and (self.leaves or skips)

    @cached_property
    def lends(self) -> bool:
        """Whether a stored row lends the columns that its row doesn't give.

        PostgreSQL checks NOT NULL and CHECK on the row proposed for insertion, even if it then
        updates: without this, an update of some columns would fail for the others.
        """
        return self.matches and not self.leaves and bool(self.lent)

    @cached_property
    def numbers(self) -> bool:
        """Whether new rows get their primary key before the insert, to find them again by it.

        Rows come back by key; those that have none (no match, or a NULL in the key) come back
        by a primary key that is given, or drawn by the statement.
        """
        target = self.plan.target
        return self.per_row and (not self.matches or (target is not None and target.nullable))

    @cached_property
    def joins(self) -> bool:
        """Whether the stored rows before the write tell an insert from an update."""
        return self.matches and not self.leaves and self.created_by == "join"

    @cached_property
    def narrows(self) -> bool:
        """Whether the statement has the CTE bu_i."""
        return self.filters or self.lends or self.per_row or self.joins

    # The statement ------------------------------------------------------------------------

    def fragment(self) -> Fragment:
        """Return the statement."""
        ctes = [self.relation.prelude(), self._duplicates(), self._input(), self._insert()]
        return compose(
            "WITH {ctes} {reply}",
            ctes=comma(cte for cte in ctes if cte.text),
            reply=self._rows() if self.per_row else self._counts(),
        )

    def _duplicates(self) -> Fragment:
        if not self.judges:
            return EMPTY
        return compose(
            "bu_d AS MATERIALIZED (SELECT 1 FROM {source} WHERE {keyed} "
            "GROUP BY {key} HAVING count(*) > 1 LIMIT 1)",
            source=self.relation.source(),
            keyed=join(AND, self.keyed()),
            key=comma(self.key()),
        )

    def _input(self) -> Fragment:
        if not self.narrows:
            return EMPTY
        columns = [raw("bu_r.ord"), *(slot.of() for slot in self.slot_of.values())]
        where = self.within()
        source = self.relation.source()
        if self.matches:
            source = compose(
                "{source} LEFT JOIN {table} ON {matched}",
                source=source,
                table=self.plan.table,
                matched=self.matched(),
            )
            columns += self._named("s", self.plan.pk)
            columns += self._named("m", self.lent if self.lends else ())
            columns += self._named("w", self.returns)
        if self.per_row:
            columns.append(compose("{wanted} AS wanted", wanted=self._wanted()))
        else:
            where.append(self._wanted())
        if self.numbers:
            columns.append(compose("{pk} AS fresh", pk=self._fresh()))
        return compose(
            "bu_i AS MATERIALIZED (SELECT {columns} FROM {source} WHERE {where})",
            columns=comma(columns),
            source=source,
            where=join(AND, where or [raw("true")]),
        )

    def _wanted(self) -> Fragment:
        """Return the condition that a row is to be written."""
        if not self.filters:
            return raw("true")
        new = compose("{pk} IS NULL", pk=self.plan.pk[0].stored)
        if self.leaves:
            return new
        changed = self.changed(self.write.compares)
        return compose("({new} OR {changed})", new=new, changed=changed)

    def _insert(self) -> Fragment:
        row = "bu_i" if self.narrows else "bu_r"
        where = [] if self.narrows else self.within()
        if self.per_row:
            where.append(raw("bu_i.wanted"))
        if self.judges:
            where.append(raw("NOT EXISTS (SELECT 1 FROM bu_d)"))
        inserted = self._inserted(row)
        gives_pk = any(column in self.plan.pk for column, _ in inserted)
        order = () if self.part is False else self.plan.order(self.slot_of)
        return compose(
            "bu_up AS (INSERT INTO {table} ({names}){overriding} SELECT {values} FROM {source}"
            " WHERE {where} ORDER BY {order}{conflict} RETURNING {returning})",
            table=self.plan.table,
            names=comma(column.name for column, _ in inserted),
            overriding=raw(" OVERRIDING SYSTEM VALUE" if gives_pk else ""),
            values=comma(incoming for _, incoming in inserted),
            source=raw("bu_i") if self.narrows else self.relation.source(),
            where=join(AND, where or [raw("true")]),
            order=self.order(order, row),
            conflict=self._conflict(),
            returning=self._returning(),
        )

    def _conflict(self) -> Fragment:
        if self.plan.target is None:
            return raw(" ON CONFLICT DO NOTHING")
        if not self.matches:
            return EMPTY  # a row without a primary key is an insert: a conflict is an error
        key = comma(column.name for column in self.plan.key)
        if self.leaves:
            return compose(" ON CONFLICT ({key}) DO NOTHING", key=key)
        return compose(
            " ON CONFLICT ({key}) DO UPDATE SET {set}",
            key=key,
            set=comma(
                compose("{name} = EXCLUDED.{name}", name=column.name)
                for column in self.write.updates
            ),
        )

    def _returning(self) -> Fragment:
        with_old = EMPTY
        created = raw("true")
        if self.matches and not self.leaves:
            if self.created_by == "old":
                with_old = raw("WITH (OLD AS bu_old) ")
                created = compose("bu_old.{pk} IS NULL", pk=self.plan.pk[0].name)
            elif self.created_by == "xmax":
                created = compose("{table}.xmax = 0", table=self.plan.table)
        named = [compose("{created} AS created", created=created)]
        if self.per_row or self.joins:
            named += self._named("p", self.plan.pk)
            named += self._named("k", self.plan.key if self.matches else ())
            named += self._named("v", self.returns)
        return compose("{old}{named}", old=with_old, named=comma(named))

    def _named(self, prefix: str, columns: Sequence[Column]) -> list[Fragment]:
        return [
            compose("{column} AS {alias}", column=column.stored, alias=alias(prefix, i))
            for i, column in enumerate(columns)
        ]

    # What is inserted ---------------------------------------------------------------------

    def _inserted(self, row: str) -> list[tuple[Column, Fragment]]:
        """Return the columns that the INSERT names, and the value of each."""
        inserted = []
        for column in (*self.slot_of, *(each.column for each in self.constants)):
            incoming: Fragment | None = self.incoming(column, row)
            if self.plan.pk == (column,):
                incoming = self._inserted_pk(column, row)
            if incoming is not None:
                inserted.append((column, self._or_stored(column, incoming)))
        given = {column for column, _ in inserted}
        if self.plan.pk[0] not in self.slot_of and self.numbers:
            inserted.append((self.plan.pk[0], raw("bu_i.fresh")))
        inserted += [
            (column, self._or_stored(column, EMPTY))
            for column in self.lent
            if self.lends and column not in given
        ]
        if not inserted:  # rows of nothing but a primary key that is to be drawn
            new = drawn(self.plan.pk[0], self.plan.table)
            inserted = [(self.plan.pk[0], raw("NULL") if new is None else new)]
        return inserted

    def _or_stored(self, column: Column, incoming: Fragment) -> Fragment:
        """Return what is proposed for a column: of a stored row, what it lends."""
        if not self.lends or column not in self.lent:
            return incoming
        stored = compose("bu_i.{m}", m=alias("m", self.lent.index(column)))
        if not incoming.text:
            return stored
        return compose(
            "CASE WHEN bu_i.s0 IS NULL THEN {incoming} ELSE {stored} END",
            incoming=incoming,
            stored=stored,
        )

    def _inserted_pk(self, column: Column, row: str) -> Fragment | None:
        if self.numbers:
            return raw("bu_i.fresh")
        given = self.incoming(column, row)
        new = drawn(column, self.plan.table)
        if self.part is True or self.pk_given is True or new is None:
            return given
        if self.part is False or self.pk_given is False:
            return None  # the column's own default draws it
        return compose("COALESCE({given}, {new})", given=given, new=new)

    def _fresh(self) -> Fragment:
        """Return the primary key that a row has or will have: given, stored, or drawn."""
        column = self.plan.pk[0]
        parts = [
            self.incoming(column) if column in self.slot_of else None,
            column.stored if self.matches else None,
            drawn(column, self.plan.table),
        ]
        return compose("COALESCE({parts})", parts=comma(part for part in parts if part is not None))

    # The replies --------------------------------------------------------------------------

    def _counts(self) -> Fragment:
        """Return: whether a key stands twice, rows wanted (None: all), created, written."""
        return compose(
            "SELECT {twice}, {wanted}, count(*) FILTER (WHERE {created}), count(*) "
            "FROM bu_up{before}",
            twice=raw("EXISTS (SELECT 1 FROM bu_d)" if self.judges else "false"),
            wanted=raw("(SELECT count(*) FROM bu_i)" if self.narrows else "NULL"),
            created=raw("bu_i.s0 IS NULL" if self.joins else "bu_up.created"),
            before=compose(" LEFT JOIN bu_i ON {same}", same=self._returned("bu_up"))
            if self.joins
            else EMPTY,
        )

    def _rows(self) -> Fragment:
        """Return for each input row: ord, status, primary key, and what is asked for.

        The status is None where a key stands twice; the position, where no row claims it.
        """
        # A written row is found by its key, or, where a row has none, by its primary key.
        found: list[tuple[str, Fragment]] = []
        if self.matches:
            found.append(("bu_up", self._returned("bu_up")))
        if self.numbers:
            keyless = [
                join(" OR ", [compose("{part} IS NULL", part=part) for part in self.key("bu_i")])
            ]
            found.append(("bu_fresh", self._numbered("bu_fresh", keyless if self.matches else [])))
        names = [name for name, _ in found]
        written = self._first(names, "p0")
        created = self._first(names, "created")
        if self.joins:
            created = compose("{written} IS NOT NULL AND bu_i.s0 IS NULL", written=written)
        twice = left = EMPTY
        if self.judges:
            twice = raw(" WHEN EXISTS (SELECT 1 FROM bu_d) THEN NULL")
        if self.matches:
            ignored = self.plan.options.ignore_conflicts
            left = compose(
                " WHEN bu_i.s0 IS NOT NULL AND NOT bu_i.wanted THEN {left}",
                left=_status(Status.SKIPPED if ignored else Status.UNCHANGED),
            )
        return compose(
            "SELECT bu_i.ord, CASE{twice} WHEN {created} THEN {CREATED}"
            " WHEN {written} IS NOT NULL THEN {UPDATED}{left} ELSE {SKIPPED} END, {pk}"
            " FROM bu_i{joined}",
            twice=twice,
            created=created,
            CREATED=_status(Status.CREATED),
            written=written,
            UPDATED=_status(Status.UPDATED),
            left=left,
            SKIPPED=_status(Status.SKIPPED),
            pk=comma(
                self._first(names, f"{written}{i}", f"bu_i.{before}{i}" if self.matches else None)
                for written, before, columns in (("p", "s", self.plan.pk), ("v", "w", self.returns))
                for i in range(len(columns))
            ),
            joined=self._joined(found),
        )

    def _joined(self, found: Sequence[tuple[str, Fragment]]) -> Fragment:
        """Return the joins of the input to what was written.

        A full join, where there is one, also brings what no input row claims: a trigger may
        have changed its key.
        """
        joinable = all(column in self.slot_of for column in self.key_columns)
        how = raw("FULL JOIN" if len(found) == 1 and joinable else "LEFT JOIN")
        return join(
            "",
            [
                compose(" {how} bu_up AS {name} ON {same}", how=how, name=raw(name), same=same)
                for name, same in found
            ],
        )

    def _first(self, names: Sequence[str], column: str, last: str | None = None) -> Fragment:
        """Return the first of a column's values that is there, of several rows."""
        columns = [f"{name}.{column}" for name in names] + ([last] if last else [])
        return compose("COALESCE({columns})", columns=comma(map(raw, columns)))

    def _returned(self, name: str) -> Fragment:
        """Return the condition that a written row has the key of an input row."""
        keys = [
            compose("{name}.{k}", name=raw(name), k=alias("k", i))
            for i in range(len(self.plan.key))
        ]
        return self.equal(self.key("bu_i"), keys, BY_HASH)

    def _numbered(self, name: str, where: Sequence[Fragment]) -> Fragment:
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
        same += [compose("({condition})", condition=condition) for condition in where]
        return join(AND, same)


def _status(status: Status) -> Fragment:
    return raw(str(int(status)))
