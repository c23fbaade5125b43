"""The only place where SQL text is put together.

A :class:`Fragment` is a piece of SQL with the values of its placeholders, in order. Fragments
are made by :func:`identifier`, :func:`value` and :func:`raw`, and put together by
:func:`compose` and :func:`join`; a placeholder and its value never travel apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from string import Formatter
from typing import Any

from .ours import our_own


class Hole(str):
    """A parameter whose value is told when the statement runs, so that its text can be kept.

    The text is the parameter's name.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL: its text, where ``%`` is doubled, and the values of its ``%s``."""

    text: str
    params: tuple[Any, ...] = ()

    def execute(self, cursor: Any) -> None:
        """Run the fragment as a statement.

        Without parameters the drivers don't look for placeholders (nor, psycopg2, undouble
        the ``%``), so the text is sent as it is meant. Of more parameters than the protocol can
        number, where the server would bind them, the driver makes literals itself.
        """
        with our_own():
            self._execute(cursor)

    def _execute(self, cursor: Any) -> None:
        connection = cursor.db
        if len(self.params) > MOST_PARAMETERS and getattr(
            connection.features, "uses_server_side_binding", False
        ):
            cursor.execute(connection.ops.compose_sql(self.text, self.params))
        elif self.params:
            cursor.execute(self.text, self.params)
        else:
            cursor.execute(self.plain())

    def filled(self, values: Mapping[Hole, Any]) -> Fragment:
        """Return the fragment with a value in each of its holes."""
        params = [values[param] if type(param) is Hole else param for param in self.params]
        return Fragment(self.text, tuple(params))

    def plain(self) -> str:
        """Return the text as the server should see it; only for a fragment without values."""
        if self.params:
            raise ValueError("a fragment with values has no plain text")
        return self.text.replace("%%", "%")


EMPTY = Fragment("")

#: Most parameters that a server can bind in one statement: a 16-bit count.
MOST_PARAMETERS = 65_535

_LAST = re.compile(r'"(?:[^"]|"")+"$')
_QUOTED = re.compile(r'"(?:[^"]|"")+"(?:\."(?:[^"]|"")+")*')


def identifier(name: str) -> Fragment:
    """Return ``name`` quoted, whatever it holds.

    A name that is in double quotes already is taken as it is: that is Django's way of naming
    a table in a schema, ``db_table = '"audit"."log"'``.

    Raises:
        ValueError: The name holds a NUL character, which would cut it short on the way.
    """
    if "\0" in name:
        raise ValueError("an SQL name can't hold a NUL character")
    if not _QUOTED.fullmatch(name):
        name = '"' + name.replace('"', '""') + '"'
    return Fragment(name.replace("%", "%%"))


def unqualified(table: Fragment) -> Fragment:
    """Return the last part of a quoted name: a table's own, without its schema."""
    return Fragment(_LAST.search(table.text)[0])  # type: ignore[index]


def value(param: Any) -> Fragment:
    """Return a placeholder that carries ``param``."""
    return Fragment("%s", (param,))


def raw(text: str) -> Fragment:
    """Return SQL that holds no placeholder and no name from outside, such as a type."""
    return Fragment(text.replace("%", "%%"))


def literal(text: str) -> Fragment:
    """Return a text as SQL has it, for a statement that takes no parameters: COPY.

    As an escape string, which means the same whatever the settings.

    Raises:
        ValueError: The text holds a NUL character.
    """
    if "\0" in text:
        raise ValueError("an SQL text can't hold a NUL character")
    return raw("E'" + text.replace("\\", "\\\\").replace("'", "''") + "'")


@cache
def _parsed(template: str) -> tuple[tuple[str, str | None], ...]:
    return tuple((text, name) for text, name, _, _ in Formatter().parse(template))


def compose(template: str, **parts: Fragment) -> Fragment:
    """Fill each ``{name}`` of ``template``, a literal of the source code, with a part."""
    text: list[str] = []
    params: list[Any] = []
    for before, name in _parsed(template):
        text.append(before)
        if name is not None:
            part = parts[name]
            text.append(part.text)
            params.extend(part.params)
    return Fragment("".join(text), tuple(params))


def join(separator: str, parts: Iterable[Fragment]) -> Fragment:
    """Join ``parts`` with ``separator``, a literal of the source code."""
    listed = list(parts)
    return Fragment(
        separator.join([part.text for part in listed]),
        tuple(param for part in listed for param in part.params),
    )


def comma(parts: Iterable[Fragment]) -> Fragment:
    """Join ``parts`` with commas."""
    return join(", ", parts)


def quoting(compiler: Any) -> Any:
    """Have a compiler of Django's double the ``%`` of names, as a Fragment holds them."""
    name = "quote_name" if hasattr(compiler, "quote_name") else "quote_name_unless_alias"
    quote = getattr(compiler, name)
    setattr(compiler, name, lambda identifier: quote(identifier).replace("%", "%%"))
    return compiler
