"""Chunks on their way to a table: each is sent while the next is being encoded."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
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


class Loading:
    """Sends chunks by a thread of its own.

    Between ``send()`` and ``wait()`` the connection is busy. No code of the caller's may run then,
    since it might query: a generator is pulled, and attributes are read, before ``send()``; a
    field that is not Django's own is asked after ``wait()``. At most two chunks are held.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.thread = ThreadPoolExecutor(1, "django_bulkupsert")
        self.added: tuple[Chunk, Any] | None = None
        self.sent: tuple[Chunk, Future[None]] | None = None
        self.is_running = False

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
            self.thread.shutdown()

    def add(self, chunk: Chunk) -> None:
        """Take the next chunk; what was sent before is there when this returns."""
        lines = self.sink.lines(chunk)
        self.wait()
        self.added = chunk, lines

    def send(self) -> None:
        """Start to send the chunk that was added last."""
        if self.added is not None:
            chunk, lines = self.added
            if not self.is_running:
                # First it starts: Ctrl-C in the midst of that leaves a thread that nobody waits
                # for, which must not be sending.
                self.thread.submit(int).result()
                self.is_running = True
            self.sent = chunk, self.thread.submit(self.sink.copy, chunk, lines)
            self.added = None

    def wait(self) -> None:
        """Wait until the connection is free.

        Raises:
            RowError: The server can't read a value of what was sent.
        """
        if self.sent is not None:
            chunk, future = self.sent
            self.sent = None
            future.result()
            self.sink.complete(chunk)
