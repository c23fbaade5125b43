"""Some of the rows of a staging table."""

from __future__ import annotations

from ..sql import EMPTY, Fragment, compose, raw
from .base import Relation
from .staging import StagingRelation


class StagedPart(Relation):
    """Some of the rows of a staging table.

    Args:
        whole: The staging table.
        low: The least number that a row of the part has.
        high: The number that the first row after it has.
    """

    exact_types = True

    def __init__(self, whole: StagingRelation, low: int, high: int) -> None:
        self.whole = whole
        self.bounds = {"low": raw(str(low)), "high": raw(str(high))}

    @property
    def dropped(self) -> Fragment | None:
        """The query of the positions of rows that don't count; see StagingRelation."""
        return self.whole.dropped

    def prelude(self) -> Fragment:
        """Return no CTE: the table is read as it is."""
        return EMPTY

    def source(self) -> Fragment:
        """Return the FROM item, known as bu_r."""
        return compose("({select}) AS bu_r", select=self.select())

    inline = source

    def select(self) -> Fragment:
        """Return the query of all rows."""
        return compose(
            "SELECT * FROM {name} WHERE ord >= {low} AND ord < {high}",
            name=self.whole.name,
            **self.bounds,
        )
