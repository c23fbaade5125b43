"""Foreign keys that rows give by another field of the model they point to: ``country__code``.

Of a few rows the keys are asked for here. Where rows are staged, what they give travels, and one
join over all of them finds the keys; see Reader.join_keys().
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from django.core.exceptions import ValidationError

from ..columns import Column
from ..encode import Fault, check_text
from ..errors import RowValueError, listing
from ..fields import is_djangos, wanted
from ..names import Named
from ..sql import Fragment

#: Values that one query looks up.
MOST_VALUES = 5_000

#: Values that are kept from chunk to chunk, with their keys or as unknown.
MOST_KEPT = 100_000


class RelatedKeys:
    """Finds keys by values, with a query for those of a chunk that are not known yet.

    Args:
        named: What the rows name.
        connection: The database's connection.

    Attributes:
        leaf: The column of the values; they need not fit it to be looked for.
    """

    def __init__(self, named: Named, connection: Any) -> None:
        self.named = named
        self.leaf = Column.of(named.leaf, connection, fits=False)
        model: Any = named.field.related_model
        self.label = model._meta.label
        self.stored = model._base_manager.using(connection.alias)
        self.key = named.field.target_field.attname  # type: ignore[attr-defined]
        self._keys: dict[Any, Any] = {}
        self._several: set[Any] = set()
        self._unknown: set[Any] = set()

    def anew(self) -> RelatedKeys:
        """Return one that knows no keys yet."""
        return RelatedKeys(self.named, self.leaf.connection)

    @property
    def joins(self) -> bool:
        """Whether SQL looks for a value as the field would: one of Django's."""
        return is_djangos(self.named.leaf)

    def query(self) -> Fragment:
        """Return the query of all values, each with its key."""
        found = self.stored.order_by().values_list(self.named.path, self.key)
        return Fragment(*found.query.get_compiler(connection=self.leaf.connection).as_sql())

    def read(self, values: Sequence[Any], start: int) -> list[Any]:
        """Return the values as the field has them.

        Raises:
            RowValueError: The field can't have one.
        """
        return [self._read(each, start + i) for i, each in enumerate(values)]

    def keys(self, values: Sequence[Any], start: int) -> list[Any]:
        """Return the key for each value; None for None.

        Raises:
            RowValueError: A value is not stored, or more than once, or can't be.
        """
        prepared = self.read(values, start)
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
            raise RowValueError(index, self.named.label, fault.reason) from fault.__cause__
        except (ValueError, TypeError, ArithmeticError, ValidationError) as error:
            kind = type(given).__name__
            reason = f"this {kind} can't be read as {wanted(self.named.leaf)}"
            raise RowValueError(index, self.named.label, reason) from error
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
            if value in self._several:
                raise self.several(start + offset)
            unknown = dict.fromkeys(each for each in values if each not in self._keys)
            unknown.pop(None, None)
            raise self.unknown(start + offset, list(unknown), len(unknown))

    def several(self, index: int) -> RowValueError:
        """Return the error of a row that may mean several."""
        reason = f"several rows of {self.label} have this {self._path}"
        return RowValueError(index, self.named.label, reason)

    def unknown(self, index: int, values: Sequence[Any], count: int) -> RowValueError:
        """Return the error of a row that means none.

        Args:
            index: The row's.
            values: The first of all values of the kind.
            count: How many there are.
        """
        reason = f"no row of {self.label} has this {self._path}: "
        return RowValueError(index, self.named.label, reason + listing(map(repr, values), of=count))

    @property
    def _path(self) -> str:
        return str(self.named.path).replace("__", ".")
