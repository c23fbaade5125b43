"""What is wrong with a file that can't be read."""

from __future__ import annotations

import csv
import zlib
from gzip import BadGzipFile

#: What reading a file raises if it is not what it should be: not of its encoding, not CSV, or not
#: all of it.
UNREADABLE = (UnicodeError, csv.Error, EOFError, zlib.error, BadGzipFile)

#: What is wrong with a broken row that can't be dropped.
ENDLESS = "where this row ends can't be told, so no row after it can be read"


def is_open(error: Exception) -> bool:
    """Whether the file ended within quotes."""
    return isinstance(error, csv.Error) and "unexpected end of data" in str(error)


def is_long(error: Exception) -> bool:
    """Whether a value is longer than the csv module takes."""
    return isinstance(error, csv.Error) and "field larger than field limit" in str(error)


def is_stray(error: Exception) -> bool:
    """Whether something stands where it can't."""
    return isinstance(error, csv.Error) and not (is_open(error) or is_long(error))


def reason_of(error: Exception) -> str:
    """Say what is wrong."""
    if isinstance(error, UnicodeDecodeError):
        return f"not {error.encoding}: {error.reason}; pass the file's encoding"
    if isinstance(error, EOFError | zlib.error | BadGzipFile):
        return "the compressed file is damaged, or cut short"
    if is_long(error):
        return f"{error}; csv.field_size_limit() raises it"
    if is_open(error):
        return "a quote that is opened in this row is never closed"
    return str(error)


class Broken(list[str]):
    """A row that is no CSV: of no values."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__()
        self.reason = reason
        self.text = text

    def __bool__(self) -> bool:
        return True  # or it would be a blank line


def may_go_on(text: str, quote: str, delimiter: str) -> bool:
    """Whether a broken row is the start of one, if some of its quotes should be doubled.

    Then a value is still open at its end, and a quote that follows may be what closes it.
    """
    is_open = False
    for part in text.replace(quote * 2, "").split(delimiter):
        opens = part.startswith(quote) and not is_open
        ends = part.endswith(quote) and not (opens and part == quote)
        is_open = (is_open or opens) and not ends
    return is_open
