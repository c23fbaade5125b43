"""Rows that come as text: files of comma-separated values."""

from __future__ import annotations

import codecs
import gzip
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from django.utils.deconstruct import deconstructible

from ..errors import OptionError

#: The columns that a file of rejected rows has before its own: they are no fields, so that the file
#: can be read again as it is.
REJECTED = ("rejected_line", "rejected_reason")

#: What a file that was compressed by gzip begins with.
GZIP = b"\x1f\x8b"

#: Bytes that are read at a time.
BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True)
class CsvHeader:
    """What the rows of a file have in common.

    Attributes:
        names: The names of the file's columns, in order.
        columns: The fields that the caller names for some of them; None: the column is left out.
        ignore_extra: Whether columns that are no field are left out.
        null: The text that stands for NULL.
    """

    names: tuple[str, ...]
    columns: tuple[tuple[str, str | None], ...]
    ignore_extra: bool
    null: str


@dataclass(frozen=True)
class CsvBlock:
    """Some rows of a file.

    Attributes:
        count: How many.
        columns: Their texts, column by column.
    """

    count: int
    columns: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return self.count


@deconstructible(path="django_bulkupsert.CsvRows")
class CsvRows:
    """The rows of a CSV file, for ``bulk_upsert()``, ``bulk_update()`` and ``bulk_copy()``.

    The file has a header, whose names are those of fields: their names (``price``), their verbose
    names ("unit price"), or what ``columns`` says. A foreign key may be given by another field of
    its model: ``country__code``. The file is read as it is needed, so it may be of any length, and
    compressed by gzip; one that was passed open is not closed.

    Args:
        file: An open file, of bytes or of text; or the path of one. It is always read here, never
            by the server.
        columns: Names in the header to names of fields; None for a column to leave out.
        null: The text that stands for NULL. With the empty text, one of a field that takes no NULL
            but empty texts, as a CharField does, stays what it is.
        delimiter: What stands between values, one character.
        quotechar: What stands around values that hold it, one character.
        encoding: The encoding of bytes; a byte order mark is left out.
        ignore_extra: Leave out columns that are no field, rather than refuse them.

    Raises:
        OptionError: An argument can't be taken.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | IO[bytes] | IO[str],
        *,
        columns: Mapping[str, str | None] | None = None,
        null: str = "",
        delimiter: str = ",",
        quotechar: str = '"',
        encoding: str = "utf-8",
        ignore_extra: bool = False,
    ) -> None:
        if not (isinstance(file, str | os.PathLike) or callable(getattr(file, "read", None))):
            raise OptionError(
                f"CsvRows takes an open file, or the path of one, not one {type(file).__name__}"
            )
        if not isinstance(columns, Mapping | None):
            raise OptionError(
                f"columns takes a dict of names in the header and names of fields, not one "
                f"{type(columns).__name__}"
            )
        for name, to in (columns or {}).items():
            if not (isinstance(name, str) and isinstance(to, str | None)):
                raise OptionError(
                    "columns takes a dict of names in the header and names of fields, or None; "
                    f"not {name!r}: {to!r}"
                )
        for name, given in (("delimiter", delimiter), ("quotechar", quotechar)):
            if not isinstance(given, str) or len(given) != 1 or given in "\r\n\0":
                raise OptionError(f"{name} is one character, not {given!r}")
        if delimiter == quotechar:
            raise OptionError(f"delimiter and quotechar are both {delimiter!r}")
        if not isinstance(null, str) or delimiter in null or set(null) & set("\r\n"):
            raise OptionError(f"null is a text without the delimiter or a line's end, not {null!r}")
        try:
            codec = codecs.lookup(encoding)
        except (LookupError, TypeError, ValueError):
            raise OptionError(f"encoding: Python knows none that is called {encoding!r}") from None
        # As Python's own open() asks: others make bytes of bytes, or texts of texts.
        if not getattr(codec, "_is_text_encoding", True) or codec.incrementaldecoder is None:
            raise OptionError(f"encoding: {encoding!r} is none that files of text have")
        self.file = file
        self.columns = dict(columns or {})
        self.null = null
        self.delimiter = delimiter
        self.quotechar = quotechar
        # Of UTF-8 and UTF-16 the mark is no part of the first name.
        self.encoding = "utf-8-sig" if codec.name == "utf-8" else encoding
        self.ignore_extra = ignore_extra
        self._walked = False

    @property
    def is_path(self) -> bool:
        """Whether the file is opened here, each time that it is read."""
        return isinstance(self.file, str | os.PathLike)

    @contextmanager
    def text(self) -> Iterator[Iterator[str]]:
        """Give the file's lines, as the csv module wants them; close what was opened here."""
        if isinstance(self.file, str | os.PathLike):
            with open(self.file, "rb") as opened:
                yield self._lines(opened)
            return
        if self._walked:
            raise OptionError("rows: this CsvRows was read already; make another of the file")
        self._walked = True
        yield self._lines(self.file)

    def _lines(self, file: Any) -> Iterator[str]:
        start = file.read(BLOCK_BYTES)
        if isinstance(start, str):
            yield from _split(_blocks(start.removeprefix("\ufeff"), file))
            return
        if start.startswith(GZIP):
            file = gzip.GzipFile(fileobj=io.BufferedReader(_Rest(start, file)))
            start = file.read(BLOCK_BYTES)
        decoder = codecs.getincrementaldecoder(self.encoding)()
        yield from _split(_decoded(_blocks(start, file), decoder))


def refuse_file(rows: Any, taken: str) -> None:
    """Refuse rows that are a file's.

    Args:
        rows: The rows.
        taken: What is taken instead.

    Raises:
        OptionError: They are.
    """
    if isinstance(rows, CsvRows):
        raise OptionError(f"{taken}, not CsvRows")


def _blocks(start: Any, file: Any) -> Iterator[Any]:
    """Give what a file holds, of which the start was read already."""
    while start:
        yield start
        start = file.read(BLOCK_BYTES)


def _decoded(blocks: Iterator[bytes], decoder: codecs.IncrementalDecoder) -> Iterator[str]:
    """Give the texts of blocks; where bytes are none of the encoding's, first what is before them.

    So it can be said on which line they are.
    """
    for block in blocks:
        before = decoder.getstate()
        try:
            text = decoder.decode(block)
        except UnicodeDecodeError as error:
            # What is at fault may have begun in the block before.
            good = max(0, len(block) - (len(error.object) - error.start))
            decoder.setstate(before)
            yield decoder.decode(block[:good])
            raise
        yield text
    yield decoder.decode(b"", True)  # which refuses half a character


def _split(blocks: Iterator[str]) -> Iterator[str]:
    """Give lines with their ends: those that a text file's lines have, and no other character.

    An end may be cut in two by a block's.
    """
    held: list[str] = []
    try:
        for block in blocks:
            held.append(block)
            if not ("\n" in block or "\r" in block):
                continue
            text = "".join(held)
            lines = list(io.StringIO(text, newline=""))
            held = [] if text.endswith("\n") else [lines.pop()]  # after a "\r" may come a "\n"
            yield from lines
    except UnicodeDecodeError:
        if "".join(held).endswith("\r"):  # no "\n" comes
            yield "".join(held)
        raise
    yield from io.StringIO("".join(held), newline="")


class _Rest(io.RawIOBase):
    """A file of bytes of which the start was read already; only to be read on."""

    def __init__(self, start: bytes, file: Any) -> None:
        self._start = start
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._start[: len(buffer)] or self._file.read(len(buffer))
        self._start = self._start[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)
