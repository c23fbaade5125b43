"""Arguments that the commands share, and what those mean that are more than a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

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


def related_in(model: Model, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the names that options give to foreign keys as a header does, each with its option."""
    flags = ("unique", "match", "update")
    named = [(name, flag) for flag in flags for name in names_in(options[flag]) or ()]
    found = [(name, flag, find(model, name)) for name, flag in named]
    return {name: f"--{flag}" for name, flag, each in found if each is not None and each.path}


def pairs_in(
    given: list[str] | None, option: str, form: str, *, last: bool
) -> list[tuple[str, str]]:
    """Return the pairs of an option that is written with a ``=``.

    Args:
        given: What was given.
        option: The option's name.
        form: How it is written.
        last: Whether it is the last ``=`` that counts, since the name may have one; or the first.

    Raises:
        CommandError: One has no ``=``.
    """
    for each in given or ():
        if "=" not in each:
            raise CommandError(f"{option} is written as {form}, not {each!r}", returncode=REFUSED)
    parts = (each.rpartition("=") if last else each.partition("=") for each in given or ())
    return [(name, text) for name, _, text in parts]


def add_delimiter(parser: CommandParser) -> None:
    r"""Declare the delimiter; ``\t`` is a tab, which is hard to type."""
    parser.add_argument(
        "--delimiter",
        default=",",
        type=lambda given: "\t" if given == "\\t" else given,
        metavar="C",
        help="default: the comma; \\t is a tab",
    )


def add_database(parser: CommandParser) -> None:
    """Declare the database's alias."""
    parser.add_argument("--database", metavar="ALIAS", help="default: what the routers say")


def add_no_input(parser: CommandParser, said: str) -> None:
    """Declare that nobody is to be asked.

    Args:
        parser: The command's.
        said: What is done then.
    """
    parser.add_argument(
        "--no-input", "--noinput", action="store_false", dest="interactive", help=said
    )
