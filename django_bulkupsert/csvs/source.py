"""The rows of a CSV file, as blocks of columns of texts."""

from __future__ import annotations

import csv
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from gzip import BadGzipFile
from typing import Any

from ..errors import CsvError, RowFieldsError, listing
from ..sources import Source, Walk
from . import CsvBlock, CsvHeader, CsvRows

#: What reading a file raises if it is not what it should be: not of its encoding, not CSV, or not
#: all of it.
UNREADABLE = (UnicodeError, csv.Error, EOFError, zlib.error, BadGzipFile)

#: What is wrong with a broken row that can't be dropped.
ENDLESS = "where this row ends can't be told, so no row after it can be read"

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
        self._delimiter, self._quote = rows.delimiter, rows.quotechar
        self._opened = ExitStack()
        self._text: list[str] = []  # the lines of the row at hand, if rows are sifted
        # Where a row does not begin on the line after the one before began: its index, its line.
        self._places, self._lines = array("q"), array("q")
        self._pulled = 0
        try:
            lines = self._opened.enter_context(rows.text())
            if sifts:
                lines = self._noted(lines)
            self._reader = csv.reader(
                lines, delimiter=rows.delimiter, quotechar=rows.quotechar, strict=True
            )
            self._records = self._checked()
            self.names = self._header()
            self._walk = Walk(self._records)
        except BaseException:
            self.close()
            raise
        self.is_empty = self._walk.is_empty
        columns = tuple(rows.columns.items())
        self.first = CsvHeader(self.names, columns, rows.ignore_extra, rows.null)

    def _checked(self) -> Iterator[list[str] | _Broken]:
        """Give the header and the rows; blank lines are none."""
        reader = self._reader
        line, index, ahead = 0, -1, 2  # the header is no row, and a row's line is 2 ahead of it
        doubt: CsvError | None = None
        try:
            while True:
                record: list[str] | _Broken | None
                try:
                    record = next(reader, None)
                except csv.Error as error:
                    if index < 0 or not self._is_one_line(error):
                        raise
                    record = _Broken(_reason(error), self._text[0].rstrip("\r\n"))
                if record is None:
                    break
                if doubt is not None and self._quote in "".join(self._text):
                    raise doubt
                if isinstance(record, _Broken) and self._may_go_on(record.text):
                    doubt = CsvError(reader.line_num, f"{record.reason}; {ENDLESS}")
                self._text.clear()
                start, line = line + 1, reader.line_num
                if not record:
                    continue
                if start != index + ahead:
                    self._places.append(index)
                    self._lines.append(start)
                    ahead = start - index
                index += 1
                yield record
        except UNREADABLE as error:
            at, reason = max(reader.line_num, line + 1), _reason(error)
            if _is_open(error):
                at = line + 1  # where a quote was opened tells more than where the file ended
            elif isinstance(error, UnicodeError):
                at = reader.line_num + 1  # the line never came
            elif self.sifts and _is_stray(error):
                reason += f"; {ENDLESS}"
            raise CsvError(at, reason) from error
        finally:
            self.close()

    def _is_one_line(self, error: csv.Error) -> bool:
        """Whether a broken row may be dropped: it is a line, each of whose quotes has another."""
        return (
            self.sifts
            and _is_stray(error)
            and len(self._text) == 1
            and self._text[0].count(self._quote) % 2 == 0
        )

    def _may_go_on(self, text: str) -> bool:
        """Whether a broken row is the start of one, if some of its quotes should be doubled.

        Then a value is still open at its end, and a quote that follows may be what closes it.
        """
        quote, is_open = self._quote, False
        for part in text.replace(quote * 2, "").split(self._delimiter):
            opens = part.startswith(quote) and not is_open
            ends = part.endswith(quote) and not (opens and part == quote)
            is_open = (is_open or opens) and not ends
        return is_open

    def _noted(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self._text.append(line)
            yield line

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Give each row that is left: its index, and its values, however many; or its text."""
        while records := self._walk.pull(BLOCK_ROWS):
            for index, record in enumerate(records, self._pulled):
                yield index, [record.text] if isinstance(record, _Broken) else record
            self._pulled += len(records)

    def _header(self) -> tuple[str, ...]:
        names = [name.strip() for name in next(self._records, ())]
        if not names:
            raise CsvError(1, "the file is empty; its first line names the columns")
        for at, name in enumerate(names):
            if not name:
                raise CsvError(1, f"the header has no name for column {at + 1}")
        twice = listing(repr(name) for name in dict.fromkeys(names) if names.count(name) > 1)
        if twice:
            raise CsvError(1, f"the header has {twice} twice")
        return tuple(names)

    def pull(self, most: int | None) -> Any:
        """Return the next rows; see Source.

        Raises:
            RowFieldsError: A row has more values than the header, or fewer; unless rows are sifted.
            CsvError: The file can't be read.
        """
        records = self._walk.pull(most)
        self.is_done = self._walk.is_done
        self.dropped = {}
        wanted = len(self.names)
        if set(map(len, records)) - {wanted}:
            for offset, record in enumerate(records):
                if len(record) == wanted:
                    continue
                reason = f"{len(record)} values, where the header names {wanted}"
                if isinstance(record, _Broken):
                    reason = record.reason
                error = RowFieldsError(self._pulled + offset, None, reason)
                if not self.sifts:
                    raise error
                self.dropped[offset] = error
            records = [each for at, each in enumerate(records) if at not in self.dropped]
        self._pulled += len(records) + len(self.dropped)
        return CsvBlock(len(records), list(zip(*records, strict=True)))

    def picked(self, rows: Any, offsets: Sequence[int]) -> CsvBlock:
        """Return some of the rows of a block."""
        columns = [[column[offset] for offset in offsets] for column in rows.columns]
        return CsvBlock(len(offsets), columns)

    def line(self, index: int) -> int:
        """Return the line, from 1, on which a row begins."""
        at = bisect_right(self._places, index) - 1
        return index + 2 if at < 0 else self._lines[at] + index - self._places[at]

    def close(self) -> None:
        """Let go of what was opened."""
        self._opened.close()


class _Broken(list[str]):
    """A row that is no CSV: of no values."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__()
        self.reason = reason
        self.text = text

    def __bool__(self) -> bool:
        return True  # or it would be a blank line


def _is_open(error: Exception) -> bool:
    """Whether the file ended within quotes."""
    return isinstance(error, csv.Error) and "unexpected end of data" in str(error)


def _is_long(error: Exception) -> bool:
    """Whether a value is longer than the csv module takes."""
    return isinstance(error, csv.Error) and "field larger than field limit" in str(error)


def _is_stray(error: Exception) -> bool:
    """Whether something stands where it can't."""
    return isinstance(error, csv.Error) and not (_is_open(error) or _is_long(error))


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not {error.encoding}: {error.reason}; pass the file's encoding"
    if isinstance(error, EOFError | zlib.error | BadGzipFile):
        return "the compressed file is damaged, or cut short"
    if _is_long(error):
        return f"{error}; csv.field_size_limit() raises it"
    if _is_open(error):
        return "a quote that is opened in this row is never closed"
    return str(error)
