"""A call for the rows at hand, by their kind and what is to become of bad ones."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from ..plans.upsert import UpsertPlan
from ..rows import Rows, open_rows
from ..sieve import SievedRows
from .attempts import Attempts
from .collect import CollectingCall
from .progress import Progress
from .upsert import UpsertCall


def opened(
    plan: UpsertPlan, rows: Iterable[Any], progress: Progress, attempts: Attempts
) -> UpsertCall | None:
    """Return the call for rows of one kind, or None where there is no row.

    What the header of a file lacks is an error in any case.
    """
    kind = SievedRows if plan.collects else Rows
    behind = partial(kind, validates=plan.options.validate)
    source = open_rows(
        plan.model, rows, plan.fields, plan.column, plan.readers, behind=behind,
        sifts=plan.collects,
    )  # fmt: skip
    if source is None:
        return None
    call: UpsertCall
    if isinstance(source, SievedRows):
        call = CollectingCall(plan, source, progress, attempts)
    else:
        call = UpsertCall(plan, source, progress, attempts)
    return None if source.source.is_empty else call
