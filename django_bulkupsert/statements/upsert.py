"""INSERT .. SELECT .. ORDER BY key ON CONFLICT (key) DO UPDATE, and what became of each row.

One statement, built of CTEs, each there only if the call needs it::

    r     the relation's rows, typed                          (unnest, values)
    d     whether a key stands twice in r: then nothing is written
    i     r beside the stored rows, the unchanged ones marked or left out
    up    the INSERT, in the order of the key, with RETURNING
    ...   counts, or one row per input row: ord, status, primary key

Rows are matched by key, never by position; counts come from RETURNING, never from the
cursor. Both hold on a distributed table too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import models
from django.db.models.sql import InsertQuery

from ..columns import Column
from ..plan import Plan, Write
from ..relations import Relation, Slot
from ..result import Status
from ..rows import Constant
from ..sql import EMPTY, Fragment, comma, compose, identifier, join, raw, value

#: How the statement tells an insert from an update.
#: "old": RETURNING old (PostgreSQL 18). "xmax": the row's xmax is 0 (not on a partitioned
#: table). "join": no stored row was seen before.
CREATED_BY = ("old", "xmax", "join")

AND = " AND "


@dataclass(frozen=True)
class Upsert:
    """One upsert over one relation.

    Attributes:
        plan: The checked call.
        write: What an update sets and compares.
        slots: The relation's columns.
        constants: The columns that hold one value.
        missing: The columns that an insert needs and the rows don't give.
        relation: The relation.
        created_by: How an insert is told from an update.
        per_row: Whether a row per input row is wanted, or counts.
        part: None for all rows, or whether those that have a primary key are meant.
        pk_given: Whether all (True), no (False) or only some (None) rows give one.
    """

    plan: Plan
    write: Write
    slots: Sequence[Slot]
    constants: Sequence[Constant]
    missing: Sequence[Column]
    relation: Relation
    created_by: str
    per_row: bool
    part: bool | None
    pk_given: bool | None
    _slot_of: dict[Column, Slot] = field(default_factory=dict)
    _flag_of: dict[Column, Slot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for slot in self.slots:
            (self._flag_of if slot.is_flag else self._slot_of)[slot.column] = slot

    # What the call needs ------------------------------------------------------------------

    @property
    def matches(self) -> bool:
        """Whether rows are matched to stored ones: not those that have no primary key."""
        return self.plan.target is not None and self.part is not False

    @property
    def leaves(self) -> bool:
        """Whether a stored row is left as it is: nothing to update, or conflicts ignored."""
        return not self.write.updates

    @property
    def fills(self) -> bool:
        """Whether an existing row lends the columns that the rows don't give.

        PostgreSQL checks NOT NULL on the row proposed for insertion, even if it then updates:
        without this, an update of some columns would fail for the others.
        """
        return self.matches and bool(self.missing)

    @property
    def filters(self) -> bool:
        """Whether stored rows are looked at to leave some of the input out."""
        return self.matches and (
            self.leaves or bool(self.plan.options.skip_unchanged and self.write.compares)
        )

    @property
    def numbers(self) -> bool:
        """Whether new rows get their primary key before the insert, so as to find them again.

        Rows come back by key; those that have none (no match, or a NULL in the key) come back
        by a primary key that the statement draws for them.
        """
        target = self.plan.target
        return self.per_row and (not self.matches or (target is not None and target.nullable))

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
        if not self.matches:
            return EMPTY
        return compose(
            "d AS MATERIALIZED (SELECT 1 FROM {source} WHERE {keyed} "
            "GROUP BY {key} HAVING count(*) > 1 LIMIT 1)",
            source=self.relation.source(),
            keyed=join(AND, self._keyed("r")),
            key=comma(self._key("r")),
        )

    def _input(self) -> Fragment:
        if not (self.filters or self.fills or self.per_row or self.created_by == "join"):
            return EMPTY
        columns = [compose("r.ord"), *(slot.of("r") for slot in self.slots)]
        stored: Fragment = raw("NULL")
        joined = EMPTY
        where = self._part("r")
        if self.matches:
            stored = self._stored(self.plan.pk[0])
            joined = compose(
                " LEFT JOIN {table} ON {match}",
                table=self.plan.table,
                match=self._match(self._key("r"), map(self._stored, self.plan.key)),
            )
            for i, column in enumerate(self.plan.pk):
                columns.append(
                    compose("{pk} AS {alias}", pk=self._stored(column), alias=_alias("s", i))
                )
            for i, column in enumerate(self.missing):
                columns.append(
                    compose(
                        "{stored} AS {alias}", stored=self._stored(column), alias=_alias("m", i)
                    )
                )
        if self.filters and not self.per_row:
            where.append(
                compose("({stored} IS NULL{changed})", stored=stored, changed=self._changed())
            )
        elif self.per_row:
            wanted = compose("true")
            if self.filters:
                wanted = compose(
                    "({stored} IS NULL{changed})", stored=stored, changed=self._changed()
                )
            columns.append(compose("{wanted} AS wanted", wanted=wanted))
        if self.numbers:
            columns.append(compose("{pk} AS fresh", pk=self._fresh(stored)))
        return compose(
            "i AS MATERIALIZED (SELECT {columns} FROM {source}{joined} WHERE {where})",
            columns=comma(columns),
            source=self.relation.source(),
            joined=joined,
            where=join(AND, where or [raw("true")]),
        )

    def _changed(self) -> Fragment:
        """Return ``OR the stored row would change``: by record image, which sees every change.

        ``IS DISTINCT FROM`` fails on json, xml and point, and is blind on box and citext. The
        operator wants both sides of the same types (manual: "Composite Type Comparison").
        """
        if self.leaves:
            return EMPTY
        if not self.write.compares or not self.plan.options.skip_unchanged:
            return raw(" OR true")
        return compose(
            " OR ROW({stored})::record OPERATOR(pg_catalog.*<>) ROW({incoming})::record",
            stored=comma(self._stored_typed(column) for column in self.write.compares),
            incoming=comma(self._incoming(column, "r") for column in self.write.compares),
        )

    def _insert(self) -> Fragment:
        narrowed = bool(self._input().text)
        row = "i" if narrowed else "r"
        where = [] if narrowed else self._part("r")
        if self.per_row:
            where.append(raw("i.wanted"))
        if self.matches:
            where.append(raw("NOT EXISTS (SELECT 1 FROM d)"))
        inserted = self._inserted(row)
        overriding = any(column in self.plan.pk for column, _ in inserted)
        return compose(
            "up AS (INSERT INTO {table} ({names}){overriding} SELECT {values} FROM {source}"
            " WHERE {where} ORDER BY {order} {conflict} RETURNING {returning})",
            table=self.plan.table,
            names=comma(column.name for column, _ in inserted),
            overriding=raw(" OVERRIDING SYSTEM VALUE" if overriding else ""),
            values=comma(incoming for _, incoming in inserted),
            source=raw("i") if narrowed else self.relation.source(),
            where=join(AND, where or [raw("true")]),
            order=comma(self._order(row)),
            conflict=self._conflict(),
            returning=self._returning(),
        )

    def _inserted(self, row: str) -> list[tuple[Column, Fragment]]:
        """Return the columns that the INSERT names, and the value of each."""
        inserted: list[tuple[Column, Fragment]] = []
        for column in self._slot_of:
            if column in self.plan.pk and len(self.plan.pk) == 1:
                incoming = self._inserted_pk(column, row)
                if incoming is None:
                    continue
            else:
                incoming = self._incoming(column, row)
            inserted.append((column, incoming))
        for column in self.plan.pk:
            if self.numbers and column not in self._slot_of:
                inserted.append((column, raw("i.fresh")))
        if self.fills:
            inserted.extend(
                (column, compose("i.{m}", m=_alias("m", i)))
                for i, column in enumerate(self.missing)
            )
        inserted.extend((each.column, self._incoming(each.column, row)) for each in self.constants)
        return inserted

    def _inserted_pk(self, column: Column, row: str) -> Fragment | None:
        if self.numbers:
            return raw("i.fresh")
        given = self._incoming(column, row)
        if self.part is True or self.pk_given is True:
            return given
        if self.part is False or self.pk_given is False:
            return None if self._draws(column) else given
        return compose("COALESCE({given}, {next})", given=given, next=self._next(column) or given)

    def _conflict(self) -> Fragment:
        if self.part is False and self.plan.target is not None:
            return EMPTY  # a row without a primary key is an insert: a conflict is an error
        if self.plan.target is None:
            return raw("ON CONFLICT DO NOTHING")
        key = comma(column.name for column in self.plan.key)
        if self.leaves:
            return compose("ON CONFLICT ({key}) DO NOTHING", key=key)
        return compose(
            "ON CONFLICT ({key}) DO UPDATE SET {set}",
            key=key,
            set=comma(
                compose("{name} = EXCLUDED.{name}", name=column.name)
                for column in self.write.updates
            ),
        )

    def _returning(self) -> Fragment:
        table = self.plan.table
        created = raw("true")
        with_old = EMPTY
        if self.matches and not self.leaves:
            if self.created_by == "old":
                with_old = raw("WITH (OLD AS bulkupsert_old) ")
                created = compose("bulkupsert_old.{pk} IS NULL", pk=self.plan.pk[0].name)
            elif self.created_by == "xmax":
                created = compose("({table}.xmax = 0)", table=table)
        named = [compose("{created} AS created", created=created)]
        if self.per_row or self.created_by == "join":
            for prefix, columns in (
                ("p", self.plan.pk),
                ("k", self.plan.key if self.matches else ()),
            ):
                named.extend(
                    compose(
                        "{column} AS {alias}", column=self._stored(column), alias=_alias(prefix, i)
                    )
                    for i, column in enumerate(columns)
                )
        return compose("{old}{named}", old=with_old, named=comma(named))

    # The replies --------------------------------------------------------------------------

    def _counts(self) -> Fragment:
        """Return: whether a key stands twice, rows wanted (None: all), created, written."""
        by_join = self.matches and not self.leaves and self.created_by == "join"
        return compose(
            "SELECT {twice}, {wanted}, count(*) FILTER (WHERE {created}), count(*) FROM up{joined}",
            twice=raw("EXISTS (SELECT 1 FROM d)" if self.matches else "false"),
            wanted=raw("(SELECT count(*) FROM i)" if self._input().text else "NULL"),
            created=raw("i.s0 IS NULL" if by_join else "up.created"),
            joined=compose(" LEFT JOIN i ON {match}", match=self._returned()) if by_join else EMPTY,
        )

    def _rows(self) -> Fragment:
        """Return for each input row: ord, status (None: a key stands twice), primary key."""
        by_join = self.created_by == "join" and self.matches and not self.leaves
        joined, found, pk = self._found()
        kept = Status.SKIPPED if self.plan.options.ignore_conflicts else Status.UNCHANGED
        return compose(
            "SELECT i.ord, CASE{twice} WHEN {created} THEN {CREATED} WHEN {found} THEN {UPDATED}"
            "{kept} ELSE {SKIPPED} END, {pk} FROM i{joined}",
            twice=raw(" WHEN EXISTS (SELECT 1 FROM d) THEN NULL" if self.matches else ""),
            created=compose("{found} AND i.s0 IS NULL", found=found)
            if by_join
            else self._created(),
            found=found,
            kept=compose(
                " WHEN i.s0 IS NOT NULL AND NOT i.wanted THEN {kept}", kept=raw(str(int(kept)))
            )
            if self.matches
            else EMPTY,
            CREATED=raw(str(int(Status.CREATED))),
            UPDATED=raw(str(int(Status.UPDATED))),
            SKIPPED=raw(str(int(Status.SKIPPED))),
            pk=comma(pk),
            joined=joined,
        )

    def _created(self) -> Fragment:
        if not self.matches:
            return raw("fresh_up.created")
        return raw("COALESCE(up.created, fresh_up.created)" if self.numbers else "up.created")

    def _found(self) -> tuple[Fragment, Fragment, list[Fragment]]:
        """Return how written rows are joined to their input, the test, the primary key."""
        by_fresh = compose(
            " LEFT JOIN up AS fresh_up ON fresh_up.p0 = i.fresh{others}",
            others=join(
                "",
                [
                    compose(
                        " AND fresh_up.{p} = {given}",
                        p=_alias("p", i),
                        given=self._slot_of[column].of("i"),
                    )
                    for i, column in enumerate(self.plan.pk)
                    if i
                ],
            ),
        )
        if not self.matches:
            pk = [compose("fresh_up.{p}", p=_alias("p", i)) for i in range(len(self.plan.pk))]
            return by_fresh, raw("fresh_up.p0 IS NOT NULL"), pk
        joined = compose(" LEFT JOIN up ON {match}", match=self._returned())
        written = ["up", "fresh_up"] if self.numbers else ["up"]
        pk = [
            compose(
                "COALESCE({written}, i.{s})",
                written=comma(compose("{up}.{p}", up=raw(up), p=_alias("p", i)) for up in written),
                s=_alias("s", i),
            )
            for i in range(len(self.plan.pk))
        ]
        if not self.numbers:
            return joined, raw("up.p0 IS NOT NULL"), pk
        lost = join(" OR ", [compose("{part} IS NULL", part=part) for part in self._key("i")])
        return (
            compose("{joined}{by_fresh} AND ({lost})", joined=joined, by_fresh=by_fresh, lost=lost),
            raw("COALESCE(up.p0, fresh_up.p0) IS NOT NULL"),
            pk,
        )

    def _returned(self) -> Fragment:
        """Return the condition that a written row, up, is the one of an input row, i."""
        keys = [compose("up.{k}", k=_alias("k", i)) for i in range(len(self.plan.key))]
        return self._match(self._key("i"), keys)

    # Columns ------------------------------------------------------------------------------

    def _incoming(self, column: Column, row: str) -> Fragment:
        """Return the incoming value of a column."""
        slot = self._slot_of.get(column)
        if slot is None:
            text = next(each.text for each in self.constants if each.column is column)
            return compose("{text}::{type}", text=value(text), type=column.base_type)
        if column in self._flag_of:
            return compose(
                "CASE WHEN {flag} THEN {default} ELSE {value} END",
                flag=self._flag_of[column].of(row),
                default=_database_default(column),
                value=slot.of(row),
            )
        return slot.of(row)

    def _stored(self, column: Column) -> Fragment:
        return compose("{table}.{name}", table=self.plan.table, name=column.name)

    def _stored_typed(self, column: Column) -> Fragment:
        if self.relation.exact_types:
            return self._stored(column)
        return compose("{stored}::{type}", stored=self._stored(column), type=column.base_type)

    def _key(self, row: str) -> list[Fragment]:
        return [self._slot_of[column].of(row) for column in self.plan.key]

    def _keyed(self, row: str) -> list[Fragment]:
        """Return the conditions that a row has a key; a NULL may be a key like any."""
        if self.plan.target is not None and self.plan.target.null_safe:
            return [*self._part(row), raw("true")]
        return [compose("{part} IS NOT NULL", part=part) for part in self._key(row)]

    def _match(self, left: Any, right: Any) -> Fragment:
        null_safe = self.plan.target is not None and self.plan.target.null_safe
        template = (
            "({left} = {right} OR {left} IS NULL AND {right} IS NULL)"
            if null_safe
            else "{left} = {right}"
        )
        return join(
            AND, [compose(template, left=a, right=b) for a, b in zip(left, right, strict=True)]
        )

    def _part(self, row: str) -> list[Fragment]:
        slot = self._slot_of.get(self.plan.pk[0])
        if self.part is None or slot is None:
            return []
        pk = slot.of(row)
        return [compose("{pk} IS NOT NULL" if self.part else "{pk} IS NULL", pk=pk)]

    def _order(self, row: str) -> list[Fragment]:
        """Return the one order in which every call takes its locks: by bytes, where it's text."""
        columns = () if self.part is False else self.plan.order(self._slot_of)
        return [
            *(
                compose(
                    '{slot} COLLATE "C"' if column.is_text else "{slot}",
                    slot=self._slot_of[column].of(row),
                )
                for column in columns
            ),
            compose("{row}.ord", row=raw(row)),
        ]

    # New primary keys ---------------------------------------------------------------------

    def _fresh(self, stored: Fragment) -> Fragment:
        """Return the primary key that a row has or will have: given, stored, or drawn."""
        column = self.plan.pk[0]
        parts = [stored]
        if column in self._slot_of:
            parts.insert(0, self._slot_of[column].of("r"))
        drawn = self._next(column)
        if drawn is not None:
            parts.append(drawn)
        return compose("COALESCE({parts})", parts=comma(parts))

    def _draws(self, column: Column) -> bool:
        return isinstance(column.field, models.AutoField) or bool(
            getattr(column.field, "has_db_default", bool)()
        )

    def _next(self, column: Column) -> Fragment | None:
        """Return the expression that the column's own default would compute, if it's known."""
        if getattr(column.field, "has_db_default", bool)():
            return _database_default(column)
        if not self._draws(column):
            return None
        return compose(
            "nextval((SELECT pg_get_serial_sequence({table}, {column}))::regclass)",
            table=value(self.plan.table.plain()),
            column=value(column.field.column),
        )


