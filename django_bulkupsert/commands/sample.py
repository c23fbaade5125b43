"""What a dry run shows: some of the rows that would be created, and what would change in others."""

from __future__ import annotations

import csv
import decimal
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import models

from ..csvs import CsvRows
from ..fields import is_clock
from ..functions import bulk_upsert
from ..names import Model, resolve_all
from ..result import ReturnedRow, Status

#: The rows of the file, from its start, of which the sample is.
ROWS = 2_000

#: The updated rows that are shown, and the created ones.
UPDATED, CREATED = 10, 3

#: Characters of a value that are shown.
WIDTH = 40


@dataclass
class Sample:
    """Some rows.

    Attributes:
        looked_at: How many rows of the file, from its start, these are some of.
        updated: Per row its key, and its fields' old and new values.
        created: Per row its key, and its fields' values.
    """

    looked_at: int = 0
    updated: list[tuple[dict[str, Any], dict[str, tuple[Any, Any]]]] = field(default_factory=list)
    created: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "rows": self.looked_at,
            "updated": [
                {"key": key, "changes": {name: list(pair) for name, pair in changes.items()}}
                for key, changes in self.updated
            ],
            "created": [{"key": key, "values": values} for key, values in self.created],
        }

    def lines(self) -> list[str]:
        """Return it as lines of text."""
        if not (self.updated or self.created):
            return []
        rows = (
            "The first row" if self.looked_at == 1 else f"Some of the first {self.looked_at:,} rows"
        )
        lines = [f"\n{rows}:"]
        for key, changes in self.updated:
            lines.append(f"~ {_key(key)}")
            lines += [
                f"    {name}: {_short(old)} -> {_short(new)}"
                for name, (old, new) in changes.items()
            ]
        for key, values in self.created:
            lines.append(f"+ {_key(key)}")
            lines += [f"    {name}: {_short(value)}" for name, value in values.items()]
        return [*lines, ""]


def _key(key: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in key.items())


def _short(value: Any) -> str:
    if isinstance(value, memoryview):
        value = bytes(value)
    text = repr(value) if isinstance(value, str | bytes) else str(value)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def named_numbers(value: Any) -> Any:
    """Return a value, also a nested one, in which numbers that are none are their names: "NaN".

    So JSON has them, which has no such numbers; and one is the same as another.
    """
    if isinstance(value, dict):
        return {key: named_numbers(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [named_numbers(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, decimal.Decimal) and not value.is_finite():
        return str(value)
    return value


def sample(queryset: Any, rows: CsvRows, options: Mapping[str, Any]) -> Sample:
    """Upsert the first rows of a file, and return what became of some; the caller rolls back.

    Rows are taken as if the file ended after them, because a row back for each row of a long file
    would have to be held.

    Args:
        queryset: One of the model, and of the database.
        rows: The file, which is read from where it stands.
        options: The keywords of the call.
    """
    start, looked_at = _first(rows)
    words = {**options, "returning": True, "returning_old": True, "progress": None}
    result = bulk_upsert(queryset, start, **words)
    by = options["unique_fields"] or options["match_fields"] or _fields(queryset.model, options)
    key = [each.name for each in resolve_all(queryset.model, by, "rows")]
    return _chosen(queryset.model, key, looked_at, result.rows)


def _fields(model: Model, options: Mapping[str, Any]) -> list[str]:
    """Return the fields of the constraint that rows are matched by, or the primary key."""
    for constraint in model._meta.constraints:
        if constraint.name == options["constraint"]:
            return list(getattr(constraint, "fields", ())) or ["pk"]
    return ["pk"]


def _chosen(model: Model, key: list[str], looked_at: int, rows: Sequence[ReturnedRow]) -> Sample:
    made = {each.name for each in model._meta.concrete_fields if is_clock(each)}
    if isinstance(model._meta.pk, models.AutoField):
        made.add(model._meta.pk.name)  # drawn for nothing
    found = Sample(looked_at)
    for row in rows:
        own = {name: row.values[name] for name in key}
        others = [name for name in row.values if name not in made and name not in own]
        if row.status is Status.UPDATED and len(found.updated) < UPDATED:
            old = row.old or {}
            changes = {
                name: (old.get(name), row.values[name])
                for name in others
                if named_numbers(old.get(name)) != named_numbers(row.values[name])
            }
            found.updated.append((own, changes))
        elif row.status is Status.CREATED and len(found.created) < CREATED:
            found.created.append((own, {name: row.values[name] for name in others}))
    return found


def _first(rows: CsvRows) -> tuple[CsvRows, int]:
    """Return the first rows of a file as a file of their own, and their number."""
    taken: list[str] = []
    count, skips = -1, False  # the header is no row
    with rows.text() as lines:
        kept = (taken.append(line) or line for line in lines)  # type: ignore[func-returns-value]
        for record in csv.reader(kept, delimiter=rows.delimiter, quotechar=rows.quotechar):
            if not record or (skips and not any(record)):
                continue
            count += 1
            if not count:
                skips = rows.skips_empty(len(record))
            if count == ROWS:
                break
    return CsvRows(
        io.StringIO("".join(taken), newline=""),
        columns=rows.columns,
        null=rows.null,
        delimiter=rows.delimiter,
        quotechar=rows.quotechar,
        ignore_extra=rows.ignore_extra,
    ), max(count, 0)
