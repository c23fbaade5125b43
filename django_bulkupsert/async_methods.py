"""The asynchronous twins of the methods."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

from django.db import models

from .arrow import ArrowStream
from .csvs import CsvRows
from .plans.options import RETRIES
from .result import UpdateResult, UpsertResult
from .threads import in_thread


class AsyncBulkMethods:
    """The twins; ``self`` is a queryset that has the methods too."""

    async def abulk_upsert(
        self: Any,
        rows: Iterable[Any] | AsyncIterable[Any] | ArrowStream | CsvRows,
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
        """Do what ``bulk_upsert`` does, from asynchronous code.

        The rows may be an asynchronous iterable too, which is walked on the event loop, some rows
        at a time, while the call waits for them; it may query. The database's work is done in
        the thread in which Django keeps its connections, and so is the walk over rows of any other
        kind, and ``progress`` called. That thread is the call's until it ends: the rows must
        not wait for another task that queries.

        Cancelled, the call stops at once, and is rolled back before this returns; or it waited
        for the thread still, and does nothing. If the commit was under way already, all may be
        stored when the cancellation goes on. So that it can be undone to the end, a call is a
        transaction, however small.
        """
        call = partial(
            self.bulk_upsert,
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
            strategy=strategy,
        )
        return await in_thread(call, rows, progress, self)

    abulk_upsert.alters_data = True  # type: ignore[attr-defined]

    async def abulk_update(
        self: Any,
        objs: Iterable[models.Model] | AsyncIterable[models.Model] | CsvRows,
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
        """Do what ``bulk_update`` does, from asynchronous code.

        The instances may come from an asynchronous iterable too; see ``abulk_upsert``.
        """
        call = partial(
            self.bulk_update,
            fields=fields,
            batch_size=batch_size,
            match_fields=match_fields,
            where=where,
            skip_unchanged=skip_unchanged,
            returning=returning,
            retries=retries,
            strategy=strategy,
        )
        return await in_thread(call, objs, progress, self)

    abulk_update.alters_data = True  # type: ignore[attr-defined]

    async def abulk_copy(
        self: Any,
        rows: Iterable[Any] | AsyncIterable[Any] | ArrowStream | CsvRows,
        *,
        fields: Iterable[str] | None = None,
        batch_size: int | None = None,
        progress: Callable[[int, int | None], object] | None = None,
    ) -> int:
        """Do what ``bulk_copy`` does, from asynchronous code.

        The rows may be an asynchronous iterable too; see ``abulk_upsert``.
        """
        call = partial(
            self.bulk_copy,
            fields=fields,
            batch_size=batch_size,
        )
        return await in_thread(call, rows, progress, self)

    abulk_copy.alters_data = True  # type: ignore[attr-defined]
