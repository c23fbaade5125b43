"""The queryset's and the manager's methods: keywords in, one frozen Options on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import models

from .arrow import ArrowStream
from .csvs import CsvRows
from .engine import copy, dispatch, update
from .plans.copy import CopyOptions
from .plans.options import RETRIES, UpsertOptions
from .plans.update import UpdateOptions
from .result import UpdateResult, UpsertResult


class BulkMethods:
    """The methods themselves; ``self`` is a queryset."""

    def bulk_upsert(
        self: Any,
        rows: Iterable[Any] | ArrowStream | CsvRows,
        *,
        fields: Iterable[str] | None = None,
        unique_fields: Iterable[str] | None = None,
        constraint: str | None = None,
        match_fields: Iterable[str] | None = None,
        update_fields: Iterable[str] | Mapping[str, Any] | None = None,
        where: Any = None,
        transform: Mapping[str, Any] | None = None,
        skip_unchanged: bool = True,
        ignore_conflicts: bool = False,
        duplicates: str = "error",
        returning: Iterable[str] | bool | None = None,
        returning_old: bool = False,
        mixed_keys: bool = False,
        preserve_sequence: bool = False,
        lock: str | None = None,
        on_error: str = "raise",
        validate: bool = False,
        retries: int = RETRIES,
        batch_size: int | None = None,
        progress: Callable[[int, int | None], object] | None = None,
        strategy: str | None = None,
    ) -> UpsertResult:
        """Insert the rows that are new and update those that are there.

        All or nothing: either every row is written, or none. Rows are locked in the order of
        their keys, so that calls which overlap don't deadlock. As with ``bulk_create``,
        ``save()`` is not called, no signal is sent, and a filter on the queryset plays no part.
        Of a model with parents (multi-table inheritance) instances are taken, and each table
        is written, parents first; not with ``where``, ``match_fields``, ``mixed_keys``, nor
        with ``ignore_conflicts`` without a match.

        Args:
            rows: Any iterable, walked once: model instances, mappings of field names to
                values, or sequences. All of one kind; mappings all with the same keys. Or a data
                frame, or another Arrow stream, with columns named as fields (extra "arrow"); or
                CsvRows.
            fields: With rows that are sequences: the names of what they hold, in order.
            unique_fields: The fields by which rows are matched to stored ones. A primary key,
                a unique field, a unique constraint, or a unique index under a condition must
                cover exactly these. With neither this nor ``constraint`` nor ``match_fields``
                rows are matched by primary key, and those that have none are inserted.
            constraint: Instead: the name of a unique constraint or index of the model's, over
                fields or expressions; with ``ignore_conflicts`` also of an exclusion constraint.
            match_fields: Instead: any fields, unique or not. All stored rows that match are
                updated; a None matches every NULL. Two calls at once can insert the same new
                key twice, unless ``lock="table"``.
            update_fields: The fields that are updated where a row is there already; or a dict
                of these to expressions, in which ``F("name")`` is the stored row and
                ``Excluded("name")`` the incoming one. None: every field given, less the match,
                the primary key, generated and ``auto_now_add`` fields. ``auto_now`` fields are
                always refreshed with them.
            where: A condition (a Q) over the stored row, ``F("name")``, and the incoming one,
                ``Excluded("name")``. Rows whose stored row it doesn't hold for are skipped.
            transform: A dict of fields to expressions over the incoming row, by which its values
                are replaced before keys are compared: ``{"email": Lower("email")}``.
            skip_unchanged: Leave a stored row alone, unwritten and unlocked, whose values
                would not change; an ``auto_now`` field alone is no change.
            ignore_conflicts: Leave every stored row alone. Without a match, a conflict with any
                unique constraint counts.
            duplicates: What to do when the input holds a key more than once: "error", or write
                the "first" or the "last" of its rows and skip the others.
            returning: Names of fields whose stored values, after the call, are wanted (True: all
                fields): in the result's ``rows``, one per row of the input, and on instances.
            returning_old: Whether they are wanted as they were before the call, too.
            mixed_keys: Whether rows are mappings whose keys differ. Those with the same keys are
                written as one call, one after the other, in one transaction; all are held, and
                duplicates are judged among those with the same keys.
            preserve_sequence: Draw no value of the primary key's sequence for rows that are
                there already. It costs a join, if ``skip_unchanged`` does not need it anyway.
            lock: "table": keep all other writers out of the table until the transaction ends.
            on_error: "raise" the error of the first row that can't be stored, and write nothing; or
                "collect" such rows in the result's ``rejected``, and write the others.
            validate: Have fields look at their values first, as ``full_clean()`` does: blanks,
                choices and validators, but not what would query.
            retries: How often, at most, what another call's timing made fail is undone and tried
                again: a deadlock, or a row that two calls brought at once. Each waits a little
                longer. Inside a transaction of yours only if that is READ COMMITTED.
            batch_size: The most rows that one COPY sends, where there are more than 2,000; 5,000,
                if it is left out. It never splits the upsert, which is one statement.
            progress: Is called with the number of rows so far and the number of all (None where
                that is not known), a few times a second at most, and at the end. What it raises
                stops the call, and nothing is written. A plain function: it is called from the
                thread that does the work.
            strategy: How rows travel: "values", "unnest" or "copy". None: by their number, and
                what they hold. The first two hold all rows in memory; "copy" a few thousand.

        Returns:
            The counts, which add up to the number of rows. Model instances come back with
            their primary key, and with the state of a stored object.

        Raises:
            UnsupportedDatabase: The database is not PostgreSQL.
            UnsupportedModel: The model has a shape that is not handled.
            OptionError: A keyword can't be taken; nothing was written.
            MatchError: Rows can't be matched by this; nothing was sent.
            CsvError: A file can't be read as CSV.
            MissingConstraintError: The table lacks the constraint, which the model has.
            RowError: A row can't be taken or stored; the error has its index and field.
            DuplicateKeysError: The input holds a key twice.
            django.db.Error: Whatever else the server refuses.

        The SQL is PostgreSQL's INSERT .. ON CONFLICT (manual: SQL Commands, INSERT).
        """
        options = UpsertOptions(
            fields=fields,
            unique_fields=unique_fields,
            constraint=constraint,
            match_fields=match_fields,
            update_fields=update_fields,
            where=where,
            transform=transform,
            skip_unchanged=skip_unchanged,
            ignore_conflicts=ignore_conflicts,
            duplicates=duplicates,
            returning=returning,
            returning_old=returning_old,
            mixed_keys=mixed_keys,
            preserve_sequence=preserve_sequence,
            lock=lock,
            on_error=on_error,
            validate=validate,
            retries=retries,
            batch_size=batch_size,
            progress=progress,
            strategy=strategy,
        )
        self._for_write = True
        return dispatch.run(self.model, rows, options, self.db)

    bulk_upsert.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(
        self: Any,
        objs: Iterable[models.Model] | CsvRows,
        fields: Iterable[str],
        batch_size: int | None = None,
        *,
        match_fields: Iterable[str] | None = None,
        where: Any = None,
        skip_unchanged: bool = False,
        returning: Iterable[str] | bool | None = None,
        retries: int = RETRIES,
        progress: Callable[[int, int | None], object] | None = None,
        strategy: str | None = None,
    ) -> UpdateResult:
        """Update the named fields of the rows that model instances stand for.

        Takes the place of Django's ``bulk_update``, and is called as that is. Only rows that the
        queryset's own filter lets through are updated, and counted. Where several instances
        stand for one row, the first counts. The instances stay as they are.

        All or nothing: one statement, which locks the rows in the order of their keys first, so
        that calls which overlap don't deadlock.

        Args:
            objs: Any iterable of instances, walked once. Their attributes may be expressions:
                ``F("stock") - 1``. Or CsvRows.
            fields: The names of the fields to update. ``auto_now`` fields that are not among
                them are set to the time of the call.
            batch_size: The most rows that one COPY sends, where there are more than 2,000; 5,000
                at most. It never splits the update, which is one statement.
            match_fields: The fields by which instances are matched to stored rows, unique or
                not; a None matches every NULL. None: the primary key.
            where: A condition (a Q) over the stored row, ``F("name")``, and what the instance
                holds, ``Excluded("name")``. Rows that it doesn't hold for are skipped.
            skip_unchanged: Leave a stored row alone, unwritten and unlocked, whose values
                would not change; an ``auto_now`` field that is not named is no change.
            returning: Names of fields whose stored values, after the update, are wanted (True:
                all fields); they are in the result's ``rows``.
            retries: How often, at most, an update that a deadlock has ended is tried again; see
                ``bulk_upsert``.
            progress: Is called with the number of rows so far and the number of all (None where
                that is not known), a few times a second at most, and at the end. What it raises
                stops the call, and nothing is written. A plain function: it is called from the
                thread that does the work.
            strategy: How rows travel: "values", "unnest" or "copy". None: by their number, and
                what they hold. The first two hold all rows in memory; "copy" a few thousand.

        Returns:
            How many stored rows matched, less those that ``where`` held back; an int that also
            tells how many were ``updated``, ``unchanged`` and ``skipped``.

        Raises:
            UnsupportedDatabase: The database is not PostgreSQL.
            UnsupportedModel: The model has a shape that is not handled.
            OptionError: A keyword can't be taken; nothing was written.
            MatchError: Rows can't be matched by these fields; nothing was sent.
            CsvError: A file can't be read as CSV.
            RowError: A row can't be taken or stored; the error has its index and field.
            django.db.Error: Whatever else the server refuses.

        The SQL is PostgreSQL's UPDATE .. FROM (manual: SQL Commands, UPDATE).
        """
        options = UpdateOptions(
            fields=fields,
            batch_size=batch_size,
            match_fields=match_fields,
            where=where,
            skip_unchanged=skip_unchanged,
            returning=returning,
            retries=retries,
            progress=progress,
            strategy=strategy,
        )
        self._for_write = True
        return update.run(self, objs, options)

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def bulk_copy(
        self: Any,
        rows: Iterable[Any] | ArrowStream | CsvRows,
        *,
        fields: Iterable[str] | None = None,
        batch_size: int | None = None,
        progress: Callable[[int, int | None], object] | None = None,
    ) -> int:
        """Insert rows that are known to be new, by PostgreSQL's COPY straight into the table.

        The fastest way in. All or nothing: a row that is there already, or that a constraint
        refuses, is an error that names it, and nothing is written. A constraint that is deferred,
        as Django's foreign keys are, is checked when all rows are there, and its error names the
        fields, but no row; within a transaction of the caller's it is checked when that ends, and
        the error is Django's. The instances stay as they are: COPY doesn't tell which primary keys
        it drew.

        Args:
            rows: Any iterable, walked once: model instances, mappings of field names to
                values, or sequences. All of one kind; mappings all with the same keys. Or a data
                frame, or another Arrow stream, with columns named as fields (extra "arrow"); or
                CsvRows.
            fields: With rows that are sequences: the names of what they hold, in order.
            batch_size: The most rows that one COPY sends; 5,000, if it is left out, and fewer
                where they come to more than about four megabytes. All are sent in one
                transaction.
            progress: Is called with the number of rows so far and the number of all (None where
                that is not known), a few times a second at most, and at the end. What it raises
                stops the call, and nothing is written. A plain function: it is called from the
                thread that does the work.

        Returns:
            How many rows the server inserted: all, but for those that a trigger of the table's
            dropped.

        Raises:
            UnsupportedDatabase: The database is not PostgreSQL.
            OptionError: A keyword can't be taken; nothing was written.
            CsvError: A file can't be read as CSV.
            UnsupportedModel: COPY can't fill the table: it is a view, has row-level security or
                a rule, or is one of several that the model keeps its fields in; nothing was sent.
            RowError: A row can't be taken or stored; the error has its index and, of one field,
                that.
            DeferredConstraintError: A constraint that is checked at the end refuses some row.
            django.db.Error: Whatever else the server refuses.

        The SQL is PostgreSQL's COPY .. FROM STDIN (manual: SQL Commands, COPY).
        """
        options = CopyOptions(fields=fields, batch_size=batch_size, progress=progress)
        self._for_write = True
        return copy.run(self.model, rows, options, self.db)

    bulk_copy.alters_data = True  # type: ignore[attr-defined]
