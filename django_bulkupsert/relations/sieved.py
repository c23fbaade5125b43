"""A staging table that takes the rows that it can, and says which it can't."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import DatabaseError, OperationalError

from ..chunks import Chunk, VerbatimChunk
from ..columns import Column
from ..driver import Diagnostics, run_bare
from ..errors import RowError, RowValueError
from ..readers import RelatedKeys
from ..sql import Fragment, compose, value
from .copy_errors import reason_of
from .slots import Slot
from .staging import StagingRelation


class SievedStaging(StagingRelation):
    """A staging table that leaves out the rows that COPY refuses.

    Args:
        connection: The connection.
        cursor: The cursor.
        slots: The columns.
        coded: See StagingRelation.
        reject: Takes the number of such a row, the error, the value, and the SQLSTATE, or None if
            the error's cause has it.
    """

    def __init__(
        self,
        connection: Any,
        cursor: Any,
        slots: Sequence[Slot],
        coded: Mapping[Column, RelatedKeys],
        reject: Callable[[int, RowError, Any, str | None], None],
    ) -> None:
        super().__init__(connection, cursor, slots, coded)
        self.reject = reject
        self.can_tell = connection.pg_version >= 160000  # asked here: it may need a cursor

    def copy(self, chunk: Chunk, lines: bytes) -> None:
        """Send the lines of a chunk, but for those that are refused."""
        asked: set[Slot] = set()  # a column whose error comes again is of a type that can't tell
        while chunk.count:
            run_bare(self.connection, self.cursor, "SAVEPOINT bulkupsert_chunk")
            try:
                super().copy(chunk, lines)
            except RowError as error:
                run_bare(self.connection, self.cursor, "ROLLBACK TO SAVEPOINT bulkupsert_chunk")
                offset = chunk.ordinals.index(error.index)
                before, after = chunk.picked(range(offset)), range(offset + 1, chunk.count)
                slot = next((each for each in self.slots if self.label(each) == error.field), None)
                values = [] if slot is None else self._values(chunk, slot)
                self.reject(error.index, error, values[offset] if values else None, None)
                if before.count:  # the server has read these
                    super().copy(before, self.lines(before))
                chunk = chunk.picked(after)
                if values and slot is not None and slot not in asked:
                    asked.add(slot)
                    chunk = self._readable(chunk, slot, values[offset + 1 :])
                lines = self.lines(chunk) if chunk.count else b""
            else:
                chunk = chunk.picked([])
            run_bare(self.connection, self.cursor, "RELEASE SAVEPOINT bulkupsert_chunk")

    def _values(self, chunk: Chunk, slot: Slot) -> Sequence[str | None]:
        """Return the texts of a column that is sent."""
        if isinstance(chunk, VerbatimChunk):
            at = [each for each in self.slots if not each.is_flag].index(slot)
            return chunk.values(at)
        return chunk.texts[self.slots.index(slot)].values

    def _readable(self, chunk: Chunk, slot: Slot, texts: Sequence[str | None]) -> Chunk:
        """Return the rows whose text of a column the server can read; the others are rejected.

        All are asked for at once, of a server that can tell (16); of an older one, and of a type
        that can't, all rows are returned, to be tried.
        """
        if not self.can_tell:
            return chunk
        question = unreadable(self.plain_name, slot.alias, texts)
        run_bare(self.connection, self.cursor, "SAVEPOINT bulkupsert_texts")
        found = []
        try:
            run_bare(self.connection, self.cursor, question.text, question.params)
            found = self.cursor.cursor.fetchall()
        except OperationalError:  # a timeout, or a cancellation, is none of the texts'
            raise
        except DatabaseError:
            run_bare(self.connection, self.cursor, "ROLLBACK TO SAVEPOINT bulkupsert_texts")
        run_bare(self.connection, self.cursor, "RELEASE SAVEPOINT bulkupsert_texts")
        bad = set()
        for number, message, detail, state in found:
            offset = number - 1
            reason = reason_of(Diagnostics(sqlstate=state, message=message, detail=detail))
            error = RowValueError(chunk.ordinals[offset], self.label(slot), reason)
            self.reject(error.index, error, texts[offset], state)
            bad.add(offset)
        return chunk.picked([at for at in range(chunk.count) if at not in bad]) if bad else chunk


def unreadable(table: str, alias: Fragment, texts: Sequence[str | None]) -> Fragment:
    """Return: the texts that are none of a staged column's type, by number, and what is wrong."""
    return compose(
        "SELECT bu_t.n, bu_i.message, bu_i.detail, bu_i.sql_error_code "
        "FROM unnest({texts}::text[]) WITH ORDINALITY AS bu_t (text, n), "
        "LATERAL pg_input_error_info(bu_t.text, (SELECT format_type(atttypid, atttypmod) "
        "FROM pg_catalog.pg_attribute WHERE attrelid = {table}::regclass AND attname = {name})) "
        "AS bu_i "
        "WHERE bu_i.sql_error_code IS NOT NULL ORDER BY bu_t.n",
        texts=value(list(texts)),
        table=value(f"pg_temp.{table}"),
        name=value(alias.text.strip('"')),
    )
