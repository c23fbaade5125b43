"""Rows found again in the table: of each row of an input its key, as a filter takes it.

For what undoes an upsert. A row can be found only by a key that it gives whole, and as it is
stored; what an input's first row tells of that is checked before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, TypeAlias

from django.db import models
from django.db.migrations.exceptions import IrreversibleError

from .arrow import is_table
from .csvs import CsvRows
from .csvs.source import CsvSource
from .errors import OptionError, listing
from .fields import Field
from .names import named_all, pk_fields, resolve_all
from .readers.csv import resolved, values

#: Rows of a file that are read at once.
READ_ROWS = 500

#: What a row is called; and for each of its fields, the name and the value that a filter takes.
Lookups: TypeAlias = tuple[str, dict[Any, tuple[str, Any]]]


def _key_fields(model: Any, options: Mapping[str, Any]) -> tuple[Field, ...]:
    """Return the fields by which rows are found again."""
    names = options["unique_fields"] or options["match_fields"]
    return resolve_all(model, names, "unique_fields") if names else pk_fields(model)


def check_transform(names: Iterable[str], transformed: Sequence[str]) -> None:
    """Check that what rows are found by is no field that is changed on its way.

    Raises:
        OptionError: It is.
    """
    changed = listing(repr(name) for name in names if name in transformed)
    if changed:
        raise OptionError(
            f"reverse='delete' finds rows by {changed}, which transform changes before it is "
            "stored; give it as it is stored, or say reverse='keep'"
        )


def check_keys(model: Any, rows: Any, options: Mapping[str, Any]) -> None:
    """Check that the rows' keys can be told, as far as the first one says.

    Raises:
        OptionError: They can't.
    """
    fields = _key_fields(model, options)
    if options["transform"]:
        changed = resolve_all(model, list(options["transform"]), "transform")
        check_transform([each.name for each in fields], [each.name for each in changed])
    if is_table(rows):
        raise OptionError(
            "reverse='delete' can't tell the keys of a data frame; return its rows as mappings"
        )
    given = None
    if isinstance(rows, CsvRows):
        with closing(CsvSource(rows)) as source:
            given = {named.field for _, named in resolved(model, source.first)}
    elif isinstance(rows, Sequence) and rows and not isinstance(rows[0], models.Model):
        names = list(rows[0]) if isinstance(rows[0], Mapping) else options["fields"]
        given = {named.field for named in named_all(model, names or [])}
    absent = [] if given is None else [each for each in fields if each not in given]
    if absent:
        raise OptionError(
            f"reverse='delete' finds rows by {listing(repr(each.name) for each in fields)}, but "
            f"the rows don't give {listing(repr(each.name) for each in absent)}; pass "
            "unique_fields, or say reverse='keep'"
        )


def keys(model: Any, rows: Any, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the key of each row, as what a filter takes.

    Raises:
        IrreversibleError: A row has none.
    """
    fields = _key_fields(model, options)
    for which, row in _lookups(model, rows, options):
        key = {}
        for field in fields:
            name, value = row.get(field, ("", None))
            if value is None:
                raise IrreversibleError(
                    f"{which} gives no {field.name!r}, by which reverse='delete' would find what "
                    "it became; nothing was deleted, and reverse='keep' would leave the rows"
                )
            key[name] = value
        yield key


def _lookups(model: Any, rows: Any, options: Mapping[str, Any]) -> Iterator[Lookups]:
    """Give what finds each row."""
    if isinstance(rows, CsvRows):
        yield from _lookups_of_file(model, rows, options)
        return
    for index, row in enumerate(rows):
        if isinstance(row, models.Model):
            yield (
                f"row {index}",
                {
                    field: (field.attname, getattr(row, field.attname))
                    for field in _key_fields(model, options)
                },
            )
            continue
        items = row
        if not isinstance(row, Mapping):
            items = dict(zip(options["fields"], row, strict=True))
        yield (
            f"row {index}",
            {
                named.field: (named.name, item)
                for named, item in zip(named_all(model, list(items)), items.values(), strict=True)
            },
        )


def _lookups_of_file(model: Any, rows: CsvRows, options: Mapping[str, Any]) -> Iterator[Lookups]:
    """Give the same for each row of a file, of the fields of its key alone."""
    with closing(CsvSource(rows)) as source:
        key = _key_fields(model, options)
        columns = [each for each in resolved(model, source.first) if each[1].field in key]
        start = 0
        while (block := source.pull(READ_ROWS)).count:
            read = [
                (named, values(block, place, named, rows.null, start).values)
                for place, named in columns
            ]
            for offset in range(block.count):
                index = start + offset
                yield (
                    f"line {source.line(index)} of {rows.file}",
                    {named.field: (named.name, column[offset]) for named, column in read},
                )
            start += block.count
