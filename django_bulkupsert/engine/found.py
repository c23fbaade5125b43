"""Keys that staged rows give by another field are found, and rows that have none are told."""

from __future__ import annotations

from typing import Any

from ..errors import RowValueError
from ..relations import StagingRelation
from ..relations.found import several, unknown, unknown_values
from ..statements.screens import removal

#: Values without a key that an error lists.
VALUES_SHOWN = 10


def check_keys(cursor: Any, staging: StagingRelation) -> None:
    """Find the keys of staged rows.

    Raises:
        RowValueError: The first row that has none, with all such values, or may have several.
    """
    fans_out = staging.find_keys()
    for slot, finder in staging.coded.items():
        if fans_out:
            several(staging.name, slot).execute(cursor)
            row = cursor.fetchone()
            if row is not None:
                raise finder.several(row[0])
        unknown_values(staging.name, slot, VALUES_SHOWN).execute(cursor)
        rows = cursor.fetchall()
        if rows:
            index, _, count = rows[0]
            raise finder.unknown(index, [row[1] for row in rows], count)


def take_keyless(cursor: Any, staging: StagingRelation) -> list[tuple[RowValueError, Any]]:
    """Find the keys of staged rows, and take out those that have none, or may have several.

    Returns:
        The errors of these rows, each with the value.
    """
    fans_out = staging.find_keys()
    taken: list[tuple[RowValueError, Any]] = []
    for slot, finder in staging.coded.items():
        bad: list[tuple[RowValueError, Any]] = []
        if fans_out:
            several(staging.name, slot).execute(cursor)
            bad = [(finder.several(index), given) for index, given in cursor.fetchall()]
        unknown(staging.name, slot).execute(cursor)
        bad += [(finder.unknown(index, [given], 1), given) for index, given in cursor.fetchall()]
        if bad:
            removal(staging.name, [error.index for error, _ in bad]).execute(cursor)
        taken += bad
    return taken
