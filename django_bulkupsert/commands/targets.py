"""Where a file is written to: stdout, or a path that is whole or not there."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def written(path: str, stdout: Any) -> Iterator[Callable[[bytes], object]]:
    """Give what writes bytes to a file; ``-`` is stdout.

    A file that was there is replaced at the end, at once; if something fails before, it stays.

    Args:
        path: The file's.
        stdout: The command's stdout, of text, with a buffer of bytes or without.
    """
    if path == "-":
        yield from _to_stdout(stdout)
        return
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as device:  # a pipe, or the like
            yield device.write
        return
    part = f"{path}.part"
    try:
        with open(part, "wb") as file:
            yield file.write
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


def _to_stdout(stdout: Any) -> Iterator[Callable[[bytes], object]]:
    buffer = getattr(stdout, "buffer", None)
    if buffer is None:  # a text in memory
        decode = codecs.getincrementaldecoder("utf-8")().decode
        yield lambda data: stdout.write(decode(data), ending="")
        return
    stdout.flush()
    try:
        yield buffer.write
        buffer.flush()
    except BrokenPipeError:
        # Or Python fails again as it ends, when it writes what is left.
        with open(os.devnull, "wb") as nothing, suppress(OSError, ValueError):
            os.dup2(nothing.fileno(), buffer.fileno())
        raise
