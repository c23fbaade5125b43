"""``bulk_upsert``: which kind of call it is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from django.db import connections

from ..names import Model
from ..plans.inherited import InheritedPlan, is_inherited
from ..plans.kept import planned
from ..plans.options import UpsertOptions
from ..plans.upsert import UpsertPlan
from ..result import UpsertResult
from ..rows import told_by_line
from ..sources import check_rows
from . import mixed
from .attempts import Attempts
from .inherited import InheritedCall
from .opening import opened
from .progress import Progress


def run(model: Model, rows: Any, options: UpsertOptions, using: str) -> UpsertResult:
    """Upsert ``rows``; see ``BulkUpsertQuerySet.bulk_upsert`` for the meaning of each word."""
    needs = "SELECT and INSERT, and UPDATE if it may update"
    attempts = Attempts(
        connections[using],
        f"bulk_upsert() of {model._meta.label}",
        needs if options.lock is None else f"{needs}, or for lock='table'",
        options.retries,
        rows,
    )
    result = attempts.whole(partial(_run, model, rows, options, using, attempts))
    return replace(result, retries=attempts.count) if attempts.count else result


def _run(
    model: Model, rows: Any, options: UpsertOptions, using: str, attempts: Attempts
) -> UpsertResult:
    if is_inherited(model):
        inherited = InheritedPlan(model, options, connections[using])
        check_rows(rows)
        return InheritedCall(inherited, Progress(options.progress, rows), attempts).run(rows)
    with planned(model, using, options, partial(UpsertPlan, model)) as plan:
        check_rows(rows)
        progress = Progress(options.progress, rows)
        if options.mixed_keys:
            return mixed.run(plan, rows, progress, attempts)
        call = opened(plan, rows, progress, attempts)
        if call is None:
            progress.done()
            return UpsertResult()
        with told_by_line(call.source.source):
            result = call.run()
        call.finish()
        return result
