"""Chunks on their way to a table: each is sent while the next is being encoded."""

from __future__ import annotations

from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Protocol

from ..chunks import Chunk


class Sink(Protocol):
    """What chunks are sent to."""

    def lines(self, chunk: Chunk) -> Any:
        """Return a chunk as it is sent."""

    def copy(self, chunk: Chunk, lines: Any) -> None:
        """Send a chunk; touches nothing but the connection.

        Raises:
            RowError: The server can't take a row of it.
        """

    def complete(self, chunk: Chunk) -> None:
        """Do for a chunk that was sent what is left to do."""


_Works = SimpleQueue[Callable[[], object] | None]
_Ends = SimpleQueue[BaseException | None]


class _Worker:
    """A thread that does one piece of work at a time, in the context of whoever gives it.

    Ctrl-C comes between any two instructions of Python, and threading and its executors hold locks
    there, for which the threads would wait forever. All that is shared here is written in C.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self.stop = stop
        self.works: _Works = SimpleQueue()
        self.ends: _Ends = SimpleQueue()
        self.running = allocate_lock()
        self.running.acquire()
        self.is_known = False

    def do(self, work: Callable[[], object]) -> None:
        """Begin a piece of work."""
        if not self.is_known:
            # Cut short here, it is a thread that nobody waits for, and has nothing to do.
            start_new_thread(_run, (self.works, self.ends, self.running))
            self.is_known = True
        self.works.put(partial(copy_context().run, work))

    def wait(self) -> None:
        """Wait for the end of it, and raise what it raised."""
        error = self.ends.get()
        try:
            if error is not None:
                raise error
        finally:
            del error  # it holds this frame

    def close(self) -> None:
        """End the thread, when it has done its work, which ``stop`` makes it do at once."""
        self.works.put(None)
        cut: BaseException | None = None
        while self.is_known:
            try:
                with self.running:  # which the thread lets go of; so does this, however it ends
                    break
            except BaseException as error:  # noqa: BLE001 (raised when the connection is free)
                cut = error
                self.stop()
        if cut is not None:
            raise cut

    def __del__(self) -> None:
        """End the thread also where Ctrl-C has kept close() from being called."""
        self.works.put(None)


def _run(works: _Works, ends: _Ends, running: LockType) -> None:
    """Do what there is to do: the thread, which keeps none of it alive."""
    while (work := works.get()) is not None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (handed to who waits)
            ends.put(error)
        else:
            ends.put(None)
        del work
    running.release()


class Loading:
    """Sends chunks by a thread of its own.

    Between ``send()`` and ``wait()`` the connection is busy. No code of the caller's may run then,
    since it might query: a generator is pulled, and attributes are read, before ``send()``; a
    field that is not Django's own is asked after ``wait()``. At most two chunks are held.

    Args:
        sink: What they are sent to.
        stop: Ends the statement that sends one.
    """

    def __init__(self, sink: Sink, stop: Callable[[], object]) -> None:
        self.sink = sink
        self.worker = _Worker(stop)
        self.added: tuple[Chunk, Any] | None = None
        self.sent: Chunk | None = None

    def __enter__(self) -> Loading:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.wait()
                if self.added is not None:  # the last one, which nothing goes on beside
                    self.sink.copy(*self.added)
                    self.sink.complete(self.added[0])
            elif isinstance(error, Exception):
                self.wait()  # an error of earlier rows is told instead
        finally:
            self.worker.close()

    def add(self, chunk: Chunk) -> None:
        """Take the next chunk; what was sent before is there when this returns."""
        lines = self.sink.lines(chunk)
        self.wait()
        self.added = chunk, lines

    def send(self) -> None:
        """Start to send the chunk that was added last."""
        if self.added is not None:
            chunk, lines = self.added
            self.worker.do(partial(self.sink.copy, chunk, lines))
            self.sent = chunk
            self.added = None

    def wait(self) -> None:
        """Wait until the connection is free.

        Raises:
            RowError: The server can't read a value of what was sent.
        """
        if self.sent is not None:
            chunk, self.sent = self.sent, None
            self.worker.wait()
            self.sink.complete(chunk)
