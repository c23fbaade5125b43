"""What model instances hold, read column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from django.db import connections
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute

from ..names import Model

#: Instances that are read at a time, column by column, while the processor's cache still has
#: them. Set by benchmarks/thresholds.py.
BLOCK_ROWS = 500

_LAZY = {DeferredAttribute, ForeignKeyDeferredAttribute}


class _Ways(NamedTuple):
    """How the attributes of instances of some classes are got.

    Attributes:
        held: What is got from an instance's __dict__, by its place among the attributes; else
            from the instance.
        loaded: What is got from the instance, but would be loaded if its __dict__ lacks it.
        plain: Whether each can also be got from an instance without more ado.
    """

    held: Sequence[bool]
    loaded: frozenset[str]
    plain: bool


class Attributes:
    """Reads attributes of instances.

    What an instance holds is read from its __dict__, unless the field wants to be asked. Of many
    instances that is not done, unless a field is a relation, whose own way to its value is slow:
    Python would have to make each __dict__ first.

    Args:
        model: The model.
        names: The attributes.
    """

    def __init__(self, model: Model, names: Sequence[str]) -> None:
        self.model = model
        self.names = names
        self._getters = list(map(attrgetter, names))
        self._items = list(map(itemgetter, names))
        self._lazy = {n for n in names if isinstance(getattr(model, n), DeferredAttribute)}
        self._ways: dict[frozenset[type], _Ways] = {}

    def __call__(self, rows: Sequence[Any]) -> list[Sequence[Any]]:
        """Return the attributes, column by column.

        Raises:
            KeyError: An instance doesn't hold one: it is deferred.
        """
        ways = self._known(frozenset(map(type, rows)))
        if ways.plain and len(rows) > BLOCK_ROWS:
            with no_queries():
                return self._blocks(rows)
        held = [row.__dict__ for row in rows]
        if ways.loaded and any(map(ways.loaded.difference, held)):
            raise KeyError(next(iter(ways.loaded)))
        return [
            list(map(item, held) if is_held else map(getter, rows))
            for item, getter, is_held in zip(self._items, self._getters, ways.held, strict=True)
        ]

    @cached_property
    def is_plain(self) -> bool:
        """Whether instances of the model itself are read without any code of their own."""
        return self._known(frozenset([self.model])).plain

    def _known(self, kinds: frozenset[type]) -> _Ways:
        if kinds not in self._ways:
            found = [{type(getattr(kind, name)) for kind in kinds} for name in self.names]
            held = [each <= _LAZY for each in found]
            known = {name for name, is_held in zip(self.names, held, strict=True) if is_held}
            plain = all(each == {DeferredAttribute} for each in found)
            self._ways[kinds] = _Ways(held, frozenset(self._lazy - known), plain)
        return self._ways[kinds]

    def _blocks(self, rows: Sequence[Any]) -> list[Sequence[Any]]:
        """Return the attributes, a block of rows at a time."""
        columns: list[list[Any]] = [[] for _ in self.names]
        pairs: list[tuple[Callable[[Any], Any], list[Any]]]
        pairs = list(zip(self._getters, columns, strict=True))
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            for getter, column in pairs:
                column.extend(map(getter, block))
        return columns  # type: ignore[return-value]  # of sequences, if of lists


@contextmanager
def no_queries() -> Iterator[None]:
    """Refuse every query: an attribute that is not there would be loaded, row by row.

    Raises:
        KeyError: There was one.
    """

    def refuse(*_: Any) -> None:
        raise KeyError("deferred")

    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(refuse))
        yield
