"""What arguments of the commands mean that are more than a text."""

from __future__ import annotations

from django.core.management.base import CommandError

from ..names import Model, find
from .refusals import REFUSED


def names_in(given: list[str] | None) -> list[str] | None:
    """Return the names of an option that may be repeated, and may hold several with commas."""
    if given is None:
        return None
    return [name.strip() for each in given for name in each.split(",") if name.strip()]


def fields_in(model: Model, given: list[str] | None) -> list[str] | None:
    """Return the fields that an option names; a foreign key may be named as a header does.

    A column ``country__code`` gives ``country``.
    """
    names = names_in(given)
    if names is None:
        return None
    found = [find(model, name) for name in names]
    return [
        name if each is None or each.path is None else each.field.name
        for name, each in zip(names, found, strict=True)
    ]


def pairs_in(given: list[str] | None, option: str, *, last: bool) -> list[tuple[str, str]]:
    """Return the pairs of an option that is written ``NAME=VALUE``.

    Args:
        given: What was given.
        option: The option's name.
        last: Whether it is the last ``=`` that counts, since the name may have one; or the first.

    Raises:
        CommandError: One has no ``=``.
    """
    for each in given or ():
        if "=" not in each:
            raise CommandError(
                f"{option} is written as NAME=VALUE, not {each!r}", returncode=REFUSED
            )
    parts = (each.rpartition("=") if last else each.partition("=") for each in given or ())
    return [(name, text) for name, _, text in parts]


def delimiter_in(given: str) -> str:
    r"""Return the delimiter; ``\t`` is a tab, which is hard to type."""
    return "\t" if given == "\\t" else given
