"""An operation of migrations that writes rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from django.db import models, transaction
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.operations import base
from django.db.models import Q

from .arrow import is_table
from .csvs import CsvRows
from .csvs.source import CsvSource
from .errors import OptionError, listing
from .fields import Field
from .functions import bulk_upsert
from .names import named_all, pk_fields, resolve_all
from .readers.csv import resolved, values

#: What a migration knows of the apps, and of the database.
State = Any
Editor = Any

#: Rows whose keys one DELETE names.
DELETE_ROWS = 500


class BulkUpsert(base.Operation):
    """Upsert rows into a model's table, as it is at that point of the migrations.

    Args:
        app_label: The model's app.
        model_name: Its name.
        rows: A list of mappings, or of sequences whose fields ``fields`` names; CsvRows of a path;
            or a function that takes the apps, as that of ``RunPython`` does, and returns rows.
        reverse: What undoing the migration does: "delete" the rows of these keys, also those that
            were there before; or "keep" them. None: it can't be undone. To be deleted, each row
            has to give its whole key, as it is stored: without a transform, and not NULL.
        elidable: Whether squashing migrations may leave it out.
        fields: This and what follows are the keywords of ``bulk_upsert()``.
    """

    reduces_to_sql = False
    if hasattr(base, "OperationCategory"):  # Django 5.1+
        category = base.OperationCategory.PYTHON

    def __init__(  # noqa: PLR0917 (see reverse)
        self,
        app_label: str,
        model_name: str,
        rows: Iterable[Mapping[str, Any] | Sequence[Any]] | CsvRows | Callable[[Any], Any],
        # Django writes into a migration's file only what has a name, and no keyword-only ones.
        reverse: str | None = None,
        elidable: bool = False,
        fields: Sequence[str] | None = None,
        unique_fields: Sequence[str] | None = None,
        constraint: str | None = None,
        match_fields: Sequence[str] | None = None,
        update_fields: Sequence[str] | Mapping[str, Any] | None = None,
        where: Any = None,
        transform: Mapping[str, Any] | None = None,
        skip_unchanged: bool = True,
        ignore_conflicts: bool = False,
        duplicates: str = "error",
        mixed_keys: bool = False,
        preserve_sequence: bool = False,
        lock: str | None = None,
        strategy: str | None = None,
    ) -> None:
        if reverse not in (None, "delete", "keep"):
            raise OptionError(f"reverse is None, 'delete' or 'keep', not {reverse!r}")
        if reverse == "delete" and constraint is not None:
            raise OptionError("reverse='delete' finds rows by unique_fields, not by constraint")
        if reverse == "delete" and isinstance(transform, Mapping):
            _check_transform(unique_fields or match_fields or ["pk"], list(transform))
        if isinstance(rows, Iterator):
            raise OptionError(
                "rows can be walked only once, and a migration runs more than once; pass a list, "
                "CsvRows of a path, or a function"
            )
        if isinstance(rows, CsvRows) and not rows.is_path:
            raise OptionError("rows: CsvRows of an open file can be read only once; pass its path")
        self.app_label = app_label
        self.model_name = model_name
        self.rows = rows
        self.reverse = reverse
        self.elidable = elidable  # type: ignore[misc]  # as Django's own operations do
        self.reversible = reverse is not None  # type: ignore[misc]
        self.options = {
            "fields": fields,
            "unique_fields": unique_fields,
            "constraint": constraint,
            "match_fields": match_fields,
            "update_fields": update_fields,
            "where": where,
            "transform": transform,
            "skip_unchanged": skip_unchanged,
            "ignore_conflicts": ignore_conflicts,
            "duplicates": duplicates,
            "mixed_keys": mixed_keys,
            "preserve_sequence": preserve_sequence,
            "lock": lock,
            "strategy": strategy,
        }

    def state_forwards(self, app_label: str, state: State) -> None:
        """Change nothing: rows are no part of the models."""

    def database_forwards(
        self, app_label: str, schema_editor: Editor, from_state: State, to_state: State
    ) -> None:
        """Write the rows."""
        model = self._model(schema_editor, to_state)
        if model is not None:
            stored = model._base_manager.using(schema_editor.connection.alias)
            options: dict[str, Any] = self.options
            rows = self._given(to_state)
            if self.reverse == "delete":
                _check_keys(model, rows, options)
            bulk_upsert(stored, rows, **options)

    def database_backwards(
        self, app_label: str, schema_editor: Editor, from_state: State, to_state: State
    ) -> None:
        """Delete the rows of these keys, or keep them."""
        if self.reverse is None:
            raise IrreversibleError(f"{self.describe()} can't be undone; reverse= says how")
        model = self._model(schema_editor, from_state)
        if model is None or self.reverse == "keep":
            return
        alias = schema_editor.connection.alias
        stored = model._base_manager.using(alias)
        rows = self._given(from_state)
        _check_keys(model, rows, self.options)
        named = Q()
        with transaction.atomic(alias):  # all of them, or none
            for number, key in enumerate(_keys(model, rows, self.options), 1):
                named |= Q(**key)
                if number % DELETE_ROWS == 0:
                    stored.filter(named).delete()
                    named = Q()
            if named:
                stored.filter(named).delete()

    def describe(self) -> str:
        """Say what is done."""
        rows = self.rows
        what = f"{len(rows):,} rows" if isinstance(rows, Sequence) else "rows"
        if isinstance(rows, CsvRows):
            what = f"the rows of {rows.file}"
        return f"Upsert {what} into {self.app_label}.{self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        """A part of a migration's name."""
        return f"upsert_{self.model_name.lower()}"

    def _model(self, schema_editor: Editor, state: State) -> Any:
        """Return the model as it was then; None: this database is not to have it."""
        model = state.apps.get_model(self.app_label, self.model_name)
        alias = schema_editor.connection.alias
        return model if self.allow_migrate_model(alias, model) else None

    def _given(self, state: State) -> Any:
        return self.rows(state.apps) if callable(self.rows) else self.rows


def _key_fields(model: Any, options: Mapping[str, Any]) -> tuple[Field, ...]:
    """Return the fields by which rows are found again."""
    names = options["unique_fields"] or options["match_fields"]
    return resolve_all(model, names, "unique_fields") if names else pk_fields(model)


def _check_transform(names: Iterable[str], transformed: Sequence[str]) -> None:
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


def _check_keys(model: Any, rows: Any, options: Mapping[str, Any]) -> None:
    """Check that the rows' keys can be told, as far as the first one says.

    Raises:
        OptionError: They can't.
    """
    fields = _key_fields(model, options)
    if options["transform"]:
        changed = resolve_all(model, list(options["transform"]), "transform")
        _check_transform([each.name for each in fields], [each.name for each in changed])
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


def _keys(model: Any, rows: Any, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
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


def _lookups(
    model: Any, rows: Any, options: Mapping[str, Any]
) -> Iterator[tuple[str, dict[Any, tuple[str, Any]]]]:
    """Give, of each row, what it is called, its fields, and what a filter takes for each."""
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


def _lookups_of_file(
    model: Any, rows: CsvRows, options: Mapping[str, Any]
) -> Iterator[tuple[str, dict[Any, tuple[str, Any]]]]:
    """Give the same of each row of a file, of the fields of its key alone."""
    with closing(CsvSource(rows)) as source:
        key = _key_fields(model, options)
        columns = [each for each in resolved(model, source.first) if each[1].field in key]
        start = 0
        while (block := source.pull(DELETE_ROWS)).count:
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
