"""Foreign keys that rows give by another field of the model they point to: ``country__code``.

The server looks for them, by a text as the column has it: of a few rows here, with a query for what
is not known yet. Where rows are staged, what they give travels, and one join over all of them finds
the keys; see Reader.join_keys().
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from copy import copy
from functools import cached_property
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import DataError

from ..columns import Column
from ..driver import diagnostics
from ..encode import Fault
from ..errors import RowValueError, listing
from ..names import Named
from ..sql import Fragment, comma, compose, quoting, raw, value
from ..transactions import atomic

#: Values that one query looks up.
MOST_VALUES = 5_000

#: Values that are kept from chunk to chunk, with their keys or as unknown.
MOST_KEPT = 100_000

#: Characters of a value that a message shows.
WIDTH = 60


class RelatedKeys:
    """Finds keys by values.

    Args:
        named: What the rows name.
        connection: The database's connection.

    Attributes:
        leaf: The column of the values; they need not fit it to be looked for.
    """

    def __init__(self, named: Named, connection: Any) -> None:
        self.named = named
        self.leaf = Column.of(named.leaf, connection, fits=False)
        self._target = Column.of(named.field.target_field, connection)  # type: ignore[attr-defined]
        self._forget()

    def anew(self) -> RelatedKeys:
        """Return one that knows no keys yet."""
        finder = copy(self)
        finder._forget()
        return finder

    def _forget(self) -> None:
        self._keys: dict[Hashable, Any] = {}
        self._several: set[Hashable] = set()
        self._unknown: set[Hashable] = set()
        self._unreadable: dict[Hashable, DataError] = {}
        vars(self).pop("_query", None)  # a manager may have other rows by now

    # What the server is asked ---------------------------------------------------------------

    @cached_property
    def _query(self) -> Fragment:
        """The query of all values, each with its key."""
        model: Any = self.named.field.related_model
        connection = self.leaf.connection
        found = model._base_manager.using(connection.alias).order_by()
        found = found.values_list(self.named.path, self._target.field.attname)
        try:
            return Fragment(*quoting(found.query.get_compiler(connection=connection)).as_sql())
        except EmptyResultSet:  # of a manager that gives nothing
            return compose(
                "SELECT {value}, {key} FROM {tables} WHERE false",
                value=self.leaf.stored,
                key=self._target.stored,
                tables=comma(dict.fromkeys((self.leaf.table, self._target.table))),
            )

    def found(self, values: Fragment) -> Fragment:
        """Return: each of some values that a row has; its key; whether several rows have it.

        Args:
            values: The query of the values.
        """
        return compose(
            "SELECT bu_d.value, (array_agg(bu_d.key))[1] AS key, count(*) > 1 AS several FROM "
            "(SELECT DISTINCT bu_q.value, bu_q.key FROM ({query}) AS bu_q (value, key) "
            "WHERE bu_q.key IS NOT NULL AND bu_q.value IN ({values})) AS bu_d GROUP BY bu_d.value",
            query=self._query,
            values=values,
        )

    def _ask(self, values: Sequence[Hashable]) -> Iterator[tuple[int, Any, bool]]:
        """Give, of the values that a row has, each one's place, its key, and if several have it.

        The first row of the VALUES, which is none, has the others take the column's own type.
        """
        cells = comma(
            compose(
                "({at}, {cell})",
                at=raw(str(at)),
                cell=each if isinstance(each, Fragment) else value(each),
            )
            for at, each in enumerate(values)
        )
        with self.leaf.connection.cursor() as cursor:
            compose(
                "WITH bu_v (n, value) AS (VALUES "
                "(NULL::bigint, (SELECT {leaf} FROM {table} WHERE false)), {cells}) "
                "SELECT bu_v.n, bu_k.key, bu_k.several FROM bu_v "
                "JOIN ({found}) AS bu_k ON bu_k.value = bu_v.value",
                leaf=self.leaf.stored,
                table=self.leaf.table,
                cells=cells,
                found=self.found(raw("SELECT bu_v.value FROM bu_v")),
            ).execute(cursor)
            load = self._target.loader
            for at, key, several in cursor.fetchall():
                yield at, key if load is None else load(key), several

    # Of a few rows --------------------------------------------------------------------------

    def keys(self, values: Sequence[Any], start: int) -> list[Any]:
        """Return the key for each value; None for None.

        Raises:
            RowValueError: A value is not stored, or more than once, or can't be.
        """
        texts = self._texts(values, start)
        self._look_up(texts, all_=False)
        self._check(texts, start)
        return [None if each is None else self._keys[each] for each in texts]

    def learn(self, values: Iterable[Any]) -> None:
        """Look up the values that can be, so that ``keys()`` has no query to make for each."""
        texts: list[Hashable] = []
        for each in values:
            with suppress(RowValueError):
                texts += self._texts([each], 0)
        self._look_up(texts, all_=True)

    def _texts(self, values: Sequence[Any], start: int) -> list[Hashable]:
        """Return the values as the server looks for them."""
        try:
            encoded = self.leaf.encode(values)
        except Fault as fault:
            raise RowValueError(
                start + fault.offset, self.named.label, fault.reason
            ) from fault.__cause__
        texts: list[Hashable] = list(encoded.values)
        for at, cell in (encoded.cells or {}).items():
            texts[at] = cell
        return texts

    def _look_up(self, texts: Sequence[Hashable], *, all_: bool) -> None:
        """Ask for values that are not known yet; or up to the first that can't be read.

        What is known is only let go of if there are such: a chunk that is read again, row by row,
        has none.
        """
        new = self._new(texts)
        if new and len(self._keys) + len(self._unknown) > MOST_KEPT:
            self._forget()
            new = self._new(texts)
        for at in range(0, len(new), MOST_VALUES):
            self._learn(new[at : at + MOST_VALUES], all_=all_)

    def _new(self, texts: Sequence[Hashable]) -> list[Hashable]:
        known = (self._keys, self._unknown, self._unreadable)
        return [
            each
            for each in dict.fromkeys(texts)
            if not (each is None or any(each in some for some in known))
        ]

    def _learn(self, texts: Sequence[Hashable], *, all_: bool) -> None:
        """Ask for some values; if the server can't read all of them, in ever smaller parts."""
        connection = self.leaf.connection
        alone = connection.get_autocommit()
        try:
            with nullcontext() if alone else atomic(connection.alias):
                rows = list(self._ask(texts))
        except DataError as error:
            if len(texts) == 1:
                self._unreadable[texts[0]] = error
                return
            middle = len(texts) // 2
            self._learn(texts[:middle], all_=all_)
            if all_ or self._unreadable.keys().isdisjoint(texts[:middle]):
                self._learn(texts[middle:], all_=all_)
            return
        for at, key, several in rows:
            self._keys[texts[at]] = key
            if several:
                self._several.add(texts[at])
        self._unknown.update(each for each in texts if each not in self._keys)

    def _check(self, texts: Sequence[Hashable], start: int) -> None:
        for offset, text in enumerate(texts):
            if text in self._unreadable:
                error = self._unreadable[text]
                reason = diagnostics(error).told
                raise RowValueError(start + offset, self.named.label, reason) from error
            if text in self._several:
                raise self.several(start + offset)
            if text in self._unknown:
                unknown = [each for each in dict.fromkeys(texts) if each in self._unknown]
                raise self.unknown(start + offset, unknown, len(unknown))

    # Errors ---------------------------------------------------------------------------------

    def several(self, index: int) -> RowValueError:
        """Return the error of a row that may mean several."""
        reason = f"several rows of {self._model} have this {self._path}"
        return RowValueError(index, self.named.label, reason)

    def unknown(self, index: int, texts: Sequence[Any], count: int) -> RowValueError:
        """Return the error of a row that means none.

        Args:
            index: The row's.
            texts: The first of all values that no row has.
            count: How many there are.
        """
        shown = listing(map(_shown, texts), of=count)
        reason = f"no row of {self._model} has this {self._path}: {shown}"
        return RowValueError(index, self.named.label, reason)

    @property
    def _model(self) -> str:
        return self.named.field.related_model._meta.label  # type: ignore[union-attr]

    @property
    def _path(self) -> str:
        return str(self.named.path).replace("__", ".")


def _shown(text: Any) -> str:
    if not isinstance(text, str):
        return "an SQL expression"
    return repr(text if len(text) <= WIDTH else f"{text[:WIDTH]}..")
