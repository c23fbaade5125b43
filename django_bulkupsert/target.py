"""What rows are matched by: names of fields to a conflict target, or an error with the choices.

Reads the model alone. PostgreSQL infers the index from the columns, and takes one only if it
covers exactly these (manual: INSERT, "ON CONFLICT Clause").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias, cast

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from .errors import MatchError, OptionError, UnknownFieldError, listing
from .fields import Field

Model: TypeAlias = "type[models.Model]"


@dataclass(frozen=True)
class Target:
    """The conflict target.

    Attributes:
        fields: The fields of the key, in the order of the constraint.
        is_pk: Whether the key is the primary key.
        null_safe: Whether two NULLs are one key (``nulls_distinct=False``).
    """

    fields: tuple[Field, ...]
    is_pk: bool = False
    null_safe: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the key's fields."""
        return tuple(field.name for field in self.fields)

    @property
    def nullable(self) -> bool:
        """Whether a row may have no key: a part that is NULL equals nothing."""
        return not self.null_safe and any(field.null for field in self.fields)


def pk_fields(model: Model) -> tuple[Field, ...]:
    """Return the fields of the primary key: one, or several where it is composite."""
    meta: Any = model._meta
    return tuple(getattr(meta, "pk_fields", None) or (meta.pk,))


def primary_key(model: Model) -> Target:
    """Return the primary key as the target."""
    return Target(pk_fields(model), is_pk=True)


def resolve(model: Model, name: Any, option: str) -> Field:
    """Return the concrete field that ``name`` (a field's name, its attname, or "pk") means.

    Raises:
        UnknownFieldError: There is none; the message names the nearest ones.
    """
    meta = model._meta
    check_name(model, name, option)
    try:
        field = meta.pk if name == "pk" else meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if field in meta.concrete_fields:
        return cast(Field, field)
    found = "is no field" if field is None else "is no column"
    raise UnknownFieldError(f"{option}: {name!r} {found} of {meta.label}; {nearest(model, name)}")


def check_name(model: Model, name: Any, option: str, hint: str = "") -> None:
    """Check that what should name a field is a text.

    Raises:
        UnknownFieldError: It is not; the message ends with the hint.
    """
    if not isinstance(name, str):
        what = "a key" if option == "rows" else "a name"
        raise UnknownFieldError(
            f"{option}: {what} of type {type(name).__name__}, where the name of a field of "
            f"{model._meta.label} is wanted{hint}"
        )


def nearest(model: Model, name: str) -> str:
    """Return the names that may have been meant by one that is none."""
    known = [each.name for each in model._meta.concrete_fields]
    near = get_close_matches(name, known, n=3)
    return f"did you mean {listing(near)}?" if near else f"it has {listing(known, 25)}"


def name_list(names: Any, option: str, refused: type | tuple[()] = ()) -> list[Any]:
    """Return an option that is a list of names as one.

    Raises:
        OptionError: It is none: a text, nothing that can be walked, or of a type that is refused.
    """
    if isinstance(names, str):
        raise OptionError(
            f"{option} takes a list of names, got the string {names!r}; pass [{names!r}]"
        )
    if not isinstance(names, Iterable) or isinstance(names, refused):
        raise OptionError(f"{option} takes a list of names, not one {type(names).__name__}")
    return list(names)


def resolve_all(model: Model, names: Any, option: str) -> tuple[Field, ...]:
    """Resolve an option that is a list of names; each field may stand in it once.

    Raises:
        UnknownFieldError: A name is no column.
        OptionError: The option is no list, or names a field twice.
    """
    fields: list[Field] = []
    for name in name_list(names, option, refused=Mapping):
        found = pk_fields(model) if name == "pk" else (resolve(model, name, option),)
        if len(found) > 1 and option in ("rows", "fields"):
            parts = listing([repr(field.name) for field in found])
            raise OptionError(f"{option}: the primary key is composite; name its fields, {parts}")
        for field in found:
            if field in fields:
                raise OptionError(f"{option} names {field.name!r} twice, once as {name!r}")
            fields.append(field)
    return tuple(fields)


def find(model: Model, unique_fields: Any) -> Target:
    """Return the target that ``unique_fields`` name, in any order.

    Raises:
        UnknownFieldError: A name is no column.
        MatchError: No unique constraint covers exactly these fields; the message lists those
            that the model has.
    """
    wanted = resolve_all(model, unique_fields, "unique_fields")
    if not wanted:
        raise MatchError("unique_fields is empty; leave it out to match by primary key")
    known = list(candidates(model))
    covering = [target for target in known if set(target.fields) == set(wanted)]
    if covering:  # PostgreSQL takes every index that fits; one of them may hold NULLs for equal
        return max(covering, key=lambda target: target.null_safe)
    near = [_reason for fields, _reason in _near_misses(model) if set(fields) == set(wanted)]
    names = ", ".join(field.name for field in wanted)
    choices = listing([f"({', '.join(target.names)})" for target in known], 25)
    raise MatchError(
        f"unique_fields: no unique constraint of {model._meta.label} covers exactly ({names})"
        f"{': ' + near[0] if near else ''}; there is {choices}"
    )


def candidates(model: Model) -> Iterator[Target]:
    """Yield what a conflict target can be: the pk, unique fields, plain unique constraints."""
    meta = model._meta
    yield primary_key(model)
    for field in meta.concrete_fields:
        if field.unique and not field.primary_key:
            yield Target((field,))
    for together in meta.unique_together:
        yield Target(tuple(meta.get_field(name) for name in together))  # type: ignore[misc]
    for constraint in _unique_constraints(model):
        if (
            constraint.condition is None
            and not constraint.expressions
            and not constraint.deferrable
        ):
            yield Target(
                tuple(meta.get_field(name) for name in constraint.fields),  # type: ignore[misc]
                null_safe=getattr(constraint, "nulls_distinct", None) is False,
            )


def _unique_constraints(model: Model) -> list[Any]:
    return [
        constraint
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint)
    ]


def _near_misses(model: Model) -> Iterator[tuple[tuple[Field, ...], str]]:
    """Yield the constraints that have fields but can't be inferred from them, and why."""
    for constraint in _unique_constraints(model):
        fields = tuple(model._meta.get_field(name) for name in constraint.fields)
        if constraint.deferrable:
            yield fields, f"{constraint.name!r} is deferrable, which ON CONFLICT can't use"  # type: ignore[misc]
        elif constraint.condition is not None:
            yield fields, f"{constraint.name!r} is unique only under a condition"  # type: ignore[misc]
