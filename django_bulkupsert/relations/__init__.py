"""Relations: three ways to make rows readable in a FROM clause, and which to take when."""

from __future__ import annotations

from .base import Relation
from .loading import Loading, Sink
from .part import StagedPart
from .sieved import SievedStaging
from .slots import Slot, slots_of
from .staging import StagingRelation, find_fault
from .transformed import TransformedRelation
from .unnest import UnnestRelation
from .values import ValuesRelation

__all__ = [
    "CHUNK_ROWS",
    "STRATEGIES",
    "UNNEST_ROWS",
    "Loading",
    "Relation",
    "SievedStaging",
    "Sink",
    "Slot",
    "StagedPart",
    "StagingRelation",
    "TransformedRelation",
    "UnnestRelation",
    "ValuesRelation",
    "find_fault",
    "slots_of",
]

#: The values of ``strategy=``; "copy" is the staging table.
STRATEGIES = ("values", "unnest", "copy")

#: Most rows that go by unnest on their own accord. Set by benchmarks/thresholds.py: faster
#: than the staging table up to 2,000 rows, and by a third at most from there to 5,000.
UNNEST_ROWS = 2_000

#: Rows that are encoded and sent by one COPY. Set by benchmarks/thresholds.py: from 500 to
#: 5,000 all are alike, and fewer chunks are fewer round trips.
CHUNK_ROWS = 5_000
