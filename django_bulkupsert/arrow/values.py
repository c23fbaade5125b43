"""One column of a chunk of a table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ..drawn import DrawnValues
from ..encode import Texts
from ..errors import RowValueError
from ..fields import Field, wanted
from . import UNREADABLE


class ArrowValues(DrawnValues):
    """The values of a field in a chunk of a table.

    Args:
        column: The column, a pyarrow.ChunkedArray.
        field: The field whose values they are.
        start: The index of the first row.
    """

    def __init__(self, column: Any, field: Field, start: int) -> None:
        from .texts import plain  # which imports pyarrow

        self.column = plain(column)
        self.field = field
        self.start = start

    def texts(self, bounds: tuple[int, int] | None) -> Texts | None:
        """Return the values as text; see DrawnValues."""
        from .texts import texts_of

        texts = texts_of(self.column, self.field, bounds)
        if texts is None:
            return None
        nulls = self.column.null_count > 0
        return Texts(texts, nulls, escape=False, quote=False, sure=True)

    @cached_property
    def values(self) -> Sequence[Any]:
        """The values as Python's.

        Raises:
            RowValueError: Python has none for one of them.
        """
        try:
            return self.column.to_pylist()  # type: ignore[no-any-return]
        except UNREADABLE:
            return list(map(self._value, range(len(self))))

    def _value(self, offset: int) -> Any:
        try:
            return self.column[offset].as_py()
        except UNREADABLE as error:
            reason = f"this {self.column.type} can't be read as {wanted(self.field)}"
            raise RowValueError(self.start + offset, self.field.name, reason) from error

    def __len__(self) -> int:
        return len(self.column)
