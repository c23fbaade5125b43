"""Ctrl-C: it ends the statement that runs, rather than wait for it, and spares a commit."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def interruptible(connection: Any) -> Iterator[Callable[[], None]]:
    """Have Ctrl-C cancel the statement that the connection is at.

    While a driver waits for the server, Python's own handler may have to wait as well, so
    that a long statement would be ended by nothing. A thread is told of the signal meanwhile.

    Yields:
        A function after which Ctrl-C does nothing, until the block ends: what is left to do
        must not be half-known, as a commit is, or half-done.
    """
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield lambda: None  # signals are the main thread's; elsewhere pipes are others
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    handler = signal.getsignal(signal.SIGINT)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(connection, read), daemon=True)
    watch.start()
    try:
        yield _ignore
    finally:
        signal.set_wakeup_fd(before)
        os.close(write)
        watch.join()
        os.close(read)
        if handler is not None:
            signal.signal(signal.SIGINT, handler)


def _ignore() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _watch(connection: Any, read: int) -> None:
    while numbers := os.read(read, 64):
        if signal.SIGINT in numbers:
            with suppress(Exception):  # the statement may be over, and the connection gone
                connection.connection.cancel()
