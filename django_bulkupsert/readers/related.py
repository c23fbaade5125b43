"""Foreign keys that rows give by another field of the model they point to: ``country__code``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError

from ..errors import RowValueError, listing
from ..fields import wanted
from ..names import Named

#: Values that one query looks up.
MOST_VALUES = 5_000

#: Values whose keys are kept from chunk to chunk.
MOST_KEPT = 100_000


class RelatedKeys:
    """Finds keys by values, with a query for those of a chunk that are not known yet.

    Args:
        named: What the rows name.
        alias: The database.
    """

    def __init__(self, named: Named, alias: str) -> None:
        self.named = named
        model: Any = named.field.related_model
        self.label = model._meta.label
        self.stored = model._base_manager.using(alias)
        self.key = named.field.target_field.attname  # type: ignore[attr-defined]
        self._keys: dict[Any, Any] = {}
        self._several: set[Any] = set()

    def keys(self, values: Sequence[Any], start: int) -> list[Any]:
        """Return the key for each value; None for None.

        Raises:
            RowValueError: A value is not stored, or more than once, or can't be.
        """
        prepared = [None if each is None else self._read(each, start + i)
                    for i, each in enumerate(values)]  # fmt: skip
        if len(self._keys) > MOST_KEPT:
            self._keys.clear()
        self._look_up(list(dict.fromkeys(each for each in prepared if each not in self._keys)))
        self._check(prepared, start)
        return [None if each is None else self._keys[each] for each in prepared]

    def _read(self, given: Any, index: int) -> Any:
        try:
            read = self.named.leaf.to_python(given)
            hash(read)
        except (ValueError, TypeError, ArithmeticError, ValidationError) as error:
            kind = type(given).__name__
            reason = f"this {kind} can't be read as {wanted(self.named.leaf)}"
            raise RowValueError(index, self.named.name, reason) from error
        return read

    def _look_up(self, values: list[Any]) -> None:
        path = self.named.path
        for at in range(0, len(values), MOST_VALUES):
            some = [each for each in values[at : at + MOST_VALUES] if each is not None]
            if not some:
                continue
            for value, key in self.stored.filter(**{f"{path}__in": some}).values_list(
                path, self.key
            ):
                if self._keys.setdefault(value, key) != key:
                    self._several.add(value)

    def _check(self, values: Sequence[Any], start: int) -> None:
        for offset, value in enumerate(values):
            if value is None or (value in self._keys and value not in self._several):
                continue
            path = str(self.named.path).replace("__", ".")
            if value in self._several:
                reason = f"several rows of {self.label} have this {path}"
            else:
                unknown = {each: repr(each) for each in values if each not in self._keys}
                unknown.pop(None, None)
                reason = f"no row of {self.label} has this {path}: {listing(unknown.values())}"
            raise RowValueError(start + offset, self.named.name, reason)
