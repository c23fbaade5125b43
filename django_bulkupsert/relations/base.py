"""What a statement needs to know of a relation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from ..sql import Fragment, Hole, compose, raw


class Relation:
    """Rows that can be read in a FROM clause: an ord (the input's position) and the slots.

    Attributes:
        exact_types: Whether its columns have the very types of the table's columns, rather
            than those that the model names.
        shape: What the SQL of the relation turns on, beside its slots; None: on its rows.
        values: What goes into the holes of that SQL.
        is_single: Whether it has one row.
        literals: Of a single row, what it brings for each slot; None: it has to be read.
    """

    exact_types = False
    shape: Hashable = None
    values: Mapping[Hole, Any] = {}
    is_single = False
    literals: Mapping[Any, Fragment] | None = None

    @property
    def dropped(self) -> Fragment | None:
        """The query of the positions of rows that don't count, if that was settled before."""
        return None

    def select(self) -> Fragment:
        """Return the query of all rows."""
        raise NotImplementedError

    def prelude(self) -> Fragment:
        """Return the CTE, named bu_r, that a statement starts with; empty if there is none."""
        return compose("bu_r AS MATERIALIZED ({select})", select=self.select())

    def source(self) -> Fragment:
        """Return the FROM item, known as bu_r, beside that CTE."""
        return raw("bu_r")

    def inline(self) -> Fragment:
        """Return the FROM item, known as bu_r, of a statement without the CTE: read once."""
        return compose("({select}) AS bu_r", select=self.select())
