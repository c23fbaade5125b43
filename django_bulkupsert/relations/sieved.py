"""A staging table that takes the rows that it can, and says which it can't."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..chunks import Chunk, VerbatimChunk
from ..columns import Column
from ..driver import run_bare
from ..errors import RowError
from ..readers import RelatedKeys
from .slots import Slot
from .staging import StagingRelation


class SievedStaging(StagingRelation):
    """A staging table that leaves out the rows that COPY refuses.

    Args:
        connection: The connection.
        cursor: The cursor.
        slots: The columns.
        coded: See StagingRelation.
        reject: Takes the number of such a row, the error, and the value.
    """

    def __init__(
        self,
        connection: Any,
        cursor: Any,
        slots: Sequence[Slot],
        coded: Mapping[Column, RelatedKeys],
        reject: Callable[[int, RowError, Any], None],
    ) -> None:
        super().__init__(connection, cursor, slots, coded)
        self.reject = reject

    def copy(self, chunk: Chunk, lines: bytes) -> None:
        """Send the lines of a chunk, but for those that are refused."""
        while chunk.count:
            run_bare(self.connection, self.cursor, "SAVEPOINT bulkupsert_chunk")
            try:
                super().copy(chunk, lines)
            except RowError as error:
                run_bare(self.connection, self.cursor, "ROLLBACK TO SAVEPOINT bulkupsert_chunk")
                offset = error.index - chunk.start
                self.reject(error.index, error, self._value(chunk, error))
                before = chunk.part(0, offset)
                if before.count:  # the server has read these
                    super().copy(before, self.lines(before))
                chunk = chunk.part(offset + 1, chunk.count)
                lines = self.lines(chunk) if chunk.count else b""
            else:
                chunk = chunk.part(0, 0)
            run_bare(self.connection, self.cursor, "RELEASE SAVEPOINT bulkupsert_chunk")

    def _value(self, chunk: Chunk, error: RowError) -> str | None:
        offset = error.index - chunk.start
        carried = [i for i, slot in enumerate(self.slots) if not slot.is_flag]
        for at, place in enumerate(carried):
            if self.label(self.slots[place]) == error.field:
                if isinstance(chunk, VerbatimChunk):
                    return chunk.value(offset, at)
                return chunk.texts[place].values[offset]
        return None
