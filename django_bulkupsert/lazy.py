"""Columns of values that are not Python's yet: of a table of Arrow's, or of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .encode import Texts


class LazyValues(Sequence[Any]):
    """The values of a field, of which Python's are made only if somebody looks at them."""

    @property
    def values(self) -> Sequence[Any]:
        """The values as Python's."""
        raise NotImplementedError

    def texts(self, bounds: tuple[int, int] | None) -> Texts | None:
        """Return the values as text, where the field's class takes them as they are.

        Args:
            bounds: The least and the greatest integer that the table's column takes, or None.
        """
        raise NotImplementedError

    def picked(self, offsets: Sequence[int]) -> LazyValues:
        """Return those at some offsets."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]
