"""The caller's rows, of which those that can't be taken are left out, and told of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .chunks import Chunk
from .csvs.verbatim import VerbatimBlock
from .encode import Fault
from .errors import RowError, RowValueError
from .fields import DatabaseDefault
from .lazy import LazyValues
from .readers import Reader
from .rejects import Rejects
from .rows import Block, Rows
from .sources import Source


class SievedRows(Rows):
    """Rows behind a reader; see Rows.

    Attributes:
        rejects: What is left out.
    """

    def __init__(self, reader: Reader, source: Source, *, validates: bool = False) -> None:
        super().__init__(reader, source, validates=validates)
        self.rejects = Rejects(source.line)
        self._places: Sequence[int] = ()  # of the rows at hand, in the input
        self._pulled = 0

    def pull(self, most: int | None) -> Any:
        """Return the next rows; see Source."""
        rows = self._some(most)
        while self.source.dropped and not len(rows):  # it may not be the end
            rows = self._some(most)
        return rows

    def _some(self, most: int | None) -> Any:
        rows = self.source.pull(most)
        dropped = self.source.dropped
        count = len(rows) + len(dropped)
        for offset, error in dropped.items():
            self.rejects.leave_out(self._pulled + offset, error)
        self._places = [self._pulled + at for at in range(count) if at not in dropped]
        self._pulled += count
        return rows

    def read(self, rows: Any) -> Block:
        """Return the values of the rows that can be read."""
        while len(rows):
            try:
                return super().read(rows)
            except RowError as error:
                rows = self._left(rows, self._unreadable(rows, error))
        return Block(rows, [() for _ in self.reader.carried])

    def encode(self, block: Block, pause: Callable[[], None] | None = None) -> Chunk:
        """Return the rows that can be stored as a chunk."""
        while True:
            before = self.with_pk, dict(self.first_null), set(self.nullable)
            try:
                return super().encode(block, pause)
            except RowError as error:
                self.with_pk, self.first_null, self.nullable = before
                bad = self._unstorable(block, error)
                kept = [offset for offset in range(len(block.rows)) if offset not in bad]
                rows = self._left(block.rows, bad)
                block = Block(rows, [_picked(values, kept) for values in block.columns])

    def _left(self, rows: Any, bad: Mapping[int, RowError]) -> Any:
        """Return the rows that are left without some, which are told of."""
        for offset, error in sorted(bad.items()):
            value = None if error.field is None else self.reader.held(rows, offset, error.field)
            self.rejects.leave_out(self._places[offset], error, value)
        kept = [offset for offset in range(len(rows)) if offset not in bad]
        self._places = [self._places[offset] for offset in kept]
        return self.source.picked(rows, kept)

    def _unreadable(self, rows: Any, error: RowError) -> dict[int, RowError]:
        """Return the rows that can't be read, by their offsets, each with its error."""
        bad = {error.index - self.count: error}
        self.reader.foresee(rows)
        for offset in range(len(rows)):
            try:
                super().read(self.source.picked(rows, [offset]))
            except RowError as found:
                bad[offset] = found
        return bad

    def _unstorable(self, block: Block, error: RowError) -> dict[int, RowError]:
        """Return the rows whose value of the field at fault can't be stored."""
        bad = {error.index - self.count: error}
        carried = self.reader.carried
        if isinstance(block.rows, VerbatimBlock):
            carried = tuple(block.rows.form.made)
        sent = dict(map(self.reader.sent, carried))
        if error.field not in sent:
            return bad
        column = sent[error.field]
        values = block.columns[list(sent).index(error.field)]
        for offset in range(len(block.rows)):
            one = _picked(values, [offset])
            try:
                if not isinstance(one, list) or type(one[0]) is not DatabaseDefault:
                    column.encode(one)
            except Fault as fault:
                found = RowValueError(self.count, error.field, fault.reason)
                found.__cause__ = fault.__cause__
                bad[offset] = found
            except RowError as found:
                bad[offset] = found
        return bad


def _picked(values: Sequence[Any], offsets: Sequence[int]) -> Sequence[Any]:
    """Return the values at some offsets."""
    if isinstance(values, LazyValues):
        return values.picked(offsets)
    return [values[offset] for offset in offsets]
