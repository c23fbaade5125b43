"""Rows of a table of Arrow's, whose columns are read as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import JSONField

from ..arrow import UNREADABLE, Header
from ..arrow.values import ArrowDocuments, ArrowValues, is_json
from ..columns import Column
from ..errors import RowFieldsError
from ..fields import Field
from ..names import Model, Named, named_all
from .given import GivenReader


class ArrowReader(GivenReader):
    """Reads tables whose columns are named as fields are."""

    def __init__(self, model: Model, header: Header, column: Callable[[Field], Column]) -> None:
        names = [name for name in header.names if not _INDEX.fullmatch(name)]
        if not names:
            raise RowFieldsError(0, None, "a table without columns gives no field")
        super().__init__(model, named_all(model, names), column)
        # A table has no mark for what the database fills in.
        self.defaulted -= set(map(column, self.given))

    def is_plain(self, rows: Any) -> bool:  # noqa: ARG002
        """Whether reading these rows is sure to run no code of the caller's, and no query."""
        return not self.asks

    def _held(self, rows: Any, offset: int, at: int) -> Any:
        try:
            return rows.column(self.names[at].name)[offset].as_py()
        except UNREADABLE:
            return None

    def _columns(self, rows: Any, start: int) -> list[Sequence[Any]]:
        return [
            self._kind(rows, named)(rows.column(named.name), named.leaf, start)
            for named in self.names
        ]

    def _kind(self, rows: Any, named: Named) -> type[ArrowValues]:
        held = isinstance(named.leaf, JSONField) and is_json(rows.schema.field(named.name))
        return ArrowDocuments if held else ArrowValues


#: How pandas names the columns of an index that has no name: the numbers that are left of rows
#: when a frame is filtered or sorted. No field can be called so.
_INDEX = re.compile(r"__index_level_\d+__")
