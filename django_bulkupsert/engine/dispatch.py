"""``bulk_upsert``: which kind of call it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections
from django.utils.connection import ConnectionProxy

from ..names import Model
from ..plans.inherited import InheritedPlan, is_inherited
from ..plans.kept import planned
from ..plans.options import UpsertOptions
from ..plans.upsert import UpsertPlan
from ..result import UpsertResult
from ..rows import check_rows, open_rows
from . import mixed
from .inherited import InheritedCall
from .upsert import UpsertCall


def run(model: Model, rows: Iterable[Any], options: UpsertOptions, using: str) -> UpsertResult:
    """Upsert ``rows``; see ``BulkUpsertQuerySet.bulk_upsert`` for the meaning of each word."""
    if is_inherited(model):
        inherited = InheritedPlan(model, options, connections[using])
        check_rows(rows)
        return InheritedCall(inherited).run(rows)

    def make() -> UpsertPlan:
        return UpsertPlan(model, options, ConnectionProxy(connections, using))

    with planned(model, using, options, make) as plan:
        check_rows(rows)
        return mixed.run(plan, rows, _write) if options.mixed_keys else _write(plan, rows)


def _write(plan: UpsertPlan, rows: Iterable[Any]) -> UpsertResult:
    """Upsert the rows of one table, all of one kind."""
    source = open_rows(plan.model, rows, plan.fields, plan.column, plan.readers)
    if source is None:
        return UpsertResult()
    call = UpsertCall(plan, plan.bind(source.reader), source)
    result = call.run()
    call.marks.apply(source.objects or ())
    return result
