"""Calls from asynchronous code: the rows come from the event loop, the work is a thread's.

The thread is the one in which Django keeps its connections. While it waits for rows, asgiref lets
it do what the rows themselves ask of the database; so the source may query, as a generator may.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from threading import Lock
from typing import Any, Generic, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, router

from .arrow import is_table
from .arrow.source import watched
from .sources import PULL_BYTES, SAMPLE_ROWS, is_walkable, weight

ResultT = TypeVar("ResultT")

#: Rows that are taken from an asynchronous source at a time, if they are light.
BLOCK_ROWS = 1_000

#: Seconds between two tries to interrupt a statement.
RETRY = 0.1


async def in_thread(work: Callable[[Any], ResultT], rows: Any, queryset: Any) -> ResultT:
    """Do the work of a call with rows that may be asynchronous.

    Cancelled, the work is stopped, and has ended when this returns.

    Args:
        work: The call, which takes the rows.
        rows: The rows, as the caller gave them.
        queryset: The queryset that is called.
    """
    call = _Call(work, rows, queryset)
    ended = asyncio.ensure_future(sync_to_async(call.run)())
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        await call.stop(ended)
        raise
    finally:
        if isinstance(call.source, AsyncIterator):
            with suppress(AttributeError):
                await call.source.aclose()  # type: ignore[attr-defined]


class _Stopped(Exception):
    """The call was cancelled."""


class _Call(Generic[ResultT]):
    """A call under way in the thread."""

    def __init__(self, work: Callable[[Any], ResultT], rows: Any, queryset: Any) -> None:
        self.work = work
        self.rows = rows
        self.using = queryset._db or router.db_for_write(queryset.model, **queryset._hints)
        self.source: AsyncIterator[Any] | None = None
        self.block: asyncio.Task[Any] | None = None
        self.stopped = False
        self.lock = Lock()
        self.connection: Any = None

    # In the thread ------------------------------------------------------------------------

    def run(self) -> ResultT:
        """Do the work."""
        with self.lock:
            self.check()
            self.connection = connections[self.using]
        try:
            return self.work(self._watched())
        finally:
            with self.lock:
                self.connection = None

    def check(self) -> None:
        """Stop, if the call was cancelled."""
        if self.stopped:
            raise _Stopped

    def _watched(self) -> Any:
        """Return the rows as the work can walk them."""
        if is_table(self.rows):
            return watched(self.rows, self.check)
        if isinstance(self.rows, AsyncIterable) and not isinstance(self.rows, Iterable):
            return self._pulled()
        return _Watched(self.rows, self.check) if is_walkable(self.rows) else self.rows

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
        self.check()
        block: list[Any] = []
        left = PULL_BYTES
        try:
            while len(block) < BLOCK_ROWS and left > 0:
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
        """Stop the work, and wait until it has ended, however often that is cancelled too."""
        self.stopped = True
        if self.block is not None:
            self.block.cancel()
        loop = asyncio.get_running_loop()
        while not ended.done():
            interrupted = loop.run_in_executor(None, self._interrupt)
            with suppress(asyncio.CancelledError):
                await asyncio.wait([ended], timeout=RETRY)
                await asyncio.wait([interrupted])
        if not ended.cancelled():
            ended.exception()  # it was stopped; nobody else wants to know how

    def _interrupt(self) -> None:
        """Cancel the statement that runs, if one does; never one of another call's."""
        with self.lock:
            driver = None if self.connection is None else self.connection.connection
            if driver is not None:
                driver.cancel()


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
