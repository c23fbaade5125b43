"""One column of a chunk of a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from django.db.models import JSONField, Value

from ..encode import Fault, Texts, spread
from ..errors import RowValueError
from ..fields import Field, wanted
from ..jsons import check_json
from ..lazy import LazyValues
from . import UNREADABLE


class ArrowValues(LazyValues):
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
        """Return the values as text; see LazyValues."""
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

    def picked(self, offsets: Sequence[int]) -> ArrowValues:
        """Return those at some offsets."""
        return type(self)(self.column.take(list(offsets)), self.field, self.start)

    def __len__(self) -> int:
        return len(self.column)


class ArrowDocuments(ArrowValues):
    """The values of a JSONField, from a column of Arrow's own type of JSON.

    Its texts are stored as they are; only a field of another's makes values of Python's of them.
    """

    @cached_property
    def documents(self) -> Texts:
        """The texts, which are JSON.

        Raises:
            RowValueError: One is not.
        """
        held: list[str | None] = self.column.to_pylist()
        places = [offset for offset, text in enumerate(held) if text is not None]
        try:
            done = check_json([text for text in held if text is not None])
        except Fault as fault:
            index = self.start + places[fault.offset]
            raise RowValueError(index, self.field.name, fault.reason) from fault.__cause__
        return replace(done, values=spread(held, done.values), nulls=len(places) < len(held))

    def texts(self, bounds: tuple[int, int] | None) -> Texts | None:  # noqa: ARG002
        """Return the values as text, where the field is Django's own."""
        return self.documents if type(self.field) is JSONField else None

    @cached_property
    def values(self) -> list[Any]:
        """The values as Python's; JSON's null, which is not SQL's, is an expression."""
        return [
            text if text is None else _NULL if (held := json.loads(text)) is None else held
            for text in self.documents.values
        ]


#: JSON's null; None is SQL's.
_NULL = Value(None, JSONField())


def is_json(field: Any) -> bool:
    """Whether a column is of Arrow's own type of JSON, which pyarrow may not know.

    Args:
        field: The column's field in the schema, a pyarrow.Field.
    """
    name = getattr(field.type, "extension_name", None)
    return name == _JSON or (field.metadata or {}).get(b"ARROW:extension:name") == _JSON.encode()


_JSON = "arrow.json"
