"""The rows of a CSV file, as blocks of columns of texts."""

from __future__ import annotations

import csv
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from time import sleep
from typing import Any

from ..errors import CsvError, RowFieldsError
from ..sources import Source, Walk
from . import CsvBlock, CsvHeader, CsvRows
from .broken import ENDLESS, UNREADABLE, Broken, is_open, is_stray, may_go_on, reason_of
from .lines import runs_no_code
from .verbatim import Verbatim, VerbatimBlock, joined

#: Characters of rows that are sent at a time as they stand, and that are looked at at a time; see
#: docs/performance.rst (benchmarks/files.py).
VERBATIM_CHARS = 512 * 1024
LOOKED_AT_CHARS = 64 * 1024

#: Rows that are read first, where the others may be sent as they stand.
FIRST_ROWS = 100

#: What Excel's own first line begins with; after it comes the delimiter.
EXCEL = "sep="

#: Pulls for which rows are read at most, before it is tried again whether they can be sent so.
MOST_PAUSE = 16

#: Rows that are read at a time where they are looked for.
BLOCK_ROWS = 1_000


class CsvSource(Source):
    """Rows of a file; what is pulled is a CsvBlock.

    Args:
        rows: The caller's.
        sifts: Whether rows that can't be read are dropped, rather than refused.

    Raises:
        CsvError: The file has no header, or can't be read.
    """

    def __init__(self, rows: CsvRows, *, sifts: bool = False) -> None:
        self.sifts = sifts
        self.is_held = rows.is_path or runs_no_code(rows.file)
        self._delimiter, self._quote = rows.delimiter, rows.quotechar
        self._opened = ExitStack()
        self._text: list[str] = []  # the lines of the row at hand, if rows are sifted
        self._skips_empty = False  # the header is no such line
        self._doubt: CsvError | None = None  # whether the rows end where they seem to
        self._ragged: RowFieldsError | None = None  # what is wrong with the next row
        # Where a row does not begin on the line after the one before began: its index, its line.
        self._places, self._starts = array("q"), array("q")
        # The header is no row, and a row's line is 2 ahead of it.
        self._index, self._line, self._ahead = -1, 0, 2
        self._passed = 0  # lines that the reader has not seen
        self._pulled = 0
        # Rows that were taken, and how many of them were pulled.
        self._taken: VerbatimBlock | None = None
        self._at = 0
        self._few = self._wait = self._pause = 0
        try:
            self._text_lines = self._opened.enter_context(rows.text())
            self._reader = csv.reader(
                self._noted(self._text_lines) if sifts else self._text_lines,
                delimiter=rows.delimiter,
                quotechar=rows.quotechar,
                strict=True,
            )
            self._records = self._checked()
            self.names = self._header()
            self._skips_empty = rows.skips_empty(len(self.names))
            self._walk = Walk(self._records)
        except BaseException:
            self.close()
            raise
        self.is_empty = self._walk.is_empty
        columns = tuple(rows.columns.items())
        self.first = CsvHeader(
            self.names, columns, rows.ignore_extra, rows.null, rows.delimiter, rows.quotechar
        )

    def _checked(self) -> Iterator[list[str] | Broken]:
        """Give the header and the rows; blank lines are none, nor need be those of empty texts."""
        reader = self._reader
        try:
            while True:
                record: list[str] | Broken | None
                try:
                    record = next(reader, None)
                except csv.Error as error:
                    if self._index < 0 or not self._is_one_line(error):
                        raise
                    record = Broken(reason_of(error), self._text[0].rstrip("\r\n"))
                if record is None:
                    break
                if self._doubt is not None and self._quote in "".join(self._text):
                    raise self._doubt
                if isinstance(record, Broken) and may_go_on(
                    record.text, self._quote, self._delimiter
                ):
                    self._doubt = CsvError(self._read, f"{record.reason}; {ENDLESS}")
                self._text.clear()
                start, self._line = self._line + 1, self._read
                is_empty = not (any(record) or isinstance(record, Broken))
                if record and not (is_empty and self._skips_empty):
                    self._begin(start)
                    yield record
        except UNREADABLE as error:
            at, reason = max(self._read, self._line + 1), reason_of(error)
            if is_open(error):
                at = self._line + 1  # where a quote was opened tells more than where the file ended
            elif isinstance(error, UnicodeError):
                at = self._read + 1  # the line never came
            elif self.sifts and is_stray(error):
                reason += f"; {ENDLESS}"
            raise CsvError(at, reason) from error
        finally:
            self.close()

    @property
    def _read(self) -> int:
        """How many lines were read."""
        return self._reader.line_num + self._passed

    def _begin(self, line: int) -> None:
        """Note the line on which the next row begins."""
        if line != self._index + self._ahead:
            self._places.append(self._index)
            self._starts.append(line)
            self._ahead = line - self._index
        self._index += 1

    def _is_one_line(self, error: csv.Error) -> bool:
        """Whether a broken row may be dropped: it is a line, each of whose quotes has another."""
        return (
            self.sifts
            and is_stray(error)
            and len(self._text) == 1
            and self._text[0].count(self._quote) % 2 == 0
        )

    def _noted(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self._text.append(line)
            yield line

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Give each row that is left: its index, and its values, however many; or its text."""
        while records := self._walk.pull(BLOCK_ROWS):
            for index, record in enumerate(records, self._pulled):
                yield index, [record.text] if isinstance(record, Broken) else record
            self._pulled += len(records)

    def _header(self) -> tuple[str, ...]:
        record = next(self._records, ())
        if not record:
            raise CsvError(1, "the file is empty; its first line names the columns")
        line = self._delimiter.join(record)
        if len(line) == len(EXCEL) + 1 and line.lower().startswith(EXCEL):
            raise CsvError(
                1,
                f"this line tells Excel the delimiter; remove it, and pass delimiter={line[-1]!r}",
            )
        return tuple(name.strip() for name in record)

    def pull(self, most: int | None) -> Any:
        """Return the next rows; see Source.

        Raises:
            RowFieldsError: A row has more values than the header, or fewer; unless rows are sifted.
                Those before it are given first.
            CsvError: The file can't be read.
        """
        if self._ragged is not None:
            raise self._ragged
        if self.verbatim is not None and most is not None:
            block = self._as_they_stand(self.verbatim, most)
            if block is not None:
                return block
            most = min(most, self._few or most)
        records = self._walk.pull(most)
        self.is_done = self._walk.is_done
        self.dropped = {}
        wanted = len(self.names)
        if set(map(len, records)) - {wanted}:
            for offset, record in enumerate(records):
                if len(record) == wanted:
                    continue
                reason = f"{len(record)} values, where the header names {wanted}"
                if isinstance(record, Broken):
                    reason = record.reason
                error = RowFieldsError(self._pulled + offset, None, reason)
                if self.sifts:
                    self.dropped[offset] = error
                    continue
                if not offset:
                    raise error
                self._ragged, self.is_done = error, False
                del records[offset:]
                break
            records = [each for at, each in enumerate(records) if at not in self.dropped]
        self._pulled += len(records) + len(self.dropped)
        return CsvBlock(len(records), list(zip(*records, strict=True)))

    def _as_they_stand(self, form: Verbatim, most: int) -> VerbatimBlock | None:
        """Return the next rows if all can be sent as they stand, else None.

        Where they can't be, some more are read before that is tried again.
        """
        if self._taken is None or self._at == len(self._taken):
            self._taken, self._at = self._take(form, most), 0
        if self._taken is None:
            return None
        block = self._taken.part(self._at, self._at + most)
        self._at += len(block)
        self._pass(block)
        self.dropped = {}
        return block

    def _take(self, form: Verbatim, most: int) -> VerbatimBlock | None:
        """Take rows as they stand, about so many and no more than are sent at a time."""
        # The first row was read with the header; and which row a line belongs to must be clear.
        self._few = 0 if self._pulled else FIRST_ROWS
        if not self._pulled or self._doubt is not None or self._wait:
            self._wait = max(0, self._wait - 1)
            return None
        blocks: list[VerbatimBlock] = []
        size = count = 0
        while size < VERBATIM_CHARS and count < most:
            text, begun = self._whole(self._text_lines.take(LOOKED_AT_CHARS))
            block = form.block(text) if text else None
            self._text_lines.give_back(text + begun if block is None else begun)
            sleep(0)  # the thread that sends may want the interpreter for an instant
            if block is None:
                break
            blocks.append(block)
            size += len(text)
            count += len(block)
        if not blocks:
            self._few = text.count("\n")  # to be read; then it is tried again, or after a pause
            self._wait, self._pause = self._pause, min(2 * self._pause or 1, MOST_PAUSE)
            return None
        self._pause = 0
        return joined(blocks)

    def _whole(self, text: str) -> tuple[str, str]:
        """Return the part of some lines that is whole rows, and the row that is begun, if any."""
        end = len(text)
        is_open = text.count(self._quote) % 2
        while is_open and end:
            before = text.rfind("\n", 0, end - 1) + 1
            is_open = (is_open + text.count(self._quote, before, end)) % 2
            end = before
        return text[:end], text[end:]

    def _pass(self, block: VerbatimBlock) -> None:
        """Note on which lines rows begin that the reader doesn't see."""
        count = len(block)
        if block.heights is None:
            self._begin(self._line + 1)
            self._index += count - 1
            self._line += count
            self._passed += count
        else:
            for height in block.heights:
                self._begin(self._line + 1)
                self._line += height
                self._passed += height
        self._pulled += count

    def picked(self, rows: Any, offsets: Sequence[int]) -> Any:
        """Return some of the rows of a block."""
        if isinstance(rows, VerbatimBlock):
            return rows.picked(offsets)
        columns = [[column[offset] for offset in offsets] for column in rows.columns]
        return CsvBlock(len(offsets), columns)

    def line(self, index: int) -> int:
        """Return the line, from 1, on which a row begins."""
        at = bisect_right(self._places, index) - 1
        return index + 2 if at < 0 else self._starts[at] + index - self._places[at]

    def close(self) -> None:
        """Let go of what was opened."""
        self._opened.close()
