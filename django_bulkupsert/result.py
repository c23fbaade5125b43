"""What a call did, row by row counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

#: Rows, and rejected rows, that a notebook shows.
MOST_SHOWN = 10


class Status(str, Enum):
    """What became of one row of the input; a text: ``row.status == "created"``.

    Attributes:
        CREATED: It was inserted.
        UPDATED: Its stored row was written.
        UNCHANGED: Its stored row already held the same values, and was left alone.
        SKIPPED: It was held back, by ``where``, ``ignore_conflicts`` or ``duplicates``, or by a
            trigger or a row-security policy.
    """

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"

    def __str__(self) -> str:
        return self.value

    @property
    def code(self) -> int:
        """The number by which a statement tells it; the position in STATUSES."""
        return STATUSES.index(self)


#: Statuses by their codes.
STATUSES = tuple(Status)


@dataclass(frozen=True)
class ReturnedRow:
    """One row of the table, as it is after the call.

    ``row["price"]`` is the value of a field that ``returning`` names.

    Attributes:
        index: The position, from 0, of the row of the input that it was written from.
        values: The values by the names that ``returning`` gave; None each, if there is no
            stored row.
        status: What became of the row of the input.
        old: The values before the call, by the same names, if ``returning_old`` asks for them;
            None for a row that was not there.
    """

    index: int
    values: dict[str, Any]
    status: Status = Status.UPDATED
    old: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


@dataclass(frozen=True)
class Rejected:
    """A row that ``on_error="collect"`` left out.

    Attributes:
        index: The row's position in the input, from 0.
        field: The name of the field at fault, or None where the row as a whole is.
        value: The value that the row gives for it, as far as it is known; once sent, as text.
        message: What is wrong; it holds no value, but for one that names no row of another model
            (``country__code``), and what a validator of yours puts there.
        sqlstate: The server's code of the error (manual: "PostgreSQL Error Codes"); None, if the
            row never came there.
        line: Of a row of a file, the line on which it begins, from 1; else None.
    """

    index: int
    field: str | None
    value: Any
    message: str
    sqlstate: str | None
    line: int | None


@dataclass(frozen=True)
class UpsertResult:
    """How many rows of the input met which end; they add up to the rows given.

    Attributes:
        created: Rows that were inserted.
        updated: Rows whose stored row was written.
        unchanged: Rows whose stored row already held the same values, and was left alone.
        skipped: Rows that were held back by ``where``, ``ignore_conflicts`` or ``duplicates``, or
            swallowed by a trigger or a row-security policy.
        rows: One per row of the input that was not rejected, in its order, if ``returning`` asks
            for them.
        rejected: The rows that ``on_error="collect"`` left out, in the order of the input.
        retries: How often something was undone and tried again; see ``retries=``.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    rows: Sequence[ReturnedRow] = field(default=(), repr=False)
    rejected: Sequence[Rejected] = field(default=(), repr=False)
    retries: int = field(default=0, compare=False)

    @property
    def total(self) -> int:
        """How many rows the input held."""
        kept = self.created + self.updated + self.unchanged + self.skipped
        return kept + len(self.rejected)

    @property
    def written(self) -> int:
        """How many rows of the table were written, created and updated ones."""
        return self.created + self.updated

    def __add__(self, other: UpsertResult) -> UpsertResult:
        """Return both: the rows of the other after these, each with its place in its own input."""
        if not isinstance(other, UpsertResult):
            return NotImplemented
        return UpsertResult(
            self.created + other.created,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.skipped + other.skipped,
            [*self.rows, *other.rows] or (),
            [*self.rejected, *other.rejected] or (),
            self.retries + other.retries,
        )

    def __str__(self) -> str:
        return (
            f"{self.created:,} created, {self.updated:,} updated, "
            f"{self.unchanged:,} unchanged, {self.skipped:,} skipped"
            + (f", {len(self.rejected):,} rejected" if self.rejected else "")
            + _retried(self.retries)
        )

    def _repr_html_(self) -> str:
        """Return tables for a notebook: the counts, and the first rows and rejects."""
        counts = {
            "created": self.created,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "skipped": self.skipped,
            **({"rejected": len(self.rejected)} if self.rejected else {}),
            **({"retries": self.retries} if self.retries else {}),
        }
        shown = [_counted(counts), _returned(self.rows)]
        if self.rejected:
            head = ("row" if self.rejected[0].line is None else "line", "field", "value", "message")
            rejects = [
                (each.index if each.line is None else each.line, each.field or "", each.value,
                 each.message)
                for each in self.rejected[:MOST_SHOWN]
            ]  # fmt: skip
            shown.append(_table(head, rejects, len(self.rejected)))
        return "".join(shown)


def in_order(result: UpsertResult) -> UpsertResult:
    """Return the result of one input, of which parts were added up, in the input's order."""
    rows = sorted(result.rows, key=lambda row: row.index)
    rejected = sorted(result.rejected, key=lambda row: row.index)
    return replace(result, rows=rows or (), rejected=rejected or ())


class UpdateResult(int):
    """How many stored rows matched, and ``where`` let through: an int that knows more.

    Attributes:
        updated: Stored rows that were written.
        unchanged: Stored rows that held the same values already, and were left alone
            (``skip_unchanged``). ``updated + unchanged`` is the int itself.
        skipped: Stored rows that ``where`` held back; with it or ``skip_unchanged``, also those
            that a trigger swallowed. They are not in the int.
        rows: The rows that were written, in the order of the input, if ``returning`` asks for
            them.
        retries: How often the update was undone and tried again; see ``retries=``.
    """

    updated: int
    unchanged: int
    skipped: int
    rows: list[ReturnedRow]
    retries: int

    def __new__(
        cls,
        updated: int = 0,
        unchanged: int = 0,
        skipped: int = 0,
        rows: list[ReturnedRow] | None = None,
        retries: int = 0,
    ) -> UpdateResult:
        """Count ``updated + unchanged``."""
        self = super().__new__(cls, updated + unchanged)
        self.updated = updated
        self.unchanged = unchanged
        self.skipped = skipped
        self.rows = rows or []
        self.retries = retries
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.updated, self.unchanged, self.skipped, self.rows, self.retries

    def _repr_html_(self) -> str:
        """Return tables for a notebook: the counts, and the first rows."""
        counts = {
            "updated": self.updated,
            "unchanged": self.unchanged,
            "skipped": self.skipped,
            **({"retries": self.retries} if self.retries else {}),
        }
        return _counted(counts) + _returned(self.rows)


def _retried(retries: int) -> str:
    return f", {retries:,} {'retry' if retries == 1 else 'retries'}" if retries else ""


def _counted(counts: Mapping[str, int]) -> SafeString:
    return _table(tuple(counts), [[f"{count:,}" for count in counts.values()]])


def _returned(rows: Sequence[ReturnedRow]) -> SafeString:
    """Return a table of the first rows that came back, or nothing."""
    if not rows:
        return SafeString()
    names = tuple(rows[0].values)
    cells = [(row.index, row.status, *row.values.values()) for row in rows[:MOST_SHOWN]]
    return _table(("row", "status", *names), cells, len(rows))


def _table(
    head: Sequence[str], rows: Sequence[Iterable[object]], of: int | None = None
) -> SafeString:
    """Return a table, and below it how many rows there are, if they are not all."""
    more = format_html("<p>{} of {}</p>", len(rows), f"{of:,}") if of and of > len(rows) else ""
    return format_html(
        "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}",
        format_html_join("", "<th>{}</th>", ((name,) for name in head)),
        format_html_join(
            "",
            "<tr>{}</tr>",
            ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows),
        ),
        more,
    )
