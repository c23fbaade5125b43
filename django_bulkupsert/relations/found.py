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
        joins=join(" ", [_joined(loaded, slot, finder) for slot, finder in coded.items()]),
    )


def _columns(slots: Sequence[Slot], coded: Mapping[Slot, RelatedKeys]) -> Iterator[Fragment]:
    for slot in slots:
        if slot in coded:
            key = slot.typed(compose("{found}.key", found=slot.code))
            yield compose("{key} AS {alias}", key=key, alias=slot.alias)
            yield compose("{value} AS {code}", value=slot.of("bu_s"), code=slot.code)
            yield compose("{found}.several AS {mark}", found=slot.code, mark=slot.several)
        else:
            yield slot.of("bu_s")


def _joined(loaded: Fragment, slot: Slot, finder: RelatedKeys) -> Fragment:
    values = compose("SELECT {alias} FROM {loaded}", alias=slot.alias, loaded=loaded)
    return compose(
        "LEFT JOIN ({keys}) AS {found} ON {found}.value = {given}",
        keys=finder.found(values),
        found=slot.code,
        given=slot.of("bu_s"),
    )


def keyless(name: Fragment, slot: Slot) -> Fragment:
    """Return: the positions of staged rows without a sure key, the value, and if several have it.

    Args:
        name: The staging table's name.
        slot: The column.
    """
    return compose(
        "SELECT ord, {code}::text AS code, coalesce({several}, false) AS several FROM {name} "
        "WHERE {code} IS NOT NULL AND {several} IS DISTINCT FROM false",
        code=slot.code,
        several=slot.several,
        name=name,
    )


def keyless_values(name: Fragment, slot: Slot, most: int) -> Fragment:
    """Return the first of these values, in the order of their first rows: how many there are, too.

    Args:
        name: The staging table's name.
        slot: The column.
        most: How many values of each kind.
    """
    return compose(
        "SELECT * FROM (SELECT min(ord) AS ord, code, several, "
        "count(*) OVER (PARTITION BY several), "
        "row_number() OVER (PARTITION BY several ORDER BY min(ord)) AS place "
        "FROM ({keyless}) AS bu_u GROUP BY code, several) AS bu_p "
        "WHERE place <= {most} ORDER BY ord",
        keyless=keyless(name, slot),
        most=value(most),
    )
