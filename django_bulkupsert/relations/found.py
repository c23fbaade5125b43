"""Keys that are found for staged rows, by the values of another field that rows know them by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..readers import RelatedKeys
from ..sql import Fragment, comma, compose, join, value
from .slots import Slot


def with_keys(
    loaded: Fragment, slots: Sequence[Slot], coded: Mapping[Slot, RelatedKeys]
) -> Fragment:
    """Return the query of all rows, with keys and the values that these were found by.

    Args:
        loaded: The name of the staging table that holds the values in the place of keys.
        slots: Its columns.
        coded: What finds the keys.
    """
    return compose(
        "SELECT bu_s.ord, {columns} FROM {loaded} AS bu_s {joins}",
        columns=comma(_columns(slots, coded)),
        loaded=loaded,
        joins=join(" ", [_joined(slot, finder) for slot, finder in coded.items()]),
    )


def _columns(slots: Sequence[Slot], coded: Mapping[Slot, RelatedKeys]) -> Iterator[Fragment]:
    for slot in slots:
        if slot in coded:
            key = slot.typed(compose("{found}.key", found=slot.code))
            yield compose("{key} AS {alias}", key=key, alias=slot.alias)
            yield compose("{value} AS {code}", value=slot.of("bu_s"), code=slot.code)
        else:
            yield slot.of("bu_s")


def _joined(slot: Slot, finder: RelatedKeys) -> Fragment:
    return compose(
        "LEFT JOIN ({query}) AS {found} (value, key) ON {found}.value = {given}",
        query=finder.query(),
        found=slot.code,
        given=slot.of("bu_s"),
    )


def unknown(name: Fragment, slot: Slot) -> Fragment:
    """Return: the positions of staged rows whose value no row has, and the value."""
    return compose(
        "SELECT ord, {code} FROM {name} WHERE {alias} IS NULL AND {code} IS NOT NULL ORDER BY ord",
        code=slot.code,
        name=name,
        alias=slot.alias,
    )


def unknown_values(name: Fragment, slot: Slot, most: int) -> Fragment:
    """Return: the first of the values that no row has, with their first rows; how many there are.

    Args:
        name: The staging table's name.
        slot: The column.
        most: How many values.
    """
    return compose(
        "SELECT min(ord), {code}, count(*) OVER () FROM ({unknown}) AS bu_u GROUP BY {code} "
        "ORDER BY 1 LIMIT {most}",
        code=slot.code,
        unknown=unknown(name, slot),
        most=value(most),
    )


def several(name: Fragment, slot: Slot) -> Fragment:
    """Return: the positions of staged rows whose value several rows have, and the value."""
    return compose(
        "SELECT ord, {code} FROM {name} WHERE {code} IS NOT NULL GROUP BY ord, {code} "
        "HAVING count(DISTINCT {alias}) > 1 ORDER BY ord",
        code=slot.code,
        name=name,
        alias=slot.alias,
    )
