"""The regular expression that knows the rows of a file that mean one thing only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import models

from ..columns import Column
from ..loops import INTEGER_FIELDS, TEXT_FIELDS, value_field
from . import CsvHeader

_DATE = (
    "[12][0-9]{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    "|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.][0-9]{1,6})?)?"
_OFFSET = "(?:Z|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)"
_HEX = "[0-9a-fA-F]"

_KNOWN: dict[type, str] = {
    models.BooleanField: "[tfTFyYnN01]|true|false|True|False|TRUE|FALSE|yes|no|on|off",
    models.DateField: _DATE,
    models.FloatField: "-?[0-9]{1,15}(?:[.][0-9]{1,15})?(?:[eE][-+]?[0-9]{1,2})?",
    models.TimeField: _TIME,
    models.UUIDField: f"{_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}|{_HEX}{{32}}",
}


@dataclass(frozen=True)
class Pattern:
    """What the rows of a file are made of; see Verbatim for the attributes, and ``Verbatim.of``."""

    header: CsvHeader
    places: Sequence[int | None]
    columns: Sequence[Column]
    leaves: Mapping[Column, Column]
    naive: bool

    def row(self, end: str) -> re.Pattern[str] | None:
        """Return what matches a row and its end; a group for it, and for each run of columns."""
        cells = [self._cell(place) for place in self.places]
        if not all(cells):
            return None
        cells[0] = f"{self._no_row(end)}{cells[0]}"
        runs: list[list[str]] = []
        parts: list[str] = []
        for place, cell in zip(self.places, cells, strict=True):
            if place is None:
                parts.append(str(cell))
                runs.append([])
            elif runs and runs[-1]:
                runs[-1].append(str(cell))
                continue
            else:
                runs.append([str(cell)])
                parts.append("")
        delimiter = re.escape(self.header.delimiter)
        line = delimiter.join(
            f"({delimiter.join(run)})" if run else part
            for run, part in zip(runs, parts, strict=True)
        )
        return re.compile(f"({line}){end}" if None in self.places else f"{line}{end}")

    def _no_row(self, end: str) -> str:
        """Return what refuses lines that are no rows: blank ones, and those of empty texts."""
        count = len(self.places)
        if count == 1:
            return f"(?!{end})"
        if self.header.null:
            return ""
        empty = f"(?:{re.escape(self.header.quotechar * 2)})?"
        delimiter = re.escape(self.header.delimiter)
        return f"(?!{empty}(?:{delimiter}{empty}){{{count - 1}}}{end})"

    def _cell(self, place: int | None) -> str | None:
        """Return what matches a column's values; None, if the server should read none of them."""
        if place is None:
            return f"(?:{self._text(None)})"
        column = self.columns[place]
        leaf = self.leaves.get(column, column)
        known = self._known(leaf)
        if known is not None:
            return self._with_nulls(known, column)
        kind = type(value_field(leaf.field))
        if kind in TEXT_FIELDS:
            return self._with_nulls_of_text(self._text(leaf.longest), column)
        if kind is models.JSONField:
            return self._with_nulls_of_text(self._text(None, least=1), column)
        return None

    def _known(self, column: Column) -> str | None:
        """Return what matches the values of a column that are no text."""
        own: Any = value_field(column.field)
        kind = type(own)
        if kind in INTEGER_FIELDS and column.bounds is not None:
            low, high = column.bounds
            return f"{'-?' if low < 0 else ''}[0-9]{{1,{len(str(high)) - 1}}}"
        if kind is models.DecimalField and column.digits is not None:
            before, after = own.max_digits - own.decimal_places, own.decimal_places
            points = f"(?:[.][0-9]{{1,{after}}})?" if after else ""
            return f"-?[0-9]{{1,{before}}}{points}" if before else None
        if kind is models.DateTimeField:
            offset = _OFFSET if settings.USE_TZ else ""
            return f"{_DATE}[T ]{_TIME}{offset}" + ("?" if offset and self.naive else "")
        return _KNOWN.get(kind)

    def _text(self, most: int | None, least: int = 0) -> str:
        """Return what matches texts of so many characters, each in one way only."""
        quote = self.header.quotechar
        mark, other = re.escape(quote), f"[^{re.escape(quote)}]"
        bare = f"[^{re.escape(quote + self.header.delimiter)}\\r\\n]"
        count = f"{{{least},{'' if most is None else most}}}"
        some = f"(?!{mark}(?!{mark}))" if least else ""  # not closed at once
        inside = f"{other}*(?:{mark}{mark}{other}*)*"
        if most is not None:  # each counts, and a quote that is doubled as one; few are
            doubled = f"(?={other}*{mark}{mark})(?:{other}|{mark}{mark}){count}"
            inside = f"(?:{other}{count}(?={mark}(?!{mark}))|{doubled})"
        return f"{bare}{count}|{mark}{some}{inside}{mark}"

    # NULL -----------------------------------------------------------------------------------

    def _with_nulls(self, known: str, column: Column) -> str:
        """Return what matches values of a column that are no text, in quotes or without."""
        mark = re.escape(self.header.quotechar)
        if column.field.null and not self.header.null:
            return f"(?:{known}|{mark}(?:{known})?{mark})?"
        return self._with_nulls_of_text(f"(?:{known})|{mark}(?:{known}){mark}", column)

    def _with_nulls_of_text(self, known: str, column: Column) -> str:
        """Return what matches values as a file has them, or NULL if the column takes that.

        What is known matches no text in two ways, so that one that is not known is found soon.
        """
        mark, null = self.header.quotechar, self.header.null
        nulls = [null, f"{mark}{null}{mark}"]
        others = [re.escape(each) for each in nulls if not re.fullmatch(known, each)]
        if column.field.null:
            return f"(?:{'|'.join([known, *others])})"
        if len(others) == len(nulls) or keeps_empty(column.field, null):
            return f"(?:{known})"
        mark, null = re.escape(mark), re.escape(null)
        ends = f"(?:{re.escape(self.header.delimiter)}|\\r?\\n)"
        return f"(?!{null}{ends}|{mark}{null}{mark}(?!{mark}))(?:{known})"


def keeps_empty(field: models.Field[Any, Any], null: str) -> bool:
    """Whether the empty text in a file is one, and no NULL."""
    return null == "" and field.empty_strings_allowed and not field.null
