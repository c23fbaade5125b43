"""Foreign keys that rows give by another field of the model they point to: ``country__code``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from django.core.exceptions import ValidationError

from ..encode import Fault, check_text
from ..errors import RowValueError, listing
from ..fields import wanted
from ..names import Named

#: Values that one query looks up.
MOST_VALUES = 5_000

#: Values that are kept from chunk to chunk, with their keys or as unknown.
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
        self._unknown: set[Any] = set()

    def keys(self, values: Sequence[Any], start: int) -> list[Any]:
        """Return the key for each value; None for None.

        Raises:
            RowValueError: A value is not stored, or more than once, or can't be.
        """
        prepared = [self._read(each, start + i) for i, each in enumerate(values)]
        self._look_up(prepared)
        self._check(prepared, start)
        return [None if each is None else self._keys[each] for each in prepared]

    def learn(self, values: Iterable[Any]) -> None:
        """Look up the values that can be, so that ``keys()`` has no query to make for each."""
        prepared = []
        for each in values:
            with suppress(RowValueError):
                prepared.append(self._read(each, 0))
        self._look_up(prepared)

    def _read(self, given: Any, index: int) -> Any:
        if given is None:
            return None
        try:
            read = self.named.leaf.to_python(given)
            if isinstance(read, str) and read not in self._keys:
                check_text([read])
            hash(read)
        except Fault as fault:
            raise RowValueError(index, self.named.name, fault.reason) from fault.__cause__
        except (ValueError, TypeError, ArithmeticError, ValidationError) as error:
            kind = type(given).__name__
            reason = f"this {kind} can't be read as {wanted(self.named.leaf)}"
            raise RowValueError(index, self.named.name, reason) from error
        return read

    def _look_up(self, values: Sequence[Any]) -> None:
        """Ask for values that are not known yet.

        What is known is only let go of if there are such: a chunk that is read again, row by row,
        has none.
        """
        new = self._new(values)
        if new and len(self._keys) + len(self._unknown) > MOST_KEPT:
            self._keys.clear()
            self._several.clear()
            self._unknown.clear()
            new = self._new(values)
        path = self.named.path
        for at in range(0, len(new), MOST_VALUES):
            some = new[at : at + MOST_VALUES]
            for value, key in self.stored.filter(**{f"{path}__in": some}).values_list(
                path, self.key
            ):
                if self._keys.setdefault(value, key) != key:
                    self._several.add(value)
        self._unknown.update(each for each in new if each not in self._keys)

    def _new(self, values: Sequence[Any]) -> list[Any]:
        return [
            each
            for each in dict.fromkeys(values)
            if not (each is None or each in self._keys or each in self._unknown)
        ]

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
