"""Keys that staged rows give by another field are found, and rows that have none are told."""

from __future__ import annotations

from typing import Any

from ..errors import RowValueError
from ..relations import StagingRelation
from ..relations.found import keyless, keyless_values
from ..statements.screens import removal

#: Values without a key that an error lists.
VALUES_SHOWN = 10


def check_keys(cursor: Any, staging: StagingRelation) -> None:
    """Find the keys of staged rows.

    Raises:
        RowValueError: The first row that has none, with all such values, or may have several.
    """
    staging.find_keys()
    errors: list[RowValueError] = []
    for slot, finder in staging.coded.items():
        keyless_values(staging.name, slot, VALUES_SHOWN).execute(cursor)
        found = cursor.fetchall()
        if found:
            index, _, several, count, _ = found[0]
            shown = [value for _, value, many, *_ in found if not many]
            errors.append(finder.several(index) if several else finder.unknown(index, shown, count))
    if errors:
        raise min(errors, key=lambda error: error.index)


def take_keyless(cursor: Any, staging: StagingRelation) -> list[tuple[RowValueError, Any]]:
    """Find the keys of staged rows, and take out those that have none, or may have several.

    Returns:
        The errors of these rows, each with the value.
    """
    staging.find_keys()
    taken: list[tuple[RowValueError, Any]] = []
    for slot, finder in staging.coded.items():
        keyless(staging.name, slot).execute(cursor)
        bad = [
            (finder.several(index) if several else finder.unknown(index, [value], 1), value)
            for index, value, several in cursor.fetchall()
        ]
        if bad:
            removal(staging.name, [error.index for error, _ in bad]).execute(cursor)
        taken += bad
    return taken
