"""Telling the caller how far a call has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from django.db import transaction

from ..errors import OptionError

#: Takes the number of rows so far, and the number of all, or None where that is not known.
Callback: TypeAlias = Callable[[int, "int | None"], object]

#: Seconds between two tellings.
INTERVAL = 0.2


class Progress:
    """Calls the caller's callback, a few times a second at most.

    Attributes:
        before: How many rows were written by earlier parts of the call.
    """

    def __init__(self, callback: Callback | None, rows: Any) -> None:
        if callback is not None and not callable(callback):
            raise OptionError(
                "progress takes a callable, to which the number of rows so far and that of all "
                f"are passed, not one {type(callback).__name__}"
            )
        self.callback = callback
        self.total = _total(rows) if callback is not None else None
        self.before = 0
        self.count = 0
        self._last = time.monotonic()

    def at(self, count: int) -> None:
        """Tell that so many rows of this part were taken, unless it was told just now."""
        self.count = self.before + count
        if self.callback is not None and time.monotonic() - self._last >= INTERVAL:
            self.callback(self.count, self.total)
            self._last = time.monotonic()

    def done(self) -> None:
        """Tell that all rows are written."""
        if self.callback is not None:
            self.callback(self.count, self.total)


def _total(rows: Any) -> int | None:
    try:
        return len(rows)
    except TypeError:
        return None


@contextmanager
def reported(callback: Callback | None, rows: Any, using: str) -> Iterator[Progress]:
    """Tell of a call; what the callback raises leaves nothing written.

    Args:
        callback: The callback, or None.
        rows: The rows.
        using: The database's alias.

    Raises:
        OptionError: The callback is none.
    """
    progress = Progress(callback, rows)
    if callback is None:
        yield progress
        return
    with transaction.atomic(using=using):
        yield progress
        progress.done()
