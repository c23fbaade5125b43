"""The plan of an upsert into several tables: which of the options each has to do with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..errors import OptionError, UnsupportedModel, listing
from ..fields import Field, is_clock
from ..names import Model, pk_fields, resolve_all
from ..target import named
from .options import UpsertOptions, check_options
from .upsert import UpsertPlan

#: What is said of a whole row, which no single table has.
REFUSED = ("fields", "match_fields", "where", "mixed_keys")


def is_inherited(model: Model) -> bool:
    """Whether a model keeps its fields in several tables."""
    return bool(model._meta.concrete_model._meta.parents)  # type: ignore[union-attr]


def _tables(model: Model) -> list[Model]:
    """Return the models whose tables an instance is kept in, parents first."""
    meta: Any = model._meta.concrete_model._meta  # type: ignore[union-attr]
    parents = {parent._meta.concrete_model for parent in meta.get_parent_list()}
    ordered = [each for each in reversed(meta.model.__mro__) if each in parents]
    return [*ordered, meta.model]


class InheritedPlan:
    """A checked upsert of instances that are kept in several tables.

    Attributes:
        model: The model.
        tables: The models whose tables an instance is kept in, parents first.
        roots: Those of them that have no parents.
        matched: The one whose table has what rows are matched by; None: the primary key.
        returning: The fields to return, by the names that are to be theirs.
        plans: The plan of each table's own upsert.
        clocks: The plans that only refresh the ``auto_now`` fields of a table that has some.
        finder: The plan of the search, where rows are matched in another than the first table.
    """

    def __init__(self, model: Model, options: UpsertOptions, connection: Any) -> None:
        self.model: Model = model._meta.concrete_model  # type: ignore[assignment]
        self.label = model._meta.label
        self.connection = connection
        self.options = options
        self.tables = _tables(model)
        self.roots = [each for each in self.tables if not each._meta.parents]
        self._check()
        self.matched = self._matched()
        self.updates = self._split("update_fields", options.update_fields)
        self.transforms = self._split("transform", options.transform)
        self.returning = self._returning()
        self.finder: UpsertPlan | None = None
        self.plans = {table: self._plan(table) for table in self.tables}
        self.clocks = dict(self._clocks())

    def _check(self) -> None:
        check_options(self.options)
        used = [name for name in REFUSED if getattr(self.options, name) not in (None, False)]
        used += ["on_error"] if self.options.on_error != "raise" else []
        if used:
            raise OptionError(
                f"{listing(used)} can't be used with {self.label}, which keeps its fields in "
                f"several tables: {listing(table._meta.db_table for table in self.tables)}"
            )
        for table in self.tables:
            links = table._meta.parents.values()
            if links and not set(links) & set(pk_fields(table)):
                raise UnsupportedModel(
                    f"{table._meta.label} has a primary key beside its link to the parent, which "
                    "bulk_upsert doesn't write"
                )

    def _matched(self) -> Model | None:
        """Return the model whose table has what rows are matched by; None: the primary key."""
        options = self.options
        if options.constraint is not None:
            owners = [
                table
                for table in reversed(self.tables)
                for each in (*table._meta.constraints, *table._meta.indexes)
                if each.name == options.constraint
            ]
            found = owners[0] if owners else self.model
            if named(found, options.constraint, self.connection).excludes:
                raise UnsupportedModel(
                    f"constraint: {options.constraint!r} is an exclusion constraint, and "
                    f"{self.label} keeps its fields in several tables"
                )
        elif options.unique_fields is not None:
            fields = resolve_all(self.model, options.unique_fields, "unique_fields")
            owned = {field.model for field in fields}
            if len(owned) > 1:
                raise OptionError(
                    "unique_fields are in several tables, and no constraint covers them: "
                    f"{listing(field.model._meta.db_table for field in fields)}"
                )
            if set(fields) <= {key for table in self.tables for key in pk_fields(table)}:
                return None
            found = owned.pop() if owned else self.model
        elif options.ignore_conflicts:
            raise OptionError(
                f"ignore_conflicts needs unique_fields or constraint with {self.label}, which "
                "keeps its fields in several tables"
            )
        else:
            return None
        if len(self.roots) > 1:
            raise UnsupportedModel(
                f"{self.label} has several parents; its rows are matched by primary key only"
            )
        return found

    def _split(self, option: str, given: Any) -> dict[Model, Any]:
        """Return what an option says of each table; nothing, if it says nothing."""
        if given is None:
            return dict.fromkeys(self.tables)
        words = given if isinstance(given, Mapping) else None
        if option == "transform" and words is None:
            raise OptionError(
                f"transform takes a dict of names and expressions, not {type(given).__name__}"
            )
        names = list(given)
        fields = resolve_all(self.model, names, option)
        keys = {key for table in self.tables for key in pk_fields(table)}
        keys |= {link for table in self.tables for _, link in links(table)}
        split: dict[Model, Any] = {table: [] if words is None else {} for table in self.tables}
        for field, name in zip(fields, names, strict=True):
            if field in keys:
                raise OptionError(
                    f"{option} names {name!r}, a primary key or a link to a parent, which stays"
                )
            if words is None:
                split[field.model].append(field.name)
            else:
                split[field.model][field.name] = words[name]
        return split

    def _returning(self) -> dict[str, Field]:
        """Return the fields to return, by the names that are to be theirs."""
        names: Any = self.options.returning
        if names is None or names is False:
            return {}
        plan = UpsertPlan(self.model, UpsertOptions(returning=names), self.connection)
        return {name: column.field for name, column in plan.returning or ()}

    def _clocks(self) -> Iterator[tuple[Model, UpsertPlan]]:
        for table in self.tables:
            local: Any = table._meta.local_concrete_fields
            names = [field.name for field in local if is_clock(field) and field.auto_now]
            if names:
                words = UpsertOptions(
                    unique_fields=["pk"],
                    update_fields=names,
                    skip_unchanged=False,
                    returning=[name for name, _ in self.plans[table].returning or ()],
                    strategy=self.options.strategy,
                )
                yield table, UpsertPlan(table, words, self.connection)

    def _plan(self, table: Model) -> UpsertPlan:
        """Return the plan of a table's own upsert; the primary key always comes back."""
        first = table is self.matched
        own = [field.name for field in self.returning.values() if field.model is table]
        keys = [field.name for field in pk_fields(table)]
        words = replace(
            self.options,
            unique_fields=self.options.unique_fields if first else None,
            constraint=self.options.constraint if first else None,
            update_fields=self.updates[table],
            transform=self.transforms[table],
            returning=list(dict.fromkeys((*keys, *own))),
        )
        by_pk = replace(words, unique_fields=["pk"], constraint=None)
        if first and table not in self.roots:
            self.finder = UpsertPlan(table, words, self.connection)
            words = by_pk
        elif words.ignore_conflicts and not first:
            words = by_pk
        plan = UpsertPlan(table, words, self.connection)
        computed: tuple[Any, ...] = (*plan.assigned.values(), *plan.transforms)
        for each in computed:
            elsewhere = [repr(field.name) for field in each.asked if field.model is not table]
            if elsewhere:
                raise OptionError(
                    f"{each.column.field.name!r} is to be computed of {listing(elsewhere)}, "
                    "which is in another table"
                )
        return plan


def links(table: Model) -> list[tuple[Model, Any]]:
    """Return the parents of a table, and the fields that point to them."""
    return [(origin(link), link) for link in table._meta.parents.values() if link is not None]


def origin(link: Any) -> Model:
    """Return the parent that a link points to."""
    found: Model = link.related_model._meta.concrete_model
    return found
