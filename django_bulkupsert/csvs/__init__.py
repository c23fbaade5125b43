"""Rows that come as text: files of comma-separated values."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from django.utils.deconstruct import deconstructible

from ..errors import OptionError
from .lines import Lines, lines_of

#: The columns that a file of rejected rows has before its own: they are no fields, so that the file
#: can be read again as it is.
REJECTED = ("rejected_line", "rejected_reason")


@dataclass(frozen=True)
class CsvHeader:
    """What the rows of a file have in common.

    Attributes:
        names: The names of the file's columns, in order.
        columns: The fields that the caller names for some of them; None: the column is left out.
        ignore_extra: Whether columns that are no field are left out.
        null: The text that stands for NULL.
        delimiter: What stands between values.
        quotechar: What stands around values that hold it.
    """

    names: tuple[str, ...]
    columns: tuple[tuple[str, str | None], ...]
    ignore_extra: bool
    null: str
    delimiter: str
    quotechar: str


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
            but empty texts, as a CharField does, stays what it is; and a line of nothing but
            delimiters is no row, as a blank one is none.
        delimiter: What stands between values, one character.
        quotechar: What stands around values that hold it, one character.
        encoding: The encoding of bytes; a byte order mark is left out.
        ignore_extra: Leave out columns that are no field, or have no name, rather than refuse them.

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
                f"CsvRows takes an open file, or the path of one, not {type(file).__name__}"
            )
        if not isinstance(columns, Mapping | None):
            raise OptionError(
                f"columns takes a dict of names in the header and names of fields, not "
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

    def skips_empty(self, columns: int) -> bool:
        """Whether a line of nothing but empty texts is no row of a file of so many columns."""
        return self.null == "" and columns > 1

    @contextmanager
    def text(self) -> Iterator[Lines]:
        """Give the file's lines; close what was opened here."""
        if isinstance(self.file, str | os.PathLike):
            with open(self.file, "rb") as opened:
                yield lines_of(opened, self.encoding)
            return
        if self._walked:
            raise OptionError("rows: this CsvRows was read already; make another of the file")
        self._walked = True
        yield lines_of(self.file, self.encoding)


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
