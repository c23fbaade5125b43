"""The text of a file: one line after the other, or many at once as they stand."""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Iterator
from typing import IO, Any

from django.core.files import File
from django.core.files.uploadedfile import (
    InMemoryUploadedFile,
    SimpleUploadedFile,
    TemporaryUploadedFile,
)

from ..errors import OptionError

#: What a file that was compressed by gzip begins with.
GZIP = b"\x1f\x8b"

#: Bytes that are read at a time.
BLOCK_BYTES = 64 * 1024


class PassedOn:
    """A file that does nothing but read another one, and know of it.

    Args:
        file: The other one.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        return self.file.read(size)


class Lines:
    """Lines with their ends: those that a text file's lines have, and no other character.

    Iterating gives them one by one, as the csv module wants them; ``take()`` gives many at once.

    Args:
        blocks: The text, cut anywhere.
    """

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks = blocks
        self._lines = io.StringIO(newline="")  # those at hand, of which some were given already
        self._left: list[str] = []  # the start of a line whose end has not come yet
        self._is_done = False
        self._error: Exception | None = None  # of what comes after the lines at hand

    def __iter__(self) -> Iterator[str]:
        while True:
            yield from self._lines
            some = self._more()
            if not some:
                return
            self._put(some)

    def take(self, most: int) -> str:
        """Return about so many characters of whole lines, at least a line; nothing at the end.

        What is wrong with the file comes to light when the line is asked for that it is in.
        """
        parts = [self._lines.read()]
        count = len(parts[0])
        while count < most:
            try:
                some = self._more()
            except Exception as error:  # noqa: BLE001 (raised when its line is asked for)
                self._error = error
                break
            if not some:
                break
            parts.append(some)
            count += len(some)
        return "".join(parts)

    def give_back(self, text: str) -> None:
        """Give back what was taken last, or the end of it."""
        self._put(text)

    def _put(self, text: str) -> None:
        """Have these lines at hand; there are no others."""
        self._lines.seek(0)
        self._lines.truncate()
        self._lines.write(text)
        self._lines.seek(0)

    def _more(self) -> str:
        """Return the next lines, as many as have come whole; nothing at the end."""
        if self._error is not None:
            raise self._error
        if self._is_done:
            return ""
        try:
            for block in self._blocks:
                self._left.append(block)
                if not ("\n" in block or "\r" in block):
                    continue
                text = "".join(self._left)
                # After a "\r" that is the last may come a "\n".
                end = text.rfind("\n") + 1 or text.rfind("\r", 0, -1) + 1
                self._left = [text[end:]]
                if end:
                    return text[:end]
        except UnicodeDecodeError as error:
            text = "".join(self._left)
            end = text.rfind("\r") + 1  # no "\n" comes
            if not end:
                raise
            self._error = error
            return text[:end]
        self._is_done = True
        return "".join(self._left)


def lines_of(file: Any, encoding: str) -> Lines:
    """Return the lines of an open file; nothing is read before they are.

    Args:
        file: The file, of text or of bytes; those may be compressed by gzip.
        encoding: The encoding of bytes.
    """
    return Lines(_texts(file, encoding))


def runs_no_code(file: Any) -> bool:
    """Whether an open file is Python's own, or one that reads such a one: so it can't query."""
    while type(file) in _PASSED_ON or isinstance(file, PassedOn):
        file = file.file
    if type(file) is io.TextIOWrapper:
        file = file.buffer
    if type(file) in (io.BufferedReader, io.BufferedRandom):
        file = file.raw
    return type(file) in (io.FileIO, io.BytesIO, io.StringIO)


#: Files of Django's that are nothing but others: uploads.
_PASSED_ON = (File, InMemoryUploadedFile, SimpleUploadedFile, TemporaryUploadedFile)


def _texts(file: Any, encoding: str) -> Iterator[str]:
    start = _read(file, BLOCK_BYTES)
    if isinstance(start, str):
        yield from _blocks(start.removeprefix("\ufeff"), file)
        return
    while 0 < len(start) < len(GZIP) and (more := _read(file, BLOCK_BYTES)):
        start += more
    if start.startswith(GZIP):
        file = gzip.GzipFile(fileobj=io.BufferedReader(_Rest(start, file)))
        start = _read(file, BLOCK_BYTES)
    decoder = codecs.getincrementaldecoder(encoding)()
    yield from _decoded(_blocks(start, file), decoder)


def _blocks(start: Any, file: Any) -> Iterator[Any]:
    """Give what a file holds, of which the start was read already."""
    while start:
        yield start
        start = _read(file, BLOCK_BYTES)


def _read(file: Any, size: int) -> Any:
    """Read on; nothing is the end, and only that.

    Raises:
        OptionError: The file does not wait for what has not come yet.
    """
    found = file.read(size)
    if found is None:
        raise OptionError(
            "rows: the file has no more data yet, as its read() says, which returned None; pass "
            "one that is blocking, or all of its bytes"
        )
    return found


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


class _Rest(io.RawIOBase):
    """A file of bytes of which the start was read already; only to be read on."""

    def __init__(self, start: bytes, file: Any) -> None:
        self._start = start
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._start[: len(buffer)] or _read(self._file, len(buffer))
        self._start = self._start[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)
