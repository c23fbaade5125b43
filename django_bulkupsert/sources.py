"""The caller's rows as they come: walked once and in order, so many at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from django.db import models

from .arrow import is_table
from .csvs import CsvRows
from .csvs.verbatim import Verbatim
from .errors import OptionError, RowError

#: Rows of one pull weigh this many bytes at most, as far as samples tell: a chunk of rows with
#: documents in them is shorter. Each is held a few times over, as texts and as what is sent.
PULL_BYTES = 4 * 1024 * 1024

#: Rows that are pulled before one is weighed.
FIRST_ROWS = 10

#: Rows of which the last is weighed; so many heavy ones may come after light ones unnoticed.
SAMPLE_ROWS = 50


class Source:
    """Where rows come from.

    Attributes:
        first: The first row, by which all are read; or a table's header.
        is_empty: Whether there is none.
        is_done: Whether all rows were pulled, as far as that is known.
        is_held: Whether pulling runs no code of the caller's: the rows are there already.
        sifts: Whether rows that can't be read are dropped, rather than refused.
        dropped: Those that the last pull dropped, by their offsets in it.
        verbatim: What rows of a file have to be that are pulled as they stand there; None: they
            are read.
    """

    first: Any = None
    is_empty = False
    is_done = False
    is_held = False
    sifts = False
    dropped: Mapping[int, RowError] = {}
    verbatim: Verbatim | None = None

    def pull(self, most: int | None) -> Sequence[Any]:
        """Return the next rows, ``most`` at most, or fewer if they are heavy; none at the end.

        Without ``most`` all of them.
        """
        raise NotImplementedError

    def picked(self, rows: Any, offsets: Sequence[int]) -> Any:
        """Return some of the rows that were pulled."""
        return [rows[offset] for offset in offsets]

    def close(self) -> None:
        """Let go of what was opened."""

    def line(self, index: int) -> int | None:  # noqa: ARG002
        """Return the line, from 1, on which a row of a file begins; None: there is no file."""
        return None

    def lines(self, indexes: Iterable[int]) -> list[int] | None:
        """Return the lines of some rows; None: there is no file."""
        found = [line for line in map(self.line, indexes) if line is not None]
        return found or None


class Walk(Source):
    """Rows of any iterable."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self.is_held = type(rows) in (list, tuple)
        self._left: Iterator[Any] = iter(rows)
        self._begin()
        self._weight = 0
        self._skipped: dict[int, RowError] = {}

    def _begin(self) -> None:
        """Look at the first row."""
        found = list(islice(self._left, 1))
        self.is_empty = not found
        self.first = None if self.is_empty else found[0]
        self._rows = chain(found, self._left)

    def skip(self, error: RowError) -> None:
        """Drop the first row, before anything is pulled; the next one is the first."""
        self._skipped[len(self._skipped)] = error
        self._begin()

    def pull(self, most: int | None) -> list[Any]:
        """Return the next rows; see Source."""
        self.dropped, self._skipped = self._skipped, {}
        if most is None:
            self.is_done = True
            return list(self._rows)
        pulled: list[Any] = []
        left = PULL_BYTES
        while len(pulled) < most and left > 0:
            # The first rows tell how many more there may be.
            fitting = left // self._weight if self._weight else FIRST_ROWS
            wanted = max(1, min(most - len(pulled), SAMPLE_ROWS, fitting))
            some = list(islice(self._rows, wanted))
            pulled += some
            if len(some) < wanted:
                self.is_done = True
                break
            self._weight = weight(some[-1])
            left -= wanted * self._weight
        return pulled


def weight(row: Any) -> int:
    """Return about how many bytes a row's values are, without running any code of its own.

    What is not of Python's own types may have such code: a lazy object would even query.
    """
    kind = type(row)
    values: Iterable[Any] = ()
    if issubclass(kind, models.Model):
        values = list(row.__dict__.values())
    elif kind is dict:
        values = row.values()
    elif kind in (list, tuple):
        values = row
    return ROW_BYTES + sum([VALUE_BYTES + _weight(item, DEPTH) for item in values])


#: What a row, and each of its values, weighs beside the text: what Python keeps of them. With more,
#: chunks of ordinary rows would be shorter.
ROW_BYTES = 100
VALUE_BYTES = 16

#: Levels of a document that are weighed.
DEPTH = 4


def _weight(item: Any, depth: int) -> int:
    kind = type(item)
    if kind in (str, bytes, bytearray):
        return len(item)
    if kind in (dict, list, tuple) and depth:
        inner = item.values() if kind is dict else item
        return 16 * len(item) + sum([_weight(each, depth - 1) for each in inner])
    return 16


def is_walkable(rows: Any) -> bool:
    """Whether rows can be walked, and are not one row."""
    return isinstance(rows, Iterable) and not isinstance(rows, Mapping | str | bytes)


def is_walkable_again(rows: Any) -> bool:
    """Whether rows are sure to be the same if they are walked a second time."""
    if isinstance(rows, CsvRows):
        return rows.is_path
    if is_table(rows):
        return hasattr(rows, "__len__")  # else it is a stream
    return isinstance(rows, Collection | models.QuerySet)


def check_rows(rows: Any) -> None:
    """Check that rows can be walked.

    Raises:
        OptionError: They can't, or are one row.
    """
    if not (is_table(rows) or isinstance(rows, CsvRows) or is_walkable(rows)):
        late = "; .collect() it" if hasattr(rows, "collect") else ""  # a frame that is lazy
        raise OptionError(
            "rows is an iterable of model instances, mappings or sequences, not one "
            f"{type(rows).__name__}{late}"
        )
