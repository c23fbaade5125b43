"""Who is to blame where an upsert fails: the rows, or the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import DatabaseError, IntegrityError, ProgrammingError

from ..columns import Column
from ..driver import diagnostics
from ..errors import (
    TAKES_NO_NULL,
    DuplicateKeysError,
    MissingConstraintError,
    RowConstraintError,
    RowValueError,
)
from ..plans.upsert import UpsertPlan
from ..relations import Relation
from ..result import UpsertResult
from ..server import forget_kind
from ..sql import Fragment
from ..statements.catalog import checks, foreign_key_columns, has_before_triggers, unique_columns
from ..statements.questions import duplicates, first_too_long, nulls
from ..statements.screens import occupied, orphans, repeated, unchecked
from ..statements.upsert import Upsert
from .attempts import OTHER_KIND
from .bound import Bound
from .call import Call


def one_of(columns: Sequence[Column]) -> Column | None:
    """Return the column, where it is one."""
    return columns[0] if len(columns) == 1 else None


def no_row(column: Column) -> str:
    """Say that a row points to none."""
    label = column.field.related_model._meta.label  # type: ignore[union-attr]
    return f"no row of {label} has this key"


#: Keys that DuplicateKeysError lists.
KEYS_SHOWN = 10


class Faults(Call[UpsertPlan, UpsertResult]):
    """An upsert under way, and what can be told of its errors."""

    bound: Bound

    def upsert(self, relation: Relation, part: bool | None) -> Upsert:
        """Return the statement of a part of the rows."""
        raise NotImplementedError

    def duplicates(self, cursor: Any, upsert: Upsert) -> DuplicateKeysError:
        """Return the error that lists the keys that stand twice."""
        upsert.execute(cursor, duplicates(upsert, KEYS_SHOWN + 1))
        found = cursor.fetchall()
        shown = found[:KEYS_SHOWN]
        return DuplicateKeysError(
            [part.name for part in upsert.parts],
            [tuple("NULL" if part is None else part for part in key) for _, *key in shown],
            [tuple(indexes) for indexes, *_ in shown],
            more=len(found) > KEYS_SHOWN,
            choice=self.plan.target is not None,
        )

    def may_pass(self, relation: Relation, error: DatabaseError) -> int:
        """Return how often to try again where another row has a value: it may be the row's own.

        Another call has written the same row at the same time; now it is there to be matched. Never
        if the value is another row's; where that can't be told for sure, once. Once too, if the
        table has become one of another kind since it was asked.
        """
        found = diagnostics(error)
        if found.sqlstate in OTHER_KIND:
            system = found.sqlstate == "0A000" or "xmax" in (found.message or "")
            return int(
                system and not found.context and forget_kind(self.connection, self.plan.table)
            )
        if found.context or not self.plan.key:
            return 0
        over = self.upsert(relation, None)
        certain = False
        with self.asking() as cursor:
            names = self._index_names(cursor, found.constraint)
            if self.source.without_pk and names == [self.plan.pk[0].field.column]:
                # One that was drawn is another row's; one that was preserved may be, since deleted.
                return int(self.plan.options.preserve_sequence)
            columns = self._columns(over, names)
            if columns and self._is_plain(cursor, columns):
                if self._others(cursor, over, columns) is not None:
                    return 0
                certain = True
        return self.attempts.most if certain else 1

    def _is_plain(self, cursor: Any, columns: Sequence[Column]) -> bool:
        """Whether what rows bring for columns is what is stored there, if it is written."""
        has_before_triggers(self.plan.table).execute(cursor)
        return not (cursor.fetchone()[0] or any(each in self.plan.assigned for each in columns))

    def check_constraint(self, error: ProgrammingError) -> None:
        """Say that the table lacks what the model has, if that is the error.

        Raises:
            MissingConstraintError: It is.
        """
        target = self.plan.target
        found = diagnostics(error)
        state = found.sqlstate
        if target is None or found.context or state not in ("42P10", "42704"):
            return  # with a context it is an error of a trigger's
        if state == "42704" and not target.is_constraint:
            return
        what = f"unique constraint {target}" if target.parts else f"constraint {target.name!r}"
        model = self.plan.model
        way_out = "run migrate, after makemigrations if the constraint is new"
        if not model._meta.managed:
            way_out = "Django doesn't manage it: pass what an index of it covers, or match_fields"
        raise MissingConstraintError(
            f"the table of {model._meta.label} has no {what}, which the model has; {way_out}"
        ) from error

    def blame_value(self, error: DatabaseError, relation: Relation) -> None:
        """Raise the error that names the row, or the keys, that the server can't take, if known."""
        ways = {"22001": self._blame_text, "21000": self._blame_keys}
        if way := ways.get(diagnostics(error).sqlstate or ""):
            way(error, relation)

    def _blame_text(self, error: DatabaseError, relation: Relation) -> None:
        """Raise the error that names the row whose text a transform left too long."""
        over = self.upsert(relation, None)
        for transform in self.plan.transforms:
            field, index = transform.column.field, None
            most = field.max_length
            with self.asking() as cursor:
                if most is not None:
                    over.execute(cursor, first_too_long(over, transform.column, most))
                    index = cursor.fetchone()[0]
            if index is not None:
                raise RowValueError(
                    index, field.name, f"more than {most} characters after its transform"
                ) from error

    def _blame_keys(self, error: DatabaseError, relation: Relation) -> None:
        """Raise the error that lists the keys that stand twice.

        To the server they may be one though their texts differ: its column is of another type,
        or collation, than the model's.
        """
        found = None
        with self.asking() as cursor:
            found = self.duplicates(cursor, self.upsert(relation, None))
        if found is not None and found.keys:
            raise found from error

    def blame(self, error: IntegrityError, relation: Relation) -> None:
        """Raise the error that names the first row that a constraint refuses, if it can be told."""
        over = self.upsert(relation, None)
        found = diagnostics(error)
        if found.sqlstate in ("23514", "23505") and not found.context:
            column, index = None, None
            with self.asking() as cursor:
                if found.sqlstate == "23514":
                    column, index = self._first_unchecked(cursor, over, found.constraint)
                else:
                    column, index = self._first_occupied(cursor, over, found.constraint)
            if index is not None:
                name = None if column is None else column.field.name
                raise RowConstraintError(index, name, found.message or str(error)) from error
        if found.sqlstate == "23503" and not found.context:
            column, index = None, None
            with self.asking() as cursor:
                column, index = self._first_orphan(cursor, over, found.constraint)
            if column is not None and index is not None:
                raise RowConstraintError(index, column.field.name, no_row(column)) from error
        for column, reason, new in self.null_reasons(error, over):
            index = None
            with self.asking() as cursor:
                over.execute(cursor, nulls(over, column, new=new, most=1))
                index = (cursor.fetchone() or [None])[0]
            if index is not None:
                raise RowConstraintError(index, column.field.name, reason) from error

    def foreign_keys(
        self, cursor: Any, upsert: Upsert, name: str | None = None
    ) -> Iterator[tuple[Column, Column]]:
        """Give the foreign keys that rows bring and the table has, and what they point to.

        Args:
            cursor: The cursor.
            upsert: The rows.
            name: The name of the constraint that is asked for; None: of all.
        """
        foreign_key_columns(self.plan.table).execute(cursor)
        there = {column for column, named in cursor.fetchall() if name in (None, named)}
        for column in upsert.slot_of:
            field: Any = column.field
            if field.is_relation and field.column in there:
                yield column, self.plan.column(field.target_field)

    def _first_orphan(
        self, cursor: Any, over: Upsert, name: str | None
    ) -> tuple[Column | None, int | None]:
        """Return the first row that points to none, and the foreign key."""
        for column, target in self.foreign_keys(cursor, over, name or ""):
            over.execute(cursor, orphans(over, column, target))
            row = cursor.fetchone()
            if row is not None:
                return column, row[0]
        return None, None

    def given(self, over: Upsert) -> dict[str, Column]:
        """Return the columns that all rows give, by their names."""
        constants = [each.column for each in self.source.reader.constants]
        drawn = self.plan.pk if self.source.without_pk else ()
        given = [column for column in (*over.slot_of, *constants) if column not in drawn]
        return {column.field.column or "": column for column in given}

    def _first_unchecked(
        self, cursor: Any, over: Upsert, name: str | None
    ) -> tuple[Column | None, int | None]:
        """Return the column of a CHECK, if it is one, and the first row that it refuses."""
        given = self.given(over)
        checks(self.plan.table).execute(cursor)
        for constraint, expression, names in cursor.fetchall():
            if constraint == name and given.keys() >= set(names):
                columns = [given[each] for each in names]
                over.execute(cursor, unchecked(over, [expression], columns))
                return one_of(columns), (cursor.fetchone() or [None])[0]
        return None, None

    def _first_occupied(
        self, cursor: Any, over: Upsert, name: str | None
    ) -> tuple[Column | None, int | None]:
        """Return the column of a unique index, if it is one, and the first row that it refuses."""
        columns = self.indexed(cursor, over, name)
        return one_of(columns), self._others(cursor, over, columns) if columns else None

    def _others(self, cursor: Any, over: Upsert, columns: Sequence[Column]) -> int | None:
        """Return the first row whose values of a unique index another row has."""
        for question in self.questions(over, columns):
            over.execute(cursor, question)
            row = cursor.fetchone()
            if row is not None:
                return int(row[0])
        return None

    def questions(self, over: Upsert, columns: Sequence[Column]) -> list[Fragment]:
        """Return the queries of rows whose values of a unique index another row has.

        Of the index of the key only another of the rows may; a stored row with it is matched.
        """
        asked = [repeated(over, columns)]
        if set(columns) != {part.column for part in over.parts}:
            asked.insert(0, occupied(over, columns))
        return asked

    def indexed(self, cursor: Any, over: Upsert, name: str | None) -> list[Column]:
        """Return the columns of another unique index than the key's; none, if that can't be told.

        The key has to be of columns, too.
        """
        columns = self._columns(over, self._index_names(cursor, name))
        return [] if set(columns) == {part.column for part in over.parts} else columns

    def _index_names(self, cursor: Any, name: str | None) -> list[str]:
        """Return the names of a unique index's columns; none, unless it is over columns alone."""
        unique_columns(self.plan.table, name or "").execute(cursor)
        return (cursor.fetchone() or [None])[0] or []

    def _columns(self, over: Upsert, names: Sequence[str]) -> list[Column]:
        """Return the columns of these names; none, if rows lack one, or the key is no columns'."""
        given = self.given(over)
        if not given.keys() >= set(names) or any(part.column is None for part in over.parts):
            return []
        return [given[name] for name in names]

    def null_reasons(
        self, error: IntegrityError, over: Upsert
    ) -> Iterator[tuple[Column, str, bool]]:
        """Give the columns that a NOT NULL constraint may mean, why, and if of new rows only."""
        found = self.null_refused(error)
        if found is None:
            return
        reader = self.source.reader
        reasons = dict.fromkeys(reader.carried, TAKES_NO_NULL)
        reasons |= dict.fromkeys(
            self.plan.pk, "no primary key, and the column owns no sequence to draw one from"
        )
        reasons |= dict.fromkeys(
            reader.missing,
            "not given, and a row that is new needs it: the field has no default and takes no NULL",
        )
        for column, reason in reasons.items():
            if column.field.column == found.column:
                # A row whose stored row is left alone, or lends the value, is not the one.
                yield column, reason, column in reader.missing or over.leaves
