"""Mappings whose keys differ: those with the same keys are a call of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db import transaction

from ..errors import DuplicateKeysError, OptionError, RowError, RowTypeError, listing
from ..fields import Field
from ..names import Model, resolve_all
from ..plans.options import UpsertOptions
from ..plans.upsert import UpsertPlan
from ..readers.base import described
from ..result import UpsertResult


def run(
    plan: UpsertPlan,
    rows: Iterable[Any],
    write: Callable[[Sequence[Any], UpsertOptions], UpsertResult],
) -> UpsertResult:
    """Write groups of rows one after the other, in the order in which they begin.

    Args:
        plan: The plan of the whole.
        rows: The rows.
        write: Upserts the rows of one group.
    """
    options = replace(plan.options, mixed_keys=False)
    if options.fields is not None:
        raise OptionError("mixed_keys is for rows that are mappings, and fields= for sequences")
    groups: dict[frozenset[Any], list[int]] = {}
    held = []
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise RowTypeError(index, None, f"{described(row)}, where mixed_keys takes mappings")
        groups.setdefault(frozenset(row), []).append(index)
        held.append(row)
    given = {keys: resolve_all(plan.model, list(keys), "rows") for keys in groups}
    named = dict.fromkeys((*(plan.update_fields or ()), *(t.column.field for t in plan.transforms)))
    every = {field for fields in given.values() for field in fields}
    never = [
        field.name
        for field in named
        if groups and field not in every and plan.column(field) not in plan.assigned
    ]
    if never:
        raise OptionError(f"{listing(map(repr, never))} named, which no row gives")
    result = UpsertResult()
    with transaction.atomic(using=plan.connection.alias):
        for keys, indexes in groups.items():
            meant = _narrowed(plan.model, options, given[keys])
            try:
                some = write([held[index] for index in indexes], meant)
            except RowError as error:
                raise type(error)(indexes[error.index], error.field, error.reason) from error
            except DuplicateKeysError as error:
                places = [tuple(indexes[i] for i in rows) for rows in error.indexes]
                raise DuplicateKeysError(
                    error.fields, error.keys, places, more=error.more
                ) from error
            result += replace(
                some, rows=[replace(row, index=indexes[row.index]) for row in some.rows]
            )
    return result


def _narrowed(model: Model, options: UpsertOptions, given: Sequence[Field]) -> UpsertOptions:
    """Return the options for rows that give only some of what is named."""
    update, transform = options.update_fields, options.transform
    if update is not None and not isinstance(update, Mapping):
        fields = resolve_all(model, update, "update_fields")
        update = [field.name for field in fields if field in given]
    if transform is not None:
        fields = resolve_all(model, list(transform), "transform")
        transform = {
            field.name: expression
            for field, expression in zip(fields, transform.values(), strict=True)
            if field in given
        }
    return replace(options, update_fields=update, transform=transform)
