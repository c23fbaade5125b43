"""Mappings whose keys differ: those with the same keys are a call of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..arrow import refuse_table
from ..csvs import refuse_file
from ..errors import OptionError, RowTypeError, counted_in, listing
from ..fields import Field, is_clock
from ..names import Model, named_all, resolve_all
from ..plans.options import UpsertOptions
from ..plans.upsert import UpsertPlan
from ..readers import reader_of
from ..readers.base import described
from ..result import UpsertResult, in_order
from ..transactions import atomic
from .attempts import Attempts
from .opening import opened
from .progress import Part, Progress


def run(
    plan: UpsertPlan, rows: Iterable[Any], progress: Progress, attempts: Attempts
) -> UpsertResult:
    """Write groups of rows one after the other, in the order in which they begin.

    Args:
        plan: The plan of the whole.
        rows: The rows.
        progress: Is told of the rows of each group.
        attempts: The attempts at the whole.
    """
    options = replace(plan.options, mixed_keys=False)
    if options.fields is not None:
        raise OptionError("mixed_keys is for rows that are mappings, and fields= for sequences")
    refuse_table(rows, "mixed_keys is for rows that are mappings")
    refuse_file(rows, "mixed_keys is for rows that are mappings")
    groups: dict[frozenset[str], list[int]] = {}
    fields: dict[frozenset[str], frozenset[Field]] = {}
    named: dict[frozenset[Any], dict[str, str]] = {}
    held: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise RowTypeError(index, None, f"{described(row)}, where mixed_keys takes mappings")
        keys = frozenset(row)
        if keys not in named:
            found = named_all(plan.model, list(row))
            named[keys] = {key: each.label for key, each in zip(row, found, strict=True)}
            fields[frozenset(named[keys].values())] = frozenset(each.field for each in found)
        names = named[keys]  # "country" and "country_id" are one, and "country__code" is another
        held.append({names[key]: item for key, item in row.items()})
        groups.setdefault(frozenset(names.values()), []).append(index)
    _check_given(plan, fields.values())
    plans = {
        given: _planned(plan, _narrowed(plan.model, options, fields[given]), held[first], first)
        for given, (first, *_) in groups.items()
    }

    def write() -> UpsertResult:
        result = UpsertResult()
        before = 0
        with atomic(plan.connection.alias):
            for given, indexes in groups.items():
                with counted_in(indexes):
                    part = Part(progress, before)
                    call = opened(plans[given], [held[at] for at in indexes], part, attempts)
                    some = UpsertResult() if call is None else call.run()
                before += len(indexes)
                result += replace(
                    some,
                    rows=[replace(row, index=indexes[row.index]) for row in some.rows],
                    rejected=[replace(row, index=indexes[row.index]) for row in some.rejected],
                )
            progress.done()
        return in_order(result)

    return attempts.part(write, passes=None, alone=plan.connection.get_autocommit())


def _check_given(plan: UpsertPlan, groups: Iterable[frozenset[Field]]) -> None:
    """Check that each field that an option names is given by some row."""
    given = frozenset().union(*groups)
    for option, fields in (
        ("update_fields", plan.update_fields or ()),
        ("transform", [each.column.field for each in plan.transforms]),
    ):
        never = [
            repr(field.name)
            for field in fields
            if given and not (field in given or is_clock(field))
            if plan.column(field) not in plan.assigned
        ]
        if never:
            raise OptionError(f"{option} names {listing(never)}, which no row gives")


def _planned(plan: UpsertPlan, options: UpsertOptions, first: Any, index: int) -> UpsertPlan:
    """Return the plan of a group, whose first row gives what the options ask for."""
    own = UpsertPlan(plan.model, options, plan.connection)
    try:
        own.bind(reader_of(plan.model, first, None, own.column))
    except OptionError as error:
        raise type(error)(f"row {index}, and those with its keys: {error}") from error
    return own


def _narrowed(model: Model, options: UpsertOptions, given: Collection[Field]) -> UpsertOptions:
    """Return the options for rows that give only some of what is named."""
    update, transform = options.update_fields, options.transform
    if update is not None and not isinstance(update, Mapping):
        fields = resolve_all(model, update, "update_fields")
        update = [field.name for field in fields if field in given or is_clock(field)]
    if transform is not None:
        fields = resolve_all(model, list(transform), "transform")
        transform = {
            field.name: expression
            for field, expression in zip(fields, transform.values(), strict=True)
            if field in given
        }
    return replace(options, update_fields=update, transform=transform)
