"""What an upsert's plan comes to with rows of one shape, settled once for all such calls."""

from __future__ import annotations

from collections.abc import Sequence

from ..marks import Told
from ..plans.upsert import UpsertPlan
from ..readers import Reader
from ..relations import Slot
from ..sql import unqualified


class Bound:
    """What a plan comes to with rows of one shape: settled once, and kept with their reader.

    Attributes:
        write: What is written.
        returns: The columns whose stored values are wanted of each row.
        olds: Those wanted as they were before, too.
        told: What instances are told of.
        judged: What keys are told apart by; see SeenKeys.
        looks_up: Whether stored rows can be looked up one by one; see Proposed.
    """

    def __init__(self, plan: UpsertPlan, reader: Reader, slots: Sequence[Slot]) -> None:
        self.write = plan.bind(reader)
        asked = tuple(dict.fromkeys(column for _, column in plan.returning or ()))
        # What the database has filled in for an instance, it is told.
        filled = [column for column in reader.carried if column in reader.defaulted]
        self.returns = tuple(dict.fromkeys((*asked, *filled)))
        self.olds = asked if plan.options.returning_old else ()
        updates = [column for column in self.write.updates if column not in plan.assigned]
        self.told = Told(pk=plan.pk, returns=self.returns, asked=asked, updates=updates)
        self.judged = _judged(plan, reader, slots)
        # The name of a table in a schema can't be given to what was looked up.
        self.looks_up = plan.arbitrates and unqualified(plan.table) == plan.table


def _judged(plan: UpsertPlan, reader: Reader, slots: Sequence[Slot]) -> tuple[list[int], bool]:
    """Return the places of the key among the texts, and whether a NULL is a key like any.

    No places, where rows may have one key and different texts.
    """
    columns = [part.column for part in plan.key] or list(plan.pk)
    transformed = [transform.column for transform in plan.transforms]
    places = {slot.column: i for i, slot in enumerate(slots) if not slot.is_flag}
    null_safe = plan.target is not None and plan.target.null_safe
    for column in columns:
        finder = None if column is None else reader.finders.get(column)
        told = column is not None and column.is_told_by_text and column not in transformed
        if not told or column not in places or not (finder is None or finder.leaf.is_told_by_text):
            return [], null_safe
    return [places[column] for column in columns if column is not None], null_safe
