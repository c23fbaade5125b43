"""A file's rows written, or as if."""

from __future__ import annotations

import csv
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import IO, Any

from django.core.management.base import CommandError
from django.db import connections, transaction

from ..csvs import CsvRows
from ..csvs.source import CsvSource
from ..errors import listing
from ..functions import bulk_upsert
from ..ours import last
from .interrupts import interruptible
from .progress import Watched
from .refusals import REFUSED
from .rejects import write_rejects
from .sample import sample
from .summary import Summary
from .targets import Output, partial_path

#: Characters that a value may have: more than PostgreSQL's may.
LONGEST = 2**31 - 1


@contextmanager
def opened(path: str, again: bool, rejects: str | None = None) -> Iterator[Watched]:
    """Open a file of bytes; ``-`` is stdin.

    Args:
        path: The file's.
        again: Whether it is to be read more than once. What can't be is copied to the disk.
        rejects: Where rejects are to be written: not into the file itself.

    Raises:
        CommandError: They would be; or stdin is closed.
    """
    if path == "-" and sys.stdin is None:
        raise CommandError("-: stdin is closed", returncode=REFUSED)
    with ExitStack() as stack:
        file: IO[bytes] = sys.stdin.buffer if path == "-" else stack.enter_context(open(path, "rb"))
        if rejects and rejects != "-":
            _check_other(file, rejects)
        if again and not file.seekable():
            copy = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            file = copy
        yield Watched(file, _size(file))


def _check_other(file: IO[bytes], rejects: str) -> None:
    """Check that rejects don't go into the file that is read, by whatever name it is called.

    Raises:
        CommandError: They would.
    """
    if _size(file) is None:
        return  # a pipe, or the like
    own = os.fstat(file.fileno())
    for path in (rejects, partial_path(rejects)):
        if os.path.exists(path) and os.path.samestat(own, os.stat(path)):
            raise CommandError(
                f"--rejects: {path} is the file that is read, and would be replaced; name another",
                returncode=REFUSED,
            )


def _size(file: IO[bytes]) -> int | None:
    try:
        found = os.fstat(file.fileno())
    except OSError:
        return None  # it is none of the system's
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def check_header(
    rows: Callable[[IO[bytes]], CsvRows], file: Watched, related: Mapping[str, str]
) -> None:
    """Check that options name foreign keys as the header does; the file is at its start again.

    Args:
        rows: Makes rows of an open file.
        file: The file.
        related: The names, each with its option.

    Raises:
        CommandError: One is not in the header.
    """
    given = rows(file.file)
    source = CsvSource(given, sifts=True)
    source.close()
    file.file.seek(0)
    names = [given.columns.get(name, name) for name in source.names]
    for name, option in related.items():
        if name not in names:
            raise CommandError(
                f"{option}: no column is {name!r}; the header has {listing(source.names, 25)}",
                returncode=REFUSED,
            )


@contextmanager
def long_values() -> Iterator[None]:
    """Let values be as long as PostgreSQL's; Python's limit is 128 KB."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def load(
    queryset: Any,
    rows: Callable[[IO[bytes] | Watched], CsvRows],
    file: Watched,
    options: Mapping[str, Any],
    *,
    progress: AbstractContextManager[Any],
    rejects: AbstractContextManager[Output] | None,
    dry_run: bool,
) -> Summary:
    """Upsert the rows of a file, all or none.

    What is rejected is written before the commit: if it can't be, nothing is; and from the commit
    on Ctrl-C does nothing, until the file of rejects is in its place.

    Args:
        queryset: One of the model, and of the database.
        rows: Makes rows of an open file.
        file: The file.
        options: The keywords of the call.
        progress: Gives what is told how far the call has come.
        rejects: Gives what takes the rows that were rejected; None: none are.
        dry_run: Whether all is undone at the end, and some of it shown.
    """
    alias, model = queryset.db, queryset.model
    connection = connections[alias]
    connection.ensure_connection()
    owns = connection.get_autocommit()
    given = rows(file)
    found = None
    start = time.perf_counter()
    with (
        interruptible(connection) as ignore,
        rejects or nullcontext() as out,
        transaction.atomic(alias),
    ):
        with progress as told, transaction.atomic(alias), last() if owns else nullcontext():
            result = bulk_upsert(queryset, given, **options, progress=told)
            if dry_run:
                connection.check_constraints()  # as the commit would
                transaction.set_rollback(True, alias)
        seconds = time.perf_counter() - start
        if dry_run:
            file.file.seek(0)
            with transaction.atomic(alias):
                found = sample(queryset, rows(file.file), options)
                transaction.set_rollback(True, alias)
        if out is not None and result.rejected:
            file.file.seek(0)
            write_rejects(rows(file.file), result.rejected, out.write)
            out.flush()
        ignore()
    if not dry_run:
        seconds = time.perf_counter() - start
    collects = options["on_error"] == "collect"
    return Summary(model._meta.label, alias, result, seconds, found, collects)
