"""Rows of a file that the server reads as they stand, and just as they would be read here.

PostgreSQL's COPY reads CSV faster than Python does, but not always the same: dates may be written
"today" or in the order that the session has set, numbers "NaN", and trailing spaces are cut to fit.
So rows are sent as they stand if one regular expression, made of the fields, knows all of them:
what it knows means one thing only. A single value that it doesn't know has the rows read here.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from string import punctuation
from typing import Any, TypeVar

from django.utils import timezone

from ..columns import Column
from ..driver import session_zone
from ..encode import has_surrogate
from ..sql import Fragment, comma, compose, literal, raw
from . import CsvHeader
from .patterns import Pattern, keeps_empty

NameT = TypeVar("NameT")

#: What may stand between values, and around them: nothing that is part of a number or a moment.
SEPARATORS = set(punctuation + "\t") - set("-+.:")


@dataclass(frozen=True)
class VerbatimBlock:
    """Some rows of a file as they stand there.

    Attributes:
        form: How they are written.
        records: Their texts, without the ends of lines, and without the columns that are left out.
        heights: How many lines of the file each takes; None: one.
        has_nulls: Whether one of their values may be NULL.
    """

    form: Verbatim
    records: Sequence[str]
    heights: Sequence[int] | None
    has_nulls: bool

    def __len__(self) -> int:
        return len(self.records)

    def part(self, low: int, high: int) -> VerbatimBlock:
        """Return some rows that follow one another."""
        heights = self.heights and self.heights[low:high]
        return replace(self, records=self.records[low:high], heights=heights)

    def picked(self, offsets: Sequence[int]) -> VerbatimBlock:
        """Return some of the rows."""
        heights = self.heights and [self.heights[offset] for offset in offsets]
        return replace(self, records=[self.records[at] for at in offsets], heights=heights)


def joined(blocks: Sequence[VerbatimBlock]) -> VerbatimBlock:
    """Return the rows of some blocks as one."""
    if len(blocks) == 1:
        return blocks[0]
    heights: list[int] | None = None
    if any(block.heights for block in blocks):
        heights = [
            height
            for block in blocks
            for height in block.heights or itertools.repeat(1, len(block))
        ]
    return VerbatimBlock(
        blocks[0].form,
        list(itertools.chain.from_iterable(block.records for block in blocks)),
        heights,
        any(block.has_nulls for block in blocks),
    )


@dataclass(frozen=True)
class Verbatim:
    """What the rows of a file have to be, and what COPY has to be told of them.

    Attributes:
        header: The file's.
        places: Which of the columns that travel each column of the file is; None: it is left out.
        columns: Those that travel: the file's first, then those that are made for each row.
        patterns: What matches a row and its end, by the end.
    """

    header: CsvHeader
    places: Sequence[int | None]
    columns: Sequence[Column]
    patterns: Mapping[str, re.Pattern[str]]

    @classmethod
    def of(
        cls,
        header: CsvHeader,
        places: Sequence[int | None],
        columns: Sequence[Column],
        leaves: Mapping[Column, Column],
        *,
        naive: bool,
    ) -> Verbatim | None:
        """Return it; None, if the server should read none of a column's values.

        Args:
            header: See the attributes.
            places: See the attributes.
            columns: See the attributes.
            leaves: What columns hold of which keys are found later: values of these columns.
            naive: Whether a moment without a time zone means the same to the server.
        """
        pattern = Pattern(header, places, columns, leaves, naive)
        found = {end: pattern.row(end) for end in ("\n", "\r\n")}
        patterns = {end: each for end, each in found.items() if each is not None}
        return cls(header, places, columns, patterns) if patterns else None

    @property
    def order(self) -> list[int]:
        """Which of the columns that travel a row of the file has, in its order."""
        return [place for place in self.places if place is not None]

    @property
    def made(self) -> Sequence[Column]:
        """The columns that are made for each row."""
        return self.columns[len(self.order) :]

    def sent(self, names: Sequence[NameT]) -> list[NameT]:
        """Return the names of the columns as they are sent; given as they travel."""
        given = self.order
        return [*(names[place] for place in given), *names[len(given) :]]

    def cell(self, text: str | None) -> str:
        """Return a text as a file has it, in quotes; None as NULL."""
        quote = self.header.quotechar
        if text is None:
            return self.header.null
        return f"{quote}{text.replace(quote, quote * 2)}{quote}"

    def block(self, text: str) -> VerbatimBlock | None:
        """Return the rows of a text that is whole lines; None, if one has to be read here."""
        at = text.find("\n")
        end = "\r\n" if text[at - 1 : at] == "\r" else "\n"
        if not text.endswith("\n"):  # the file's last line
            text += end
        pattern = self.patterns[end]
        # A line of these two characters is the end of the input, to servers before 18, which take
        # no NUL; and a line that has another end is counted otherwise there.
        if ("\\" in text and "\\." in text) or "\0" in text:
            return None
        if "\r" in text and text.count("\r") > text.count("\r\n"):
            return None
        found = pattern.findall(text)
        whole = [each[0] for each in found] if pattern.groups > 1 else found
        if sum(map(len, whole)) + len(whole) * len(end) < len(text):
            return None
        if max(map(len, whole)) > csv.field_size_limit() or has_surrogate(text):
            return None  # which is an error, told by who reads it here
        records = found
        if pattern.groups > 1:
            records = list(map(self.header.delimiter.join, [each[1:] for each in found]))
        heights = list(map(_height, whole)) if text.count("\n") > len(whole) else None
        return VerbatimBlock(self, records, heights, self._has_nulls(text, end))

    def _has_nulls(self, text: str, end: str) -> bool:
        """Whether a value may be NULL."""
        if not any(self.columns[place].field.null for place in self.order):
            return False
        if self.header.null:
            return self.header.null in text
        delimiter, quote = self.header.delimiter, self.header.quotechar
        return (
            delimiter * 2 in text
            or quote * 2 in text
            or delimiter + end in text
            or "\n" + delimiter in text
            or text.startswith(delimiter)
        )

    def keeps(self, column: Column) -> bool:
        """Whether the empty text of a column is one, and no NULL."""
        return keeps_empty(column.field, self.header.null)

    def options(self, names: Sequence[Fragment]) -> Fragment:
        """Return the options of COPY.

        Args:
            names: What the columns that travel are called there.
        """
        kept = [names[place] for place in self.order if self.keeps(self.columns[place])]
        nulls = [names[place] for place in self.order if not self.keeps(self.columns[place])]
        return compose(
            "FORMAT csv, DELIMITER {delimiter}, QUOTE {quote}, NULL {null}{kept}{nulls}, "
            "ENCODING 'UTF8'",
            delimiter=literal(self.header.delimiter),
            quote=literal(self.header.quotechar),
            null=literal(self.header.null),
            kept=compose(", FORCE_NOT_NULL ({names})", names=comma(kept)) if kept else raw(""),
            nulls=compose(", FORCE_NULL ({names})", names=comma(nulls)) if nulls else raw(""),
        )


def is_possible(header: CsvHeader) -> bool:
    """Whether COPY can be told how the file is written."""
    return (
        {header.delimiter, header.quotechar} <= SEPARATORS
        and header.quotechar not in header.null
        and "\0" not in header.null
        and not has_surrogate(header.null)
    )


def reads_naive_alike(connection: Any) -> bool:
    """Whether moments without a time zone are in UTC, to Django and to the session."""
    return timezone.get_current_timezone_name() == "UTC" == session_zone(connection)


def _height(record: str) -> int:
    return record.count("\n") + 1
