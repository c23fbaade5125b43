"""What rows are matched by: a conflict target that the model has, or an error with the choices.

PostgreSQL infers the index from columns, expressions and a condition, and takes one only if it
covers exactly these (manual: INSERT, "ON CONFLICT Clause"); a constraint can be named too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django.db.models import F, Q
from django.db.models.expressions import OrderBy

from .errors import MatchError, OptionError, listing
from .fields import Field
from .names import Model, pk_fields, resolve_all


@dataclass(frozen=True)
class Target:
    """The conflict target.

    Attributes:
        parts: The parts of the key, in the order of the constraint: fields, or expressions.
        is_pk: Whether the key is the primary key.
        null_safe: Whether two NULLs are one key (``nulls_distinct=False``).
        condition: The condition of a partial index: rows that it doesn't hold for have no key.
        name: The name of the constraint or index, where the model gives one.
        is_constraint: Whether the name is known to ON CONFLICT: not an index's.
        excludes: Whether it is an exclusion constraint, by which no row is matched.
        is_unique: Whether an index sees to it that the key is there once.
    """

    parts: tuple[Any, ...]
    is_pk: bool = False
    null_safe: bool = False
    condition: Any = None
    name: str | None = None
    is_constraint: bool = False
    excludes: bool = False
    is_unique: bool = True

    @property
    def fields(self) -> tuple[Field, ...]:
        """The parts that are fields."""
        return tuple(part for part in self.parts if isinstance(part, models.Field))

    @property
    def is_plain(self) -> bool:
        """Whether the parts are fields, and nothing else is asked."""
        return bool(self.parts) and len(self.fields) == len(self.parts) and self.condition is None

    @property
    def names(self) -> tuple[str, ...]:
        """The parts of the key, for people."""
        return tuple(
            part.name if isinstance(part, models.Field) else str(part) for part in self.parts
        )

    def __str__(self) -> str:
        named = "" if self.name is None else f"{self.name!r} "
        where = "" if self.condition is None else f" where {self.condition}"
        return f"{named}({', '.join(self.names)}){where}"


def primary_key(model: Model) -> Target:
    """Return the primary key as the target."""
    return Target(pk_fields(model), is_pk=True)


def any_fields(model: Model, match_fields: Any) -> Target:
    """Return ``match_fields``, unique or not, as what rows are matched by.

    Raises:
        UnknownFieldError: A name is no column.
        MatchError: There is none.
    """
    fields = resolve_all(model, match_fields, "match_fields")
    if not fields:
        raise MatchError("match_fields is empty; leave it out to match by primary key")
    for field in fields:
        if isinstance(field, models.AutoField):
            raise MatchError(
                f"match_fields names {field.name!r}, which the database draws; leave match_fields "
                "out to match by primary key"
            )
    return Target(fields, null_safe=True, is_unique=False)


def find(model: Model, unique_fields: Any, connection: Any) -> Target:
    """Return the target that ``unique_fields`` name, in any order.

    Raises:
        UnknownFieldError: A name is no column.
        MatchError: No unique constraint covers exactly these fields, or several conditional
            ones do; the message lists those that the model has.
    """
    wanted = resolve_all(model, unique_fields, "unique_fields")
    if not wanted:
        raise MatchError("unique_fields is empty; leave it out to match by primary key")
    every = list(targets(model, connection))
    known = [target for target in every if len(target.fields) == len(target.parts)]
    covering = [target for target in known if set(target.fields) == set(wanted)]
    plain = [target for target in covering if target.is_plain]
    if plain:  # PostgreSQL takes every index that fits; one of them may hold NULLs for equal
        found = max(plain, key=lambda target: target.null_safe)
        return replace(found, is_constraint=False)
    if len(covering) == 1:
        return covering[0]
    names = ", ".join(field.name for field in wanted)
    if covering:
        several = listing([repr(target.name) for target in covering])
        raise MatchError(
            f"unique_fields: ({names}) are unique under several conditions; name one of them, "
            f"constraint= {several}"
        )
    near = [reason for fields, reason in _deferrable(model) if set(fields) == set(wanted)]
    choices = listing(every, 25)
    if any(target.name is not None and not target.is_plain for target in every):
        choices += "; constraint= takes a name"
    raise MatchError(
        f"unique_fields: no unique constraint of {model._meta.label} covers exactly ({names})"
        f"{': ' + near[0] if near else ''}; there is {choices}"
    )


def named(model: Model, name: Any, connection: Any) -> Target:
    """Return the target that is the model's constraint, or unique index, of that name.

    Raises:
        OptionError: It is no text.
        MatchError: The model has none, or rows can't be matched by it.
    """
    if not isinstance(name, str):
        raise OptionError(f"constraint takes the name of a constraint, not {type(name).__name__}")
    meta = model._meta
    found: Any = next((each for each in meta.constraints if each.name == name), None)
    if getattr(found, "deferrable", None):
        raise MatchError(
            f"constraint: {name!r} is deferrable, which ON CONFLICT can't use: whether a row "
            "breaks it is known only at the end of the transaction"
        )
    if isinstance(found, ExclusionConstraint):
        return Target((), name=name, is_constraint=True, excludes=True)
    if found is not None and not isinstance(found, models.UniqueConstraint):
        raise MatchError(
            f"constraint: {name!r} is a {type(found).__name__}, and rows are matched by what "
            "is unique"
        )
    known = {
        target.name: target for target in targets(model, connection) if target.name is not None
    }
    if name in known:
        _check_alone(known[name], targets(model, connection))
        return known[name]
    if any(index.name == name for index in meta.indexes):
        raise MatchError(f"constraint: the index {name!r} is not unique")
    exclusions = [e.name for e in meta.constraints if isinstance(e, ExclusionConstraint)]
    names = [*known, *exclusions]
    near = get_close_matches(name, names, n=3)
    hint = f"did you mean {listing(near)}?" if near else f"there is {listing(names, 25) or 'none'}"
    raise MatchError(
        f"constraint: {meta.label} has no unique constraint or index named {name!r}; {hint}"
        f"{'' if names else '; unique fields are named by unique_fields'}"
    )


def _check_alone(named: Target, known: Iterable[Target]) -> None:
    """Check that PostgreSQL takes no other index for a conditional one.

    It takes every one whose condition follows from the one that is asked for.

    Raises:
        MatchError: There is one: rows outside of the index that is named might be matched too.
    """
    if named.condition is None:
        return
    for other in known:
        same = set(map(str, other.names)) == set(map(str, named.names))
        if same and other.name != named.name and _follows(other.condition, named.condition):
            raise MatchError(
                f"constraint: where {named} holds, {other} does too, and PostgreSQL can't tell "
                f"them apart; rows are matched by the latter"
            )


def _follows(condition: Any, given: Any) -> bool:
    """Whether a condition is seen to follow from another: it is a part of it."""
    if condition is None:
        return True
    plain = all(each.connector == Q.AND and not each.negated for each in (condition, given))
    return plain and all(part in given.children for part in condition.children)


def candidates(model: Model, connection: Any) -> Iterator[Target]:
    """Yield what plain columns are unique by: the pk, unique fields, unique constraints."""
    return (target for target in targets(model, connection) if target.is_plain)


def targets(model: Model, connection: Any) -> Iterator[Target]:
    """Yield every conflict target that the model has, the primary key first."""
    meta = model._meta
    yield primary_key(model)
    for field in meta.concrete_fields:
        if field.unique and not field.primary_key:
            yield Target((field,))
    for together in meta.unique_together:
        yield Target(tuple(meta.get_field(name) for name in together))
    for constraint in _unique_constraints(model):
        if not constraint.deferrable:
            # As Django makes it: an index, where a constraint can't be had.
            indexed = constraint.condition or constraint.include or constraint.opclasses
            yield Target(
                _parts(model, constraint.fields, constraint.expressions),
                null_safe=getattr(constraint, "nulls_distinct", None) is False,
                condition=constraint.condition or None,
                name=constraint.name,
                is_constraint=not (indexed or constraint.expressions),
            )
    for index in meta.indexes:
        if _is_unique(model, index, connection):
            yield Target(
                _parts(model, [name for name, _ in index.fields_orders], index.expressions),
                condition=index.condition or None,
                name=index.name,
            )


def _parts(model: Model, names: Iterable[str], expressions: Iterable[Any]) -> tuple[Any, ...]:
    """Return fields, and expressions without what only orders them."""
    fields = [model._meta.get_field(name) for name in names]
    return (*fields, *(_part(model, expression) for expression in expressions))


def _part(model: Model, expression: Any) -> Any:
    while type(expression) in (OrderBy, OpClass):
        (expression,) = expression.get_source_expressions()
    plain = {field.name: field for field in model._meta.concrete_fields}
    name = expression.name if type(expression) is F else ""  # type: ignore[attr-defined]
    return plain.get(name, expression)


def _unique_constraints(model: Model) -> list[Any]:
    return [
        constraint
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint)
    ]


def _is_unique(model: Model, index: Any, connection: Any) -> bool:
    """Whether an index is unique: Django's own is never, a class derived from it may be."""
    if index.__module__.startswith("django."):
        return False
    made = index.create_sql(model, DatabaseSchemaEditor(connection))
    return str(made).upper().startswith("CREATE UNIQUE ")


def _deferrable(model: Model) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield the constraints that can't be inferred from their fields, and why."""
    for constraint in _unique_constraints(model):
        if constraint.deferrable:
            fields = tuple(model._meta.get_field(name) for name in constraint.fields)
            yield fields, f"{constraint.name!r} is deferrable, which ON CONFLICT can't use"
