"""Calls from asynchronous code: the rows come from the event loop, the work is a thread's.

The thread is the one in which Django keeps its connections. While it waits for rows, asgiref lets
it do what the rows themselves ask of the database; so the source may query, as a generator may.

A call is stopped by what it asks on its way: for the next row, and of ``progress``, which it tells
last of all, before it commits. So one that was cancelled before that has written nothing.
Statements are interrupted besides, so that none is waited for.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import nullcontext, suppress
from threading import Lock
from typing import Any, Generic, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, router, transaction

from .arrow import is_table
from .arrow.source import watched
from .engine.progress import Callback, check_callback
from .sources import PULL_BYTES, SAMPLE_ROWS, is_walkable, is_walkable_again, weight

ResultT = TypeVar("ResultT")

#: Rows that are taken from an asynchronous source at a time, if they are light.
BLOCK_ROWS = 1_000

#: Seconds between two tries to interrupt a statement.
RETRY = 0.1


async def in_thread(
    work: Callable[..., ResultT], rows: Any, progress: Callback | None, queryset: Any
) -> ResultT:
    """Do the work of a call with rows that may be asynchronous.

    Cancelled, the work is stopped, and has ended when this returns; or it had not begun, and
    will do nothing.

    Args:
        work: The call, which takes the rows, and ``progress``.
        rows: The rows, as the caller gave them.
        progress: The caller's callback, or None.
        queryset: The queryset that is called.

    Raises:
        OptionError: ``progress`` can't be called.
    """
    check_callback(progress)
    call = _Call(work, rows, progress, queryset)
    ended = asyncio.ensure_future(sync_to_async(call.run)())
    try:
        try:
            await asyncio.wait([ended])  # cancelled itself, it leaves the work alone
        except asyncio.CancelledError:
            await call.stop(ended)
            raise
        result = ended.result()
    except BaseException as error:
        await call.close(error)
        raise
    await call.close()
    return result


class _Stopped(Exception):
    """The call was cancelled."""


class _Call(Generic[ResultT]):
    """A call under way in the thread."""

    def __init__(
        self,
        work: Callable[..., ResultT],
        rows: Any,
        progress: Callback | None,
        queryset: Any,
    ) -> None:
        self.work = work
        self.rows = rows
        self.progress = progress
        self.using = queryset._db or router.db_for_write(queryset.model, **queryset._hints)
        self.source: AsyncIterator[Any] | None = None
        self.block: asyncio.Task[Any] | None = None
        self.begun = False
        self.stopped = False
        self.lock = Lock()
        self.connection: Any = None

    # In the thread ------------------------------------------------------------------------

    def run(self) -> ResultT:
        """Do the work."""
        with self.lock:
            self.check()
            self.begun = True
            self.connection = connections[self.using]
        # An interruption may hit the work's own way back. A transaction of the caller's would not
        # be usable after that, but for a savepoint around it all.
        inside = self.connection.in_atomic_block
        with transaction.atomic(using=self.using) if inside else nullcontext():
            try:
                return self.work(self._watched(), progress=self._told)
            finally:
                with self.lock:
                    self.connection = None

    def check(self) -> None:
        """Stop, if the call was cancelled."""
        if self.stopped:
            raise _Stopped

    def _told(self, count: int, total: int | None) -> None:
        """Tell the caller, and stop, if the call was cancelled."""
        if self.progress is not None:
            self.progress(count, total)
        self.check()

    def _watched(self) -> Any:
        """Return the rows as the work can walk them."""
        rows = self.rows
        if is_table(rows):
            return watched(rows, self.check)
        if isinstance(rows, AsyncIterable) and not isinstance(rows, Iterable):
            return self._pulled()
        if type(rows) in (list, tuple) or not is_walkable(rows):
            return rows  # what is there already is not waited for
        if is_walkable_again(rows):
            return _WatchedCollection(rows, self.check)
        found = _Watched(rows, self.check)
        return found if self.progress is not None else iter(found)  # nobody asks how many

    def _pulled(self) -> Iterator[Any]:
        """Walk the asynchronous rows: each block on the event loop, which this thread waits for."""
        pull = async_to_sync(self._next)
        while block := pull():
            self.check()
            yield from block

    # On the event loop --------------------------------------------------------------------

    async def _next(self) -> list[Any]:
        """Return the next rows; none at the end."""
        if self.source is None:
            self.source = aiter(self.rows)
        self.block = asyncio.current_task()
        block: list[Any] = []
        left = PULL_BYTES
        try:
            while len(block) < BLOCK_ROWS and left > 0:
                self.check()  # each time: the source may have caught what cancels it
                row = await anext(self.source)
                if len(block) % SAMPLE_ROWS == 0:
                    heavy = weight(row)
                left -= heavy
                block.append(row)
        except StopAsyncIteration:
            pass
        finally:
            self.block = None
        return block

    async def stop(self, ended: asyncio.Future[Any]) -> None:
        """Stop the work, and wait until it has ended, however often that is cancelled too.

        Work that still waits for the thread is not waited for.
        """
        with self.lock:
            self.stopped = True
            begun = self.begun
        ended.add_done_callback(_forget)
        if not begun:
            return
        if self.block is not None:
            self.block.cancel()
        loop = asyncio.get_running_loop()
        while not ended.done():
            interrupted = loop.run_in_executor(None, self._interrupt)
            with suppress(asyncio.CancelledError):
                await asyncio.wait([ended], timeout=RETRY)
                await asyncio.wait([interrupted])

    def _interrupt(self) -> None:
        """Cancel the statement that runs, if one does; never one of another call's."""
        with self.lock:
            driver = None if self.connection is None else self.connection.connection
            if driver is not None:
                driver.cancel()

    async def close(self, error: BaseException | None = None) -> None:
        """Have the source clean up.

        Args:
            error: The call's own error, if it has one: an error of the cleaning up is noted there.
        """
        aclose = getattr(self.source, "aclose", None)
        if aclose is None:
            return
        try:
            await aclose()
        except Exception as another:
            if error is None:
                raise
            if sys.version_info >= (3, 11):
                error.add_note(f"closing the rows failed too: {another!r}")


def _forget(ended: asyncio.Future[Any]) -> None:
    """Take the end of work that was stopped; nobody else wants to know how."""
    if not ended.cancelled():
        ended.exception()


class _Watched:
    """Rows that stop when the call is cancelled."""

    def __init__(self, rows: Iterable[Any], check: Callable[[], None]) -> None:
        self.rows = rows
        self.check = check

    def __iter__(self) -> Iterator[Any]:
        check = self.check
        for row in self.rows:
            check()
            yield row

    def __len__(self) -> int:
        return len(self.rows)  # type: ignore[arg-type]  # or the TypeError that it is


class _WatchedCollection(_Watched):
    """Such rows that can be walked again, as a collection can."""

    def __contains__(self, row: object) -> bool:
        return any(row is each for each in self.rows)
