"""Rows that come as columns: data frames and tables, by Arrow's C stream interface.

Whatever has ``__arrow_c_stream__`` (polars, pandas, pyarrow, DuckDB) hands over its columns, and
pyarrow reads them. It is imported when the first of them comes, by the extra "arrow".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import OptionError

#: What pyarrow raises for a moment beyond Python's, a text that is not UTF-8, or the like.
UNREADABLE = (ArithmeticError, LookupError, ValueError)


@dataclass(frozen=True)
class Header:
    """What the rows of a table have in common.

    Attributes:
        names: The names of the table's columns, in order.
    """

    names: tuple[str, ...]


class ArrowStream(Protocol):
    """What has Arrow's C stream interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the stream, in a capsule."""


def is_table(rows: Any) -> bool:
    """Whether rows are a table of Arrow's; some can be walked too, and give no rows then."""
    return hasattr(rows, "__arrow_c_stream__")


def refuse_table(rows: Any, taken: str) -> None:
    """Refuse rows that are a table.

    Args:
        rows: The rows.
        taken: What is taken instead.

    Raises:
        OptionError: They are.
    """
    if is_table(rows):
        raise OptionError(f"{taken}, not a data frame or another Arrow stream")
