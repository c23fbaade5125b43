"""Rows of a table, as slices of what its stream gives; nothing is copied."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import OptionError
from ..sources import PULL_BYTES, SAMPLE_ROWS, Source, weight
from . import UNREADABLE, Header


def opened(rows: Any) -> Any:
    """Return a table's stream as a pyarrow.RecordBatchReader.

    Raises:
        OptionError: It is no table, or can't be made one; or pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise OptionError(
            f"rows: reading one {type(rows).__name__} takes pyarrow: "
            "pip install django-bulkupsert[arrow]"
        ) from error
    if isinstance(rows, pa.RecordBatchReader):
        return rows  # so that an error of the generator behind it stays what it is
    try:
        return pa.RecordBatchReader.from_stream(rows)
    except (TypeError, pa.ArrowException) as error:  # which may quote a value
        raise OptionError(
            f"rows: pyarrow can't read one {type(rows).__name__} as a table; {_instead(error)}"
        ) from error


def _instead(error: Exception) -> str:
    """Say what would be read as a table: pyarrow names the column that it can't convert."""
    for said in map(str, error.args):
        found = re.fullmatch("Conversion failed for column (.+) with type .+", said, re.DOTALL)
        if found:
            return (
                f"make column {found[1]!r} one type, or pass the rows as mappings: of pandas, "
                'to_dict("records")'
            )
    return "pass a frame with named columns"


def watched(rows: Any, check: Callable[[], None]) -> Any:
    """Return a table that calls ``check`` whenever it gives a batch, if its batches are awaited.

    Those of a reader are; others are taken to be in memory.
    """
    try:
        import pyarrow as pa
    except ImportError:  # as the call will say
        return rows
    if not isinstance(rows, pa.RecordBatchReader):
        return rows

    def batches() -> Iterator[Any]:
        for batch in rows:
            check()
            yield batch

    return pa.RecordBatchReader.from_batches(rows.schema, batches())


class ArrowSource(Source):
    """Rows of a table; what is pulled is a pyarrow.Table."""

    def __init__(self, rows: Any) -> None:
        self._reader = opened(rows)
        self.first = Header(tuple(self._reader.schema.names))
        self._advance()
        self.is_empty = self.is_done

    def _advance(self) -> None:
        """Go on to the stream's next batch that has rows."""
        self._batch: Any = next((batch for batch in self._reader if batch.num_rows), None)
        self.is_done = self._batch is None

    def pull(self, most: int | None) -> Any:
        """Return the next rows; see Source."""
        import pyarrow as pa

        pulled: list[Any] = []
        count, left = 0, PULL_BYTES
        while not self.is_done and (most is None or (count < most and left > 0)):
            batch = self._batch
            if most is not None:
                batch, weighed = fitting(batch.slice(0, most - count), left)
                left -= weighed
            pulled.append(batch)
            count += batch.num_rows
            self._batch = self._batch.slice(batch.num_rows)
            if not self._batch.num_rows:
                self._advance()
        return pa.Table.from_batches(pulled, self._reader.schema)

    def picked(self, rows: Any, offsets: Sequence[int]) -> Any:
        """Return some of the rows of a table."""
        return rows.take(list(offsets))


def fitting(batch: Any, most: int) -> tuple[Any, int]:
    """Return as many of the first rows as weigh so many bytes, by samples, and what they weigh.

    At least one row. How large a batch's buffers are tells nothing: those of a slice, and of a
    frame that was filtered, may be far larger than what is in it.
    """
    total = 0
    for start in range(0, batch.num_rows, SAMPLE_ROWS):
        each = _weight(batch.slice(start, 1))
        rows = min(SAMPLE_ROWS, batch.num_rows - start)
        if total + rows * each > most:
            rows = max((most - total) // each, 0 if start else 1)
            return batch.slice(0, start + rows), total + rows * each
        total += rows * each
    return batch, total


def _weight(row: Any) -> int:
    """Return about how many bytes the one row of a batch is as text."""
    return weight([_value(column) for column in row.columns])


def _value(column: Any) -> Any:
    try:
        return column[0].as_py()
    except UNREADABLE:  # who reads it will say so
        return None
