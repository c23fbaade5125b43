"""The keys of the rows so far, where their texts tell whether one stands twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .chunks import Chunk, VerbatimChunk


class SeenKeys:
    """The keys seen so far, by their texts: whether each stood once.

    Args:
        places: Which of a chunk's texts make the key; none, if it can't be told by texts.
        null_safe: Whether a NULL is a key like any; else a row with one has no key.

    Attributes:
        distinct: Whether no key stood twice, as far as that is known.
    """

    def __init__(self, places: Sequence[int], null_safe: bool) -> None:
        self.places = places
        self.null_safe = null_safe
        self.distinct = bool(places)
        self._seen: set[Any] = set()
        self._count = 0

    def add(self, chunk: Chunk) -> None:
        """See the keys of a chunk, unless they are too many to be kept in memory."""
        if not self.distinct:
            return
        if isinstance(chunk, VerbatimChunk):  # what its texts are is not known here
            self._forget()
            return
        columns = [chunk.texts[place] for place in self.places]
        keys: Sequence[Any] = columns[0].values
        if len(columns) > 1:
            keys = list(zip(*(texts.values for texts in columns), strict=True))
        if any(texts.nulls for texts in columns) and not self.null_safe:
            single = len(columns) == 1
            keys = [key for key in keys if (key is not None if single else None not in key)]
        self._seen.update(keys)
        self._count += len(keys)
        cells = any(texts.cells for texts in columns)
        if cells or len(self._seen) < self._count or self._count > MOST_SEEN:
            self._forget()

    def _forget(self) -> None:
        self.distinct = False
        self._seen.clear()


#: Keys that are kept to tell that each stands once; beyond, the server has to look.
MOST_SEEN = 100_000
