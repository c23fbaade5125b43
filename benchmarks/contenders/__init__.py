"""Who takes part, by operation."""

from __future__ import annotations

from benchmarks.contenders import alchemy, floors, ours, packages, recipes
from benchmarks.contenders.base import Contender

CONTENDERS: dict[str, list[Contender]] = {
    "upsert": [
        *ours.UPSERTS,
        *floors.UPSERTS,
        *recipes.UPSERTS,
        *alchemy.UPSERTS,
        *packages.UPSERTS,
    ],
    "update": [*ours.UPDATES, *floors.UPDATES, *packages.UPDATES],
    "copy": [*ours.COPIES, *floors.COPIES, *packages.COPIES],
}
