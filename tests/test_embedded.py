"""The embedded server stops with the last process that uses it, whatever ends that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent
START = """
import signal, sys
from pathlib import Path
from testproject import embedded
# What a shell has a job in the background ignore is not ignored here.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
embedded.ROOT = Path(sys.argv[1])
print(embedded.database_url(), flush=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a server's data in it."""
    folder = tmp_path_factory.mktemp("embedded")
    started(folder, "").communicate(timeout=60)
    return folder


def started(folder: Path, then: str) -> subprocess.Popen:
    """Run a process that starts the server, and then does more."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", START + then, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )


def servers(folder: Path) -> list[int]:
    """Return the servers that run on the folder's data."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if any(str(folder) in part for part in process.info["cmdline"] or ())
        and "postgres" in (process.info["cmdline"] or [""])[0]
    ]


def gone(folder: Path) -> bool:
    """Whether no server is left, soon."""
    for _ in range(300):
        if not servers(folder):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("then", ["", "raise ValueError", "sys.exit(3)"])
def test_stops_at_the_end(folder, then):
    """The server is gone when the process has ended, well or not."""
    process = started(folder, then)
    assert "postgresql://" in process.communicate(timeout=60)[0]
    assert gone(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stops_at_a_signal(folder, number):
    """Ctrl-C, a kill and a closed terminal stop it too."""
    process = started(folder, "import time; time.sleep(60)")
    assert "postgresql://" in process.stdout.readline()
    assert servers(folder)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert gone(folder)


@pytest.mark.parametrize("delay", [0.1, 0.25, 0.4, 0.6])
def test_stops_at_a_signal_while_it_starts(folder, delay):
    """A signal in the middle of the start leaves no server, and the next start works."""
    process = started(folder, "import time; time.sleep(60)")
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert gone(folder)
    assert "postgresql://" in started(folder, "").communicate(timeout=60)[0]


def test_outlives_the_first_of_two(folder):
    """The server stays as long as one process uses it."""
    first = started(folder, "import time; time.sleep(60)")
    assert "postgresql://" in first.stdout.readline()
    started(folder, "").communicate(timeout=60)
    assert servers(folder)
    first.terminate()
    first.communicate(timeout=30)
    assert gone(folder)


def test_killed_processes_are_forgotten(folder):
    """After a kill -9 the next process takes the server over, and stops it."""
    first = started(folder, "import time; time.sleep(60)")
    assert "postgresql://" in first.stdout.readline()
    first.kill()
    first.communicate(timeout=30)
    assert servers(folder)
    started(folder, "").communicate(timeout=60)
    assert gone(folder)


def test_half_made_data_is_made_anew(tmp_path):
    """Data that a killed start left half made does not stand in the way."""
    version = os.environ.get("PGSERVER_POSTGRES_VERSION", "18")
    half = tmp_path / ".postgres" / f"{version}-{os.getuid()}"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text(f"{version}\n")
    out, err = started(tmp_path, "").communicate(timeout=60)
    assert "postgresql://" in out, err
    assert gone(tmp_path)
