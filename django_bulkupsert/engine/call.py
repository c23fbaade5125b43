"""What every call does: choose the relation by the rows, and run its statements over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Generic, TypeVar

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InternalError,
    NotSupportedError,
    ProgrammingError,
)

from .. import server
from ..chunks import Chunk, joined
from ..driver import Diagnostics, diagnostics
from ..errors import OptionError, counted
from ..relations import (
    UNNEST_ROWS,
    Relation,
    StagingRelation,
    UnnestRelation,
    ValuesRelation,
    find_fault,
)
from ..sql import Fragment, identifier, raw
from ..statements.update import Update
from ..statements.upsert import Upsert
from .found import check_keys
from .sending import PlanT, Sending

#: What an engine says that can't lock rows of a table: Citus, over shards, and of a reference
#: table beside a local one.
REFUSALS = ("0A000", "XX000")

#: Characters that one statement carries at most: to the server it is a gigabyte, and a character is
#: up to four bytes, or two where it has to be escaped.
MOST_HELD = 2**28

ResultT = TypeVar("ResultT")


class Call(Sending[PlanT], Generic[PlanT, ResultT]):
    """A call under way: its plan, its rows, and the ways to run them."""

    def run(self) -> ResultT:
        """Choose the relation by the rows, and write them."""
        asked = self.plan.strategy
        if asked == "copy" or (asked is None and self.plan.wants_exact_types(self.slots)):
            return self.staged([])
        head = self.source.pull(None if asked else UNNEST_ROWS + 1)
        if not self.source.source.is_done:
            return self.staged(head)
        with self.telling(head):
            chunk = self.source.encode(self.source.read(head))
        self.take(chunk)
        self.progress.at(self.source.count)
        if asked == "values" or (asked is None and (chunk.has_cells or chunk.count == 1)):
            return self.at_once(chunk, ValuesRelation(self.slots, chunk))
        if asked not in (None, "unnest"):
            raise NotImplementedError(asked)  # one of STRATEGIES that nothing here carries rows by
        self._check_plain(chunk)
        return self.at_once(chunk, UnnestRelation(self.slots, chunk))

    def at_once(self, chunk: Chunk, relation: Relation) -> ResultT:
        """Run a chunk that is all of the input, over a relation that is part of the statement."""
        self.plan.check_castable(self.slots)

        def attempt() -> ResultT:
            with self.forgetting(), self.unstaged(chunk), self.connection.cursor() as cursor:
                result = self.merge(cursor, relation)
                self.check_deferred(cursor)
                self.progress.done()
                return result

        self.attempts.doing = f"writing {counted(chunk.count)}"
        try:
            return self.attempts.part(
                attempt,
                passes=partial(self.may_pass, relation),
                alone=self.connection.get_autocommit(),
            )
        except (DataError, ProgrammingError) as error:
            if diagnostics(error).is_of_a_value:
                fault = find_fault(self.connection, self.slots, chunk)
                if fault is not None:
                    raise fault from error
            self.blame_value(error, relation)
            raise
        except IntegrityError as error:
            self.blame(error, relation)
            raise

    def staged(self, rows: Sequence[Any]) -> ResultT:
        """Load all of the input, chunk by chunk, into a staging table, and merge that.

        Args:
            rows: The rows that were pulled already.
        """
        if not (server.may_stage(self.connection) or self.has_to_stage):
            return self._held(rows)
        with self._transaction(), self.connection.cursor() as cursor:
            nested = bool(self.connection.savepoint_ids)
            self.attempts.doing = "preparing its staging table"
            self.begin(cursor)
            self.source.join_keys()
            staging = self.stage(cursor)
            self.load(staging, rows)
            if staging.coded:
                self.attempts.doing = "finding keys for its staging table"
                self.find_keys(cursor, staging)
            staging.finish(self.key)
            result = self.merged(cursor, staging)
            if nested:
                staging.drop()
            self.progress.done()
            return result

    @property
    def has_to_stage(self) -> bool:
        """Whether no other relation would do."""
        return any(slot.column.base_type is None for slot in self.slots)

    def _held(self, rows: Sequence[Any]) -> ResultT:
        """Hold all of the input, and write it by one statement, so that there is one order.

        Args:
            rows: The rows that were pulled already.
        """
        source = self.source
        chunks = []
        while rows := rows or source.pull(self.chunk_rows):
            with self.telling(rows):
                chunk = source.encode(source.read(rows))
            self.take(chunk)
            self.progress.at(source.count)
            chunks.append(chunk)
            rows = ()
        whole = joined(chunks)
        if whole.size > MOST_HELD:
            raise OptionError(
                f"rows: {whole.size:,} characters are too many for one statement, and the role may "
                "not make temporary tables, into which they would go in pieces; GRANT TEMPORARY ON "
                "DATABASE, or pass fewer rows at a time"
            )
        carrier = ValuesRelation if whole.has_cells else UnnestRelation
        return self.at_once(whole, carrier(self.slots, whole))

    def stage(self, cursor: Any) -> StagingRelation:
        """Return the staging table."""
        try:
            return StagingRelation(self.connection, cursor, self.slots, self.source.reader.coded)
        except ProgrammingError:
            server.forget_stages(self.connection)  # it may have been refused
            raise

    def find_keys(self, cursor: Any, staging: StagingRelation) -> None:
        """Find the keys that staged rows give by another field; each has to have one."""
        check_keys(cursor, staging)

    def merged(self, cursor: Any, staging: StagingRelation) -> ResultT:
        """Write the rows that a staging table holds."""
        try:
            return self.tried(cursor, staging, self.check_deferred)
        except IntegrityError as error:
            self.blame(error, staging)
            raise
        except (DataError, ProgrammingError) as error:
            self.blame_value(error, staging)
            raise

    def tried(self, cursor: Any, relation: Relation, check: Callable[[Any], object]) -> ResultT:
        """Write staged rows in a savepoint, and again if that may help.

        Args:
            cursor: The cursor.
            relation: The rows.
            check: Is called with the cursor when they are written.
        """

        def attempt() -> ResultT:
            with self.forgetting(), self._atomic():
                result = self.merge(cursor, relation)
                check(cursor)
                return result

        self.attempts.doing = f"writing {counted(self.source.count)} from its staging table"
        return self.attempts.part(attempt, passes=partial(self.may_pass, relation), alone=False)

    def check_deferred(self, cursor: Any) -> None:
        """Check what is deferred to a commit that comes next, while rows can still be asked."""
        if self.checks:
            raw("SET CONSTRAINTS ALL IMMEDIATE").execute(cursor)

    def statement(self, over: Upsert | Update) -> Fragment:
        """Return a statement's SQL, which is kept for other calls unless the rows are in it."""
        if over.shape is None:
            return over.fragment()
        return self.source.reader.keep(over.shape, over.fragment)

    def _check_plain(self, chunk: Chunk) -> None:
        for slot, texts in zip(self.slots, chunk.texts, strict=True):
            for offset in texts.cells or ():
                raise OptionError(
                    f"strategy='unnest' can't carry row {chunk.start + offset}, field "
                    f"{slot.column.field.name!r}, which is SQL, or what only the driver can "
                    "adapt; leave strategy out, or pass 'values' or 'copy'"
                )

    def with_locks(self, take: Callable[[bool], ResultT]) -> ResultT:
        """Run a statement that locks rows first; without that, where the engine can't.

        Args:
            take: Runs it; is told whether to lock.
        """
        table = self.plan.table
        known = server.locks_rows(self.connection, table)
        if known is not None:
            return take(known)
        # It may be refused at Citus, and of what may be a view, which can be made anew.
        viewed = not self.plan.model._meta.managed
        # A transaction that is there for progress alone must not make it fail where it would go on.
        unsure = viewed or self.progress.is_wanted or server.has_citus(self.connection)
        try:
            with self._atomic() if unsure else nullcontext():
                result = take(True)
            if not viewed:
                server.note_locks(self.connection, table, locks=True)
            return result
        except (NotSupportedError, InternalError) as error:
            usable = unsure or self.connection.get_autocommit()
            if diagnostics(error).sqlstate not in REFUSALS or not usable:
                raise
        result = take(False)
        server.note_locks(self.connection, table, locks=False)
        return result

    def null_refused(self, error: IntegrityError) -> Diagnostics | None:
        """Return the details of an error that says that a column of ours takes no NULL."""
        found = diagnostics(error)
        if found.sqlstate != "23502" or not found.table:
            return None
        # The server reports a bare name, and of a partition that one's. What a trigger writes to
        # another table has a context.
        tables = {slot.column.table.plain() for slot in self.slots}
        named = identifier(found.table).plain()
        ours = not found.context or any(table.endswith(named) for table in tables)
        return found if ours else None

    # What each kind of call does of its own -----------------------------------------------

    @property
    def key(self) -> Any:
        """The columns by which rows are matched."""
        raise NotImplementedError

    def begin(self, cursor: Any) -> None:
        """Do what has to be done before a staging table is loaded."""

    def unstaged(self, chunk: Chunk) -> AbstractContextManager[Any]:
        """Make statements that need no staging table all or nothing, and ``progress`` with them."""
        raise NotImplementedError

    def merge(self, cursor: Any, relation: Relation) -> ResultT:
        """Write the rows that a relation carries."""
        raise NotImplementedError

    def blame(self, error: IntegrityError, relation: Relation) -> None:
        """Raise the error that names the row that a constraint refuses, if it can be told."""
        raise NotImplementedError

    def blame_value(self, error: DatabaseError, relation: Relation) -> None:
        """Raise the error that names the row, or the keys, that the server can't take, if known."""

    def may_pass(self, _relation: Relation, _error: DatabaseError) -> int:
        """Return how often to try again where another row has a value (23505)."""
        return 0

    @contextmanager
    def asking(self) -> Iterator[Any]:
        """Give a cursor to ask what is at fault; that it can't be asked is no error."""
        with suppress(DatabaseError), self._atomic(), self.connection.cursor() as cursor:
            yield cursor

    def forgetting(self) -> AbstractContextManager[Any]:
        """Forget what an attempt has noted, if it fails."""
        return nullcontext()
