"""The rows of a call on their way to a table, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from django.db import connections

from ..chunks import Chunk
from ..errors import RowError, counted
from ..ours import is_last
from ..plans.base import Plan
from ..relations import CHUNK_ROWS, Loading, Sink, slots_of
from ..rows import Rows
from ..transactions import atomic
from .attempts import Attempts
from .progress import Progress

PlanT = TypeVar("PlanT", bound=Plan)


class Sending(Generic[PlanT]):
    """A call's plan and its rows, and how they are sent."""

    #: What goes on while rows are sent, for messages.
    loads = "loading its staging table"

    def __init__(self, plan: PlanT, source: Rows, progress: Progress, attempts: Attempts) -> None:
        self.plan = plan
        self.source = source
        self.progress = progress
        self.attempts = attempts
        self.connection = connections[plan.connection.alias]
        self.commits = False
        self.slots = source.reader.keep("slots", partial(slots_of, source.reader))
        self.chunk_rows = CHUNK_ROWS

    @property
    def checks(self) -> bool:
        """Whether what is deferred to the commit is checked at the call's end, which comes next."""
        return self.commits or is_last()

    def take(self, chunk: Chunk) -> None:
        """See a chunk before it is sent."""

    def load(self, sink: Sink, rows: Sequence[Any] = ()) -> None:
        """Send all of the input, chunk by chunk; each is encoded while the last one is sent.

        Args:
            sink: What it is sent to.
            rows: The rows that were pulled already.
        """
        source = self.source
        source.allow_verbatim()
        with Loading(sink, self.connection.connection.cancel) as loading:
            while True:
                # What runs no code of the caller's, which might query, goes on beside the sending.
                if source.source.is_held:
                    loading.send()
                rows = rows or source.pull(self.chunk_rows)
                if not rows:
                    break
                rows, left = self._split(rows)
                if source.reader.is_plain(rows):
                    loading.send()
                else:
                    loading.wait()
                with self.telling(rows, loading.wait):
                    block = source.read(rows)
                    loading.send()
                    chunk = source.encode(block, loading.wait)
                self.take(chunk)
                loading.add(chunk)  # and the connection is free
                self.attempts.doing = f"{self.loads}, {counted(source.count)} so far"
                self.progress.at(source.count)
                rows = left

    @contextmanager
    def telling(self, rows: Any, pause: Callable[[], None] | None = None) -> Iterator[None]:
        """Have an error of rows that are read and encoded be that of the first bad one.

        Args:
            rows: The rows.
            pause: Called before they are read again.
        """
        try:
            yield
        except RowError as error:
            if pause is not None:
                pause()
            found = self.source.first_fault(rows, error)
            raise found from found.__cause__

    def _split(self, rows: Any) -> tuple[Any, Any]:
        """Return the rows of one chunk, and what is left of those that were pulled."""
        count, most = len(rows), self.chunk_rows
        if count <= most:
            return rows, ()
        picked = self.source.source.picked
        return picked(rows, range(most)), picked(rows, range(most, count))

    def _transaction(self) -> AbstractContextManager[Any]:
        """Return what runs a block in a transaction; it is noted whether its end is the commit."""
        self.commits = self.connection.get_autocommit()
        return self._atomic()

    def _atomic(self) -> AbstractContextManager[Any]:
        return atomic(self.connection.alias)