@dataclass(frozen=True)
class Duplicates:
    """The keys that stand more than once in a relation, with the positions of their rows."""

    upsert: Upsert
    most: int

    def fragment(self) -> Fragment:
        """Return the statement: positions, then the parts of the key as text."""
        upsert = self.upsert
        prelude = upsert.relation.prelude()
        return compose(
            "{with_}SELECT array_agg(r.ord ORDER BY r.ord), {texts} FROM {source} WHERE {keyed} "
            "GROUP BY {key} HAVING count(*) > 1 ORDER BY min(r.ord) LIMIT {most}",
            with_=compose("WITH {prelude} ", prelude=prelude) if prelude.text else EMPTY,
            texts=comma(compose("{part}::text", part=part) for part in upsert._key("r")),
            source=upsert.relation.source(),
            keyed=join(AND, upsert._keyed("r")),
            key=comma(upsert._key("r")),
            most=raw(str(self.most)),
        )


@dataclass(frozen=True)
class Lookup:
    """The stored primary key of each row of a relation: for rows that another call created."""

    upsert: Upsert

    def fragment(self) -> Fragment:
        """Return the statement: ord, then the primary key."""
        upsert = self.upsert
        prelude = upsert.relation.prelude()
        return compose(
            "{with_}SELECT r.ord, {pk} FROM {source} JOIN {table} ON {match}",
            with_=compose("WITH {prelude} ", prelude=prelude) if prelude.text else EMPTY,
            pk=comma(map(upsert._stored, upsert.plan.pk)),
            source=upsert.relation.source(),
            table=upsert.plan.table,
            match=upsert._match(upsert._key("r"), map(upsert._stored, upsert.plan.key)),
        )


def _alias(prefix: str, i: int) -> Fragment:
    return identifier(f"{prefix}{i}")


def _database_default(column: Column) -> Fragment:
    """Return the expression of a field's db_default, as Django compiles it."""
    compiler: Any = InsertQuery(column.field.model).get_compiler(connection=column.connection)
    default: Any = column.field
    expression = default._db_default_expression.resolve_expression(
        compiler.query, allow_joins=False
    )
    text, params = compiler.compile(expression)
    return compose(
        "({default})::{type}", default=Fragment(text, tuple(params)), type=column.base_type
    )
