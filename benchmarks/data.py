"""The rows: what each holds, by its number and its edition, in Python and in SQL.

What is sent is made in Python, what should be stored by the server: neither knows the other.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import models

from benchmarks.models import Narrow, Wide

NOON = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True)
class Shape:
    """A kind of row.

    Attributes:
        model: Its model.
        key: The unique field by which rows are matched.
        fields: The other fields, but for the primary key.
        values: Returns the key and the fields of a number and an edition.
        sql: The same, in the order of the columns, over columns ``n`` and ``e``.
    """

    model: type[models.Model]
    key: str
    fields: tuple[str, ...]
    values: Callable[[int, int], dict[str, Any]]
    sql: str

    @property
    def name(self) -> str:
        """Its name in the results."""
        return self.model._meta.model_name

    @property
    def table(self) -> str:
        """The table's name."""
        return self.model._meta.db_table

    @property
    def columns(self) -> tuple[str, ...]:
        """The key and the fields."""
        return (self.key, *self.fields)

    @property
    def order(self) -> str:
        """What rows are ordered by in SQL."""
        is_text = isinstance(self.model._meta.get_field(self.key), models.CharField)
        return f'{self.key} COLLATE "C"' if is_text else self.key


def wide(number: int, edition: int) -> dict[str, Any]:
    return {
        "sku": f"{number:07}",
        "name": f"Product {number}, edition {edition}",
        "description": f"A text as long as a sentence or two, in edition {edition}: "
        + "word " * 12,
        "price": decimal.Decimal(number * 7 + edition) / 100,
        "stock": number + edition,
        "data": {"edition": edition, "weight": number, "colour": "blue"},
        "seen": NOON + datetime.timedelta(minutes=edition, seconds=number),
        "active": (number + edition) % 2 == 0,
    }


def narrow(number: int, edition: int) -> dict[str, Any]:
    return {"code": number, "value": number / 8 + edition}


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            Wide,
            "sku",
            ("name", "description", "price", "stock", "data", "seen", "active"),
            wide,
            "lpad(n::text, 7, '0'), 'Product ' || n || ', edition ' || e, "
            "'A text as long as a sentence or two, in edition ' || e || ': ' || repeat('word ', 12)"
            ", (n * 7 + e) / 100.0, n + e, "
            "jsonb_build_object('edition', e, 'weight', n, 'colour', 'blue'), "
            "timestamptz '2026-05-01 12:00Z' + make_interval(mins => e, secs => n), "
            "(n + e) % 2 = 0",
        ),
        Shape(Narrow, "code", ("value",), narrow, "n, n / 8.0 + e"),
    )
}


@dataclass
class Batch:
    """The rows of one call.

    Attributes:
        shape: Their kind.
        numbers: Which they are, in no order.
        edition: What they hold: 0 is what is stored.
        kept: What contenders keep of it from round to round.
    """

    shape: Shape
    numbers: list[int]
    edition: int
    kept: dict[str, Any] = field(default_factory=dict)

    def keep(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what is kept under a name, made once."""
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def mappings(self) -> list[dict[str, Any]]:
        """Return the rows as dicts."""
        return [self.shape.values(number, self.edition) for number in self.numbers]

    def instances(self) -> list[models.Model]:
        """Return the rows as new instances, without primary keys."""
        return [self.shape.model(**row) for row in self.mappings()]

    def stored_instances(self) -> list[models.Model]:
        """Return the rows as instances of stored rows, with other values."""
        instances = self.instances()
        for number, row in zip(self.numbers, instances, strict=True):
            row.pk = number + 1  # as tables.Stock stores it
        return instances
