"""An operation of migrations that writes rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.operations import base
from django.db.models import Q

from .csvs import CsvRows
from .errors import OptionError
from .functions import bulk_upsert
from .lookups import check_keys, check_transform, keys

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
            check_transform(unique_fields or match_fields or ["pk"], list(transform))
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
                check_keys(model, rows, options)
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
        check_keys(model, rows, self.options)
        named = Q()
        with transaction.atomic(alias):  # all of them, or none
            for number, key in enumerate(keys(model, rows, self.options), 1):
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
