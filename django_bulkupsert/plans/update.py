"""The plan of an update."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from ..columns import Column
from ..compiling import NOTHING, Condition, RowExpressions, filtered, where
from ..csvs import CsvHeader
from ..errors import MatchError, OptionError, UnknownFieldError, listing
from ..expressions import IncomingRow
from ..fields import Field, is_clock, is_generated
from ..names import Model, check_name, name_list, nearest, pk_fields, resolve_all
from ..readers import CsvUpdateReader, UpdateReader
from ..sql import Fragment, identifier
from ..target import candidates
from .base import Plan, check_batch_size
from .options import RETRIES, check_retries


@dataclass(frozen=True)
class UpdateOptions:
    """The keywords of ``bulk_update``, as the caller gave them."""

    fields: Iterable[str]
    batch_size: int | None = None
    match_fields: Iterable[str] | None = None
    where: Any = None
    skip_unchanged: bool = False
    returning: Iterable[str] | bool | None = None
    retries: int = RETRIES
    progress: Callable[[int, int | None], object] | None = None
    strategy: str | None = None


@dataclass(frozen=True)
class Table:
    """One of the tables that keep the model's fields: its own, or a parent's.

    Attributes:
        name: Its quoted name.
        pk: Its primary key.
        link: The columns, of a table before it and its own, by which it is joined.
        updates: The columns that an update sets.
    """

    name: Fragment
    pk: tuple[Column, ...]
    link: tuple[Column, Column] | None
    updates: tuple[Column, ...]


class UpdatePlan(Plan):
    """A checked call of ``bulk_update``; see Plan.

    Attributes:
        options: The options.
        match: The columns by which rows are matched.
        by_pk: Whether they are the primary key.
        fields: The columns that the rows bring new values for.
        clocks: The ``auto_now`` fields that are set besides.
        filter: The queryset's own filter as SQL, or None.
        where: The condition over the stored and the incoming row, or None.
        incoming: What ``where`` asks of the incoming row.
        returning: The names and columns of the values that are to come back, or None.
        tables: The tables that the statement reads or writes, the model's own first.
    """

    def __init__(
        self, queryset: models.QuerySet[Any, Any], options: UpdateOptions, connection: Any
    ) -> None:
        super().__init__(queryset.model, connection, options.strategy)
        check_batch_size(options.batch_size)
        check_retries(options.retries)
        if queryset.query.is_sliced or queryset.query.combinator:
            queryset.filter(pk__in=())  # Django says why not
        self.options = options
        self.queryset = queryset.all()  # without the rows that it may have loaded
        if not isinstance(options.skip_unchanged, bool):
            raise OptionError(f"skip_unchanged is True or False, not {options.skip_unchanged!r}")
        fields = self._fields()
        self.match = tuple(map(self.column, self._match(fields)))
        self.by_pk = set(self.match) == set(self.pk)
        self.fields = tuple(self.column(field) for field in fields if not is_generated(field))
        self.clocks = self._clocks()
        filter_ = filtered(queryset, connection)
        self.filter = None if filter_ is None else filter_.fragment()
        self.incoming = IncomingRow(self.model, "where")
        self.where: Condition | None = None
        if options.where is not None:
            self.where = where(
                self.model,
                options.where,
                self.incoming,
                connection,
                "; filter() the queryset by what is related",
            )
        self.returning = self.returned(options.returning)
        self.tables = self._tables(filter_)

    def _fields(self) -> list[Field]:
        """Return the fields to update, refusing what Django refuses, in its words."""
        given = self.options.fields
        # An empty text is one too; nothing else that is empty names a field.
        names = name_list(given if given or isinstance(given, str) else (), "fields")
        if not names:
            raise OptionError("Field names must be given to bulk_update().")
        meta: Any = self.model._meta
        fields = []
        for name in names:
            swapped = isinstance(name, models.Model)
            hint = "; objs comes first, then fields" if swapped else ""
            check_name(self.model, name, "fields", hint)
            try:
                fields.append(meta.get_field(name))
            except FieldDoesNotExist as error:
                raise UnknownFieldError(f"{error}; {nearest(self.model, name)}") from None
        parents = [field for parent in meta.get_parent_list() for field in pk_fields(parent)]
        keys = (*pk_fields(self.model), *parents)
        for wrong, words in (
            ([each for each in fields if not each.concrete or each.many_to_many],
             "bulk_update() can only be used with concrete fields."),
            ([each for each in fields if each in keys],
             "bulk_update() cannot be used with primary key fields."),
        ):  # fmt: skip
            if wrong:
                raise OptionError(f"{words} Got {listing([repr(each.name) for each in wrong])}.")
        return list(dict.fromkeys(fields))

    def _match(self, fields: Sequence[Field]) -> tuple[Field, ...]:
        names = self.options.match_fields
        if names is None:
            return pk_fields(self.model)
        match = resolve_all(self.model, names, "match_fields")
        if not match:
            raise MatchError("match_fields is empty; leave it out to match by primary key")
        both = [field.name for field in match if field in fields]
        if both:
            raise MatchError(
                f"match_fields and fields both name {listing(map(repr, both))}; what a row is "
                "matched by can't be changed by it"
            )
        return match

    def _clocks(self) -> tuple[Field, ...]:
        """Return the auto_now fields that the caller doesn't name as fields to update."""
        named = {column.field for column in self.fields}
        every: Any = self.model._meta.concrete_fields
        return tuple(
            field
            for field in every
            if self.fields and is_clock(field) and field not in named and field.auto_now
        )

    def _tables(self, filter_: Condition | None) -> tuple[Table, ...]:
        """Return the model's table, and those of parents that the call has to do with."""
        clocks = map(self.column, self.clocks)
        updates = (*self.fields, *clocks)
        returned = [column for _, column in self.returning or ()]
        read = [column.field.model for column in (*updates, *self.match, *returned)]
        for condition in (filter_, self.where):
            read += (condition.models if condition else None) or []
        links: dict[Model, tuple[Column, Column] | None] = {self.model: None}
        for parent in read:
            for step in self.model._meta.get_path_to_parent(parent):
                pair = self.column(step.join_field), self.column(step.target_fields[0])
                links.setdefault(step.to_opts.model, pair)
        return tuple(
            Table(
                name=identifier(model._meta.db_table),
                pk=tuple(map(self.column, pk_fields(model))),
                link=link,
                updates=tuple(each for each in updates if each.field.model is model),
            )
            for model, link in links.items()
        )

    @property
    def is_empty(self) -> bool:
        """Whether no stored row can be meant, or nothing is to be set."""
        return self.filter is NOTHING or not self.fields

    @property
    def reports(self) -> bool:
        """Whether rows that match may be left as they are, and are counted apart."""
        return self.options.skip_unchanged or self.where is not None

    def open_reader(self, header: CsvHeader | None = None) -> UpdateReader:
        """Return the reader of a call's rows, which sets aside the expressions that they hold.

        Args:
            header: Of rows that are a file's: its header.

        Raises:
            OptionError: It lacks a column.
        """
        reader = CsvUpdateReader(header, **self._read) if header else self._reader.renewed()
        reader.expressions = RowExpressions(self.queryset, self.connection)
        return reader

    @cached_property
    def _reader(self) -> UpdateReader:
        return UpdateReader(**self._read)

    @property
    def _read(self) -> dict[str, Any]:
        """What a reader is told."""
        return {
            "model": self.model,
            "match": self.match,
            "fields": self.fields,
            "further": tuple(map(self.column, self.incoming.fields)),
            "clocks": self.clocks,
            "by_pk": self.by_pk,
            "column": self.column,
        }

    @cached_property
    def order(self) -> tuple[Column, ...]:
        """The stored columns that give the one order in which a call takes its locks.

        That is the primary key; and where a unique constraint covers the match, its columns,
        as in an upsert by the same ones.
        """
        match = [column.field for column in self.match]
        for target in candidates(self.model, self.connection):
            if set(target.fields) == set(match):
                return (*map(self.column, target.fields), *(() if target.is_pk else self.pk))
        return self.pk
