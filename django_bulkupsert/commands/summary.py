"""What a command did, for people and for programs."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from ..result import UpsertResult
from .sample import Sample, named_numbers


@dataclass(frozen=True)
class Summary:
    """What became of a file's rows.

    Attributes:
        model: The model's label.
        database: The database's alias.
        result: The counts.
        seconds: How long it took.
        sample: Of a dry run: what would change, in some rows; else None.
        collects: Whether rows may be rejected.
    """

    model: str
    database: str
    result: UpsertResult
    seconds: float
    sample: Sample | None = None
    collects: bool = False

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.result.total / self.seconds if self.seconds else 0.0

    def as_json(self) -> str:
        """Return one JSON object."""
        result = self.result
        said: dict[str, Any] = {
            "model": self.model,
            "database": self.database,
            "dry_run": self.sample is not None,
            "created": result.created,
            "updated": result.updated,
            "unchanged": result.unchanged,
            "skipped": result.skipped,
            "rejected": len(result.rejected),
            "retries": result.retries,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rate),
        }
        if self.sample is not None:
            said["sample"] = self.sample.as_dict()
        return json.dumps(named_numbers(said), cls=_Encoder)

    def as_text(self, *, terminal: bool) -> str:
        """Return a table, and the sample below it.

        Args:
            terminal: Whether it is for one, which has styles.
        """
        result = self.result
        counts = {
            "created": result.created,
            "updated": result.updated,
            "unchanged": result.unchanged,
            "skipped": result.skipped,
        }
        if self.collects:
            counts["rejected"] = len(result.rejected)
        if result.retries:
            counts["retries"] = result.retries
        head = [*counts, "seconds", "rows/s"]
        shown = [f"{count:,}" for count in counts.values()]
        row = [*shown, f"{self.seconds:.2f}", f"{self.rate:,.0f}"]
        text = _table(head, row, terminal=terminal)
        if self.sample is None:
            return text
        return "\n".join([text.rstrip("\n"), *self.sample.lines(), "Dry run: nothing was written."])


def _table(head: Sequence[str], row: Sequence[str], *, terminal: bool) -> str:
    """Return a table of one row, made by rich where it is there."""
    widths = [max(map(len, pair)) for pair in zip(head, row, strict=True)]
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
            for cells in (head, row)
        )
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for name in head:
        table.add_column(name, justify="right")
    table.add_row(*row)
    # Into a text: a console that writes itself ends the program where nobody reads it. Wide enough
    # for any counts, none of which is to be cut.
    text = io.StringIO()
    Console(file=text, width=200, highlight=False, force_terminal=terminal or None).print(table)
    return text.getvalue()


class _Encoder(DjangoJSONEncoder):
    """Django's; what it doesn't know is a text."""

    def default(self, value: Any) -> Any:  # the name is json's
        try:
            return super().default(value)
        except TypeError:
            return bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value)
