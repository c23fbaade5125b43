"""A queryset's rows as a file of CSV, from which they can be taken back as they were."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connections, transaction

from ..csvs.patterns import keeps_empty
from ..driver import copy_out
from ..errors import OptionError, UnknownFieldError, listing
from ..fields import Field, is_djangos, is_generated
from ..loops import TEXT_FIELDS, value_field
from ..names import Model, Named, find, nearest
from ..sql import Fragment, comma, compose, identifier, join, raw, value

#: What settles how the server writes values, whatever the role or the database has set.
_SETTINGS = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}

#: Texts for NULL that only a text can be: no number or date is written so.
_ONLY_TEXTS = ("", "\\N")


def exported(model: Model, names: Sequence[str] | None) -> list[Named]:
    """Return the fields to export: those named, or all that a row can give.

    Raises:
        UnknownFieldError: A name is no field.
        OptionError: There is none, or one twice.
    """
    if names is None:
        fields = [each for each in model._meta.concrete_fields if not is_generated(each)]
        return [Named(each.name, each, None, each) for each in fields]
    if not names or len(set(names)) < len(names):
        raise OptionError("--fields names a field twice" if names else "--fields names no field")
    found = []
    for name in names:
        named = find(model, name)
        if named is None:
            raise UnknownFieldError(
                f"--fields: {name!r} is no field of {model._meta.label}; {nearest(model, name)}"
            )
        found.append(named)
    return found


def export(
    queryset: Any,
    fields: Sequence[Named],
    write: Callable[[bytes], object],
    *,
    null: str | None = None,
    delimiter: str = ",",
    progress: Callable[[int], object] | None = None,
) -> int:
    """Write the rows of a queryset, in the order of their primary keys, by COPY .. TO STDOUT.

    Memory is bounded: the server sends a row at a time.

    Args:
        queryset: The rows.
        fields: Their fields.
        write: Takes bytes of the file.
        null: The text that stands for NULL. None: the empty one, unless some value is that, too.
        delimiter: What stands between values.
        progress: Is called with the number of rows so far.

    Returns:
        How many rows there are.

    Raises:
        OptionError: What stands for NULL is also a value; or an option can't be taken.
    """
    alias = queryset.db
    connection: Any = connections[alias]
    if len(delimiter.encode()) != 1 or delimiter in '\r\n"\0':
        raise OptionError(f"--delimiter is one character, of ASCII, not {delimiter!r}")
    if null is not None and (delimiter in null or set(null) & set('\r\n"\0')):
        raise OptionError(f"--null is a text without delimiter, quote or line's end, not {null!r}")
    query = _compiled(queryset.order_by("pk").values_list(*(each.name for each in fields)))
    count = 0

    def take(data: bytes) -> None:
        nonlocal count
        write(data)
        count += 1
        if progress is not None:
            progress(count)

    outermost = not connection.in_atomic_block
    with transaction.atomic(alias), connection.cursor() as cursor:
        if outermost:  # what is checked is what is written
            raw("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(cursor)
        settings = comma(
            compose("set_config({name}, {to}, true)", name=value(name), to=value(to))
            for name, to in _SETTINGS.items()
        )
        compose("SELECT {settings}", settings=settings).execute(cursor)
        if null != "":
            _check(cursor, query, fields, null or "")
        statement = compose(
            "COPY ({query}) TO STDOUT"
            " (FORMAT csv, NULL {null}, DELIMITER {delimiter}, ENCODING 'UTF8')",
            query=query,
            null=value(null or ""),
            delimiter=value(delimiter),
        )
        literal = connection.ops.compose_sql(statement.text, statement.params)
        write(_header([each.name for each in fields], delimiter))
        copy_out(connection, cursor, raw(literal), take)
        transaction.set_rollback(True, alias)  # the settings end here, in whatever transaction
    return count


def _compiled(queryset: Any) -> Fragment:
    compiler = queryset.query.get_compiler(queryset.db, elide_empty=False)
    text, params = compiler.as_sql()
    return Fragment(text, tuple(params)) if params else raw(text)


def _header(names: Sequence[str], delimiter: str) -> bytes:
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\n").writerow(names)
    return line.getvalue().encode()


def _check(cursor: Any, query: Fragment, fields: Sequence[Named], null: str) -> None:
    """Check that each row would be read back, and none of its values as NULL.

    Raises:
        OptionError: One would not.
    """
    places = [place for place, each in enumerate(fields) if _may_be(each.leaf, null)]
    lost = null == "" and all(map(_may_be_empty, fields))  # a line without a value is none
    if not (places or lost):
        return
    columns = [identifier(f"c{place}") for place in range(len(fields))]
    texts = [
        compose("format('%%s', {column}) = {null}", column=column, null=value(null))
        for column in columns
    ]
    tests = [
        compose(
            "bool_or({column} IS NOT NULL AND {text})", column=columns[place], text=texts[place]
        )
        for place in places
    ]
    if lost:
        tests.insert(0, compose("bool_or({all})", all=join(" AND ", texts)))
    compose(
        "SELECT {tests} FROM ({query}) AS q ({columns})",
        tests=join(", ", tests),
        query=query,
        columns=comma(columns),
    ).execute(cursor)
    answers = list(cursor.fetchone())
    what, hint = f"the text {null!r}", "; or --null '', if it may" if null == "" else ""
    if lost and answers.pop(0):
        places, answers = list(range(len(fields))), [True] * len(fields)
        what, hint = "the empty text, or a NULL on a line of its own", ""
        if len(fields) > 1:
            what = "the empty text or NULL, on a line of nothing but delimiters"
    found = [fields[place].name for place, is_it in zip(places, answers, strict=True) if is_it]
    if found:
        raise OptionError(
            f"{listing(map(repr, found))} of some rows is {what}, which would come back as NULL or "
            "not at all; pass --null TEXT, here and to bulkupsert, with a text that no value is, "
            f"such as '\\N'{hint}"
        )


def _may_be(field: Field, null: str) -> bool:
    """Whether a value of a field may be written as this text, and is then read as NULL."""
    if keeps_empty(field, null):
        return False
    return _is_text(field) or null not in _ONLY_TEXTS


def _may_be_empty(named: Named) -> bool:
    """Whether a value of a field, or a NULL, may be written as the empty text."""
    is_sure = named.path is None and not named.field.null
    return not is_sure or _is_text(named.leaf)


def _is_text(field: Field) -> bool:
    """Whether a value of a field may be written as any text."""
    own: Any = value_field(field)
    hstore = type(own).__name__ == "HStoreField"  # an empty one is an empty text
    return type(own) in TEXT_FIELDS or not is_djangos(own) or hstore
