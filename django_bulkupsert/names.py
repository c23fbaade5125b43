"""Names that options and rows use, resolved to the model's fields, or an error with the nearest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias, cast

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.constants import LOOKUP_SEP

from .errors import OptionError, UnknownFieldError, listing
from .fields import Field

Model: TypeAlias = "type[models.Model]"


def pk_fields(model: Model) -> tuple[Field, ...]:
    """Return the fields of the primary key: one, or several where it is composite."""
    meta: Any = model._meta
    return tuple(getattr(meta, "pk_fields", None) or (meta.pk,))


@dataclass(frozen=True)
class Named:
    """What a name in a row means.

    Attributes:
        name: The name.
        field: The model's field.
        path: Of a foreign key that is given by another field of its model, ``country__code``: the
            way from there to that field, ``code``; else None.
        leaf: The field whose values the row gives.
    """

    name: str
    field: Field
    path: str | None
    leaf: Field

    @property
    def label(self) -> str:
        """What messages call it: the model's field, or the way to another model's."""
        return self.field.name if self.path is None else self.name


def find(model: Model, name: str) -> Named | None:
    """Return what a name in a row means, or None."""
    meta: Any = model._meta
    try:
        field = meta.pk if name == "pk" else meta.get_field(name)
    except FieldDoesNotExist:
        first, _, path = name.partition(LOOKUP_SEP)
        related = _concrete(model, first) if path else None
        to = None if related is None else related.related_model
        leaf = None if related is None or to is None else find(to, path)
        return None if leaf is None or related is None else Named(name, related, path, leaf.leaf)
    return Named(name, field, None, field) if field in meta.concrete_fields else None


def _concrete(model: Model, name: str) -> Field | None:
    fields = [each for each in model._meta.concrete_fields if name in (each.name, each.attname)]
    return fields[0] if fields else None


def named_all(model: Model, names: Any, option: str = "rows") -> list[Named]:
    """Resolve what rows name, or an option for them; each field may stand in it once.

    Raises:
        UnknownFieldError: A name is no column.
        OptionError: The option is no list, or two names are one field.
    """
    names = name_list(names, option, refused=Mapping)
    found = [find(model, name) if isinstance(name, str) else None for name in names]
    own = [
        name if each is None or each.path is None else each.field.name
        for name, each in zip(names, found, strict=True)
    ]
    fields = resolve_all(model, own, option)
    return [
        each if each is not None and each.path is not None else Named(name, field, None, field)
        for name, field, each in zip(names, fields, found, strict=True)
    ]


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


def close(name: str, known: Iterable[str]) -> list[str]:
    """Return the names, three at most, that are much like another, in whatever case it is."""
    spelled: dict[str, list[str]] = {}
    for each in known:
        spelled.setdefault(each.casefold(), []).append(each)
    near = get_close_matches(name.casefold(), spelled, n=3)
    return [each for folded in near for each in spelled[folded]][:3]


def nearest(model: Model, *names: str) -> str:
    """Return the names that may have been meant by some that are none."""
    known = [each.name for each in model._meta.concrete_fields]
    near = list(dict.fromkeys(each for name in names for each in close(name, known)))
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
        raise OptionError(f"{option} takes a list of names, not {type(names).__name__}")
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
        if len(found) > 1 and option in ("rows", "fields", "transform"):
            parts = listing([repr(field.name) for field in found])
            raise OptionError(f"{option}: the primary key is composite; name its fields, {parts}")
        for field in found:
            if field in fields:
                alias = "" if name == field.name else f", once as {name!r}"
                raise OptionError(f"{option} names {field.name!r} twice{alias}")
            fields.append(field)
    return tuple(fields)
