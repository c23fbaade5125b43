"""Where a file is written to: stdout, or a path that is whole or not there."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Protocol

from django.core.management.base import CommandError

from .refusals import REFUSED, REJECTS


class Output(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> object:
        """Take bytes."""

    def flush(self) -> object:
        """Have all of them where they are to be; of a file, in what is to replace it."""


@contextmanager
def written(
    path: str, stdout: Any, *, encoding: str = "utf-8", rejects: bool = False
) -> Iterator[Output]:
    """Give what writes bytes to a file; ``-`` is stdout.

    A file that was there is replaced at the end, at once; if something fails before, it stays.

    Args:
        path: The file's.
        stdout: The command's stdout, of text, with a buffer of bytes or without.
        encoding: The encoding of the bytes.
        rejects: Whether they are rows that were left out: there is no file without any, and it is
            not lost if it can't be put in its place, since it can't be made once more.

    Raises:
        CommandError: The file can't be put in its place; or stdout is closed.
    """
    if path == "-":
        yield from _to_stdout(stdout, encoding)
        return
    given, path = path, os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as device:  # a pipe, or the like
            yield device
        return
    part = partial_path(path)
    try:
        with _opened(part, given) as file:
            yield file
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
    if rejects:
        _put_rejects(part, path)
        return
    try:
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(part)
        raise CommandError(f"{path}: {error.strerror}", returncode=REFUSED) from error


def _opened(part: str, path: str) -> IO[bytes]:
    """Open a file that is not whole yet; an error names the one that it is to be.

    Raises:
        OSError: It can't be opened.
    """
    try:
        return open(part, "wb")
    except OSError as error:
        error.filename = path
        raise


def partial_path(path: str) -> str:
    """Return where a file is while it is not whole."""
    return f"{os.path.realpath(path)}.part"


def _put_rejects(part: str, path: str) -> None:
    """Put a file of rejects in its place; or, where there are none, have none there.

    Raises:
        CommandError: It can't be.
    """
    if os.path.getsize(part):
        try:
            os.replace(part, path)
        except OSError as error:
            raise CommandError(
                f"{path} can't be replaced: {error.strerror}; the rows that were rejected are in "
                f"{part}",
                returncode=REJECTS,
            ) from error
        return
    os.unlink(part)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CommandError(
            f"no row was rejected, but {path} can't be removed: {error.strerror}",
            returncode=REJECTS,
        ) from error


class _Text:
    """Bytes that are written as text."""

    def __init__(self, out: Any, encoding: str) -> None:
        self._out = out
        self._decode = codecs.getincrementaldecoder(encoding)().decode

    def write(self, data: bytes, /) -> None:
        """Take bytes."""
        self._out.write(self._decode(data), ending="")

    def flush(self) -> None:
        """Do nothing: the text is there."""


def _to_stdout(stdout: Any, encoding: str) -> Iterator[Output]:
    if is_closed(stdout):
        raise CommandError("-: stdout is closed", returncode=REFUSED)
    buffer = getattr(stdout, "buffer", None)
    if buffer is None:  # a text in memory
        yield _Text(stdout, encoding)
        return
    stdout.flush()
    try:
        yield buffer
        buffer.flush()
    except BrokenPipeError:
        silence(buffer)
        raise


def is_closed(out: Any) -> bool:
    """Whether what a command writes to is none, as where the program was begun without."""
    return stream_of(out) is None


def stream_of(out: Any) -> Any:
    """Return the stream that Django's wrapper is of; some of its own attributes are none's."""
    return getattr(out, "_out", out)


def silence(out: Any) -> None:
    """Have nothing more come of what is written to a stream.

    Or Python fails again as it ends, when it writes what is left.
    """
    with open(os.devnull, "wb") as nothing, suppress(OSError, ValueError, AttributeError):
        os.dup2(nothing.fileno(), stream_of(out).fileno())
