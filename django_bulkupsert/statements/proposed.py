"""What an upsert needs to know and do, and the row that its INSERT proposes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..columns import Column
from ..plans.upsert import Write
from ..result import Status
from ..sql import EMPTY, Fragment, comma, compose, join, raw
from .keyed import Keyed, drawn
from .over import alias


@dataclass(frozen=True)
class Proposed(Keyed):
    """The rows of an upsert as they are proposed for insertion; see Keyed.

    Attributes:
        write: What an update sets and compares.
        lent: The columns that the rows don't give, but a stored row can.
        created_by: How an insert is told from an update: by "old", RETURNING old (PostgreSQL
            18); by "xmax", which is 0 (not on a partitioned table); by "join": no stored row
            was there before.
        per_row: Whether a row per input row is wanted, or counts.
        pk_given: Whether all (True), no (False) or only some (None) rows give a primary key.
        returns: Columns whose stored values are wanted, per row.
        olds: The first of them whose values before the write are wanted too.
        distinct: Whether no two rows are known to have one key.
        looks_up: Whether stored rows are looked up one by one, by the index of the key.
        sure: Whether a row that is proposed is written, or an error; a trigger may leave it out.
    """

    write: Write
    lent: Sequence[Column]
    created_by: str
    per_row: bool
    pk_given: bool | None
    returns: Sequence[Column]
    olds: Sequence[Column]
    distinct: bool
    looks_up: bool
    sure: bool

    # What the call needs ------------------------------------------------------------------

    @cached_property
    def matches(self) -> bool:
        """Whether rows are matched to stored ones: not those that have no primary key."""
        return bool(self.plan.key) and self.part is not False

    @cached_property
    def judges(self) -> bool:
        """Whether the rows have keys, of which one may stand twice, and should not."""
        return bool(self.parts) and self.part is not False and not self.distinct

    @cached_property
    def drops(self) -> bool:
        """Whether all but one of a key's rows are left out."""
        return self.judges and self.plan.options.duplicates != "error"

    @cached_property
    def leaves(self) -> bool:
        """Whether a stored row is left as it is: nothing to update, or conflicts ignored."""
        return not self.write.updates

    @cached_property
    def skips(self) -> bool:
        """Whether a stored row is left as it is if it would not change."""
        return self.plan.options.skip_unchanged and bool(self.write.compares)

    @cached_property
    def filters(self) -> bool:
        """Whether stored rows are looked at to leave some of the input out."""
        return self.matches and (self.leaves or self.skips or self.plan.where is not None)

    @cached_property
    def lends(self) -> bool:
        """Whether a stored row lends the columns that its row doesn't give.

        PostgreSQL checks NOT NULL and CHECK on the row proposed for insertion, even if it then
        updates: without this, an update of some columns would fail for the others.
        """
        return self.matches and not self.leaves and bool(self.lent)

    @cached_property
    def watches(self) -> bool:
        """Whether it is seen to that no row is inserted with what a stored row has lent.

        That row was deleted when its turn came, and what it held is not to come back. Not seen
        where the server can't tell an insert from an update.
        """
        return self.lends and self.created_by != "join"

    @cached_property
    def finds_by_pk(self) -> bool:
        """Whether written rows are found by a primary key that the statement knows before.

        Rows come back by key; those that have none (no match, or a NULL in the key) come back
        by a primary key that is given, or drawn by the statement.
        """
        first, *others = self.plan.pk
        given = {*self.slot_of, *self.constant_of}
        known = first in self.slot_of or drawn(first, self.plan.table) is not None
        known = known and all(column in given for column in others)
        return self.per_row and known and (not self.matches or self.plan.may_lack_key)

    @cached_property
    def rekeys(self) -> bool:
        """Whether an update may change the key: by some of what an index's expression reads."""
        assigned = {column.field for column in self.plan.assigned}
        updated = {column.field for column in self.write.updates}
        read = [set(part.fields) for part in self.plan.key if part.column is None]
        # What sets all that it reads makes it the incoming key.
        return any(fields & assigned or (fields & updated and fields - updated) for fields in read)

    @cached_property
    def numbers(self) -> bool:
        """Whether rows get their primary key before the insert.

        To be found by it, or so that a row which is there already brings its own, and draws
        none of the sequence (``preserve_sequence``).
        """
        return self.finds_by_pk or self.preserves

    @cached_property
    def preserves(self) -> bool:
        """Whether a stored row's primary key is proposed again, so that none is drawn."""
        wanted = self.plan.options.preserve_sequence and self.matches and not self.leaves
        draws = not self.plan.matched_by_pk and drawn(self.plan.pk[0], self.plan.table) is not None
        return wanted and draws

    @cached_property
    def joins(self) -> bool:
        """Whether the stored rows before the write tell an insert from an update."""
        return self.matches and not self.leaves and self.created_by == "join"

    @cached_property
    def tells(self) -> bool:
        """Whether each row is to be told apart, rather than those left out counted as one."""
        return self.per_row or self.drops or self.plan.where is not None

    @cached_property
    def narrows(self) -> bool:
        """Whether the rows are looked at, as bu_i, before they are proposed."""
        return self.filters or self.lends or self.joins or self.numbers or self.tells

    @cached_property
    def streams(self) -> bool:
        """Whether rows go to the INSERT as they are found: those written tell those left out."""
        asks = self.judges or self.tells or self.joins
        return self.sure and self.narrows and not (asks or self.leaves)

    # What becomes of a row ----------------------------------------------------------------

    def new(self, column: Column, row: str) -> Fragment:
        """Return the value that a stored row's column is to get from a row."""
        assigned = self.plan.assigned.get(column)
        if assigned is not None:
            return assigned.fragment(self.brings(row))
        return self.incoming(column, row)

    def changed(self, columns: Collection[Column], row: str = "bu_r") -> Fragment:
        """Return the condition that writing ``columns`` would change the stored row.

        Of an expression whose type is not known to be the column's, nothing can be said.
        """
        assigned = self.plan.assigned
        if any(column in assigned and not assigned[column].is_typed for column in columns):
            return raw("true")
        return super().changed(columns, row)

    def fate(self, row: str = "bu_r") -> Fragment:
        """Return the status of a row that is left out; NULL for one to be written.

        Args:
            row: A row beside the stored row that it matches, or NULLs in its place.
        """
        cases = []
        if self.drops:
            cases.append(compose("WHEN bu_d.ord IS NOT NULL THEN {skipped}", skipped=SKIPPED))
        if self.filters:
            cases.append(compose("WHEN {pk} IS NULL THEN NULL", pk=self.plan.pk[0].stored))
        if self.filters and self.leaves:
            ignores = self.plan.options.ignore_conflicts
            cases.append(compose("ELSE {left}", left=SKIPPED if ignores else UNCHANGED))
        elif self.filters:
            if self.plan.where is not None:
                where = self.plan.where.fragment(self.brings(row))
                cases.append(
                    compose("WHEN {where} IS NOT TRUE THEN {left}", where=where, left=SKIPPED)
                )
            if self.skips:
                same = compose("NOT ({changed})", changed=self.changed(self.write.compares, row))
                cases.append(compose("WHEN {same} THEN {left}", same=same, left=UNCHANGED))
        if not cases:
            return raw("NULL::integer")
        return compose("(CASE {cases} END)::integer", cases=join(" ", cases))

    def named(self, prefix: str, columns: Sequence[Column]) -> list[Fragment]:
        """Return stored columns under the names that their CTE gives them."""
        return [
            compose("{column} AS {alias}", column=column.stored, alias=alias(prefix, i))
            for i, column in enumerate(columns)
        ]

    # What is inserted ---------------------------------------------------------------------

    def inserted(self, row: str) -> list[tuple[Column, Fragment]]:
        """Return the columns that the INSERT names, and the value of each."""
        inserted = []
        for column in (*self.slot_of, *self.constant_of):
            incoming: Fragment | None = self.incoming(column, row)
            if self.plan.pk == (column,):
                incoming = self._inserted_pk(column, row)
            if incoming is not None:
                inserted.append((column, self._or_stored(column, incoming)))
        given = {column for column, _ in inserted}
        if self.plan.pk[0] not in given and self.numbers:
            inserted.append((self.plan.pk[0], raw("bu_i.fresh")))
            given.add(self.plan.pk[0])
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

    def fresh(self, row: str) -> Fragment:
        """Return the primary key that a row to be written is proposed with: given, or drawn.

        Args:
            row: The row, beside what it matches.
        """
        column = self.plan.pk[0]
        parts = [
            self.incoming(column, row) if column in self.slot_of else None,
            compose("{row}.s0", row=raw(row)) if self.preserves else None,
            drawn(column, self.plan.table),
        ]
        fresh = compose("COALESCE({parts})", parts=comma(p for p in parts if p is not None))
        left = [compose("{row}.fate IS NOT NULL", row=raw(row))] if self.tells else []
        if self.judges and not self.drops:
            left.append(raw("EXISTS (SELECT 1 FROM bu_d)"))
        if not left:
            return fresh
        return compose(
            "CASE WHEN {left} THEN NULL ELSE {fresh} END", left=join(" OR ", left), fresh=fresh
        )


def status(status: Status) -> Fragment:
    """Return a status as the statement tells it."""
    return raw(str(status.code))


UNCHANGED = status(Status.UNCHANGED)
CREATED = status(Status.CREATED)
UPDATED = status(Status.UPDATED)
SKIPPED = status(Status.SKIPPED)
