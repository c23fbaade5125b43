"""Telling the caller how far a call has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

from asgiref.sync import iscoroutinefunction

from ..errors import OptionError

#: Takes the number of rows so far, and the number of all, or None where that is not known.
Callback: TypeAlias = Callable[[int, "int | None"], object]

#: Seconds between two tellings.
INTERVAL = 0.2


class Progress:
    """Calls the caller's callback, a few times a second at most.

    Attributes:
        is_wanted: Whether there is a callback. Then what a call writes is in a transaction, or a
            savepoint, of its own, and ``done()`` is the last thing in it: what the callback
            raises leaves nothing written.

    Raises:
        OptionError: The callback is none.
    """

    def __init__(self, callback: Callback | None, rows: Any) -> None:
        check_callback(callback)
        self.callback = callback
        self.is_wanted = callback is not None
        self.total = _total(rows) if self.is_wanted else None
        self.count = 0
        self._last = time.monotonic()

    def at(self, count: int) -> None:
        """Tell that so many rows were taken, unless it was told just now."""
        self.count = count
        if self.callback is not None and time.monotonic() - self._last >= INTERVAL:
            self.callback(self.count, self.total)
            self._last = time.monotonic()

    def done(self) -> None:
        """Tell that all rows are written."""
        if self.callback is not None:
            self.callback(self.count, self.total)


class Part(Progress):
    """The progress of some rows of a call, after others; the call itself tells of its end.

    Args:
        whole: The progress of the call.
        before: How many rows were written by earlier parts.
    """

    def __init__(self, whole: Progress, before: int) -> None:
        super().__init__(None, ())
        self.whole = whole
        self.before = before

    def at(self, count: int) -> None:
        """Tell that so many rows of this part were taken, unless it was told just now."""
        self.whole.at(self.before + count)


def check_callback(callback: Any) -> None:
    """Check that something can be called to be told.

    Raises:
        OptionError: It can't.
    """
    if callback is None:
        return
    if not callable(callback):
        raise OptionError(
            "progress takes a callable, to which the number of rows so far and that of all "
            f"are passed, not {type(callback).__name__}"
        )
    if iscoroutinefunction(callback) or iscoroutinefunction(type(callback).__call__):
        raise OptionError(
            "progress is called from the thread that does the work, so it is a plain function, "
            "not a coroutine function"
        )


def _total(rows: Any) -> int | None:
    try:
        return len(rows)
    except TypeError:
        return None
