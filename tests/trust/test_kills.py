"""Clients, sessions and servers that die in the middle of a call: it is whole, or not there."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlencode

import pytest
from django.db import connection

from tests.models import Product
from tests.trust.client import ROWS
from tests.trust.servers import binaries, running

pytestmark = pytest.mark.django_db(transaction=True)

#: How the server knows the sessions of clients.
NAME = "bulk upsert trial"

STRATEGIES = ["unnest", "copy", "values"]


def own_url() -> str:
    """Return the URL of the test's own database."""
    given = connection.get_connection_params()
    words = {name: given[name] for name in ("host", "port") if given.get(name)}
    user, password = (quote(given.get(name) or "") for name in ("user", "password"))
    return f"postgres://{user}:{password}@/{connection.settings_dict['NAME']}?{urlencode(words)}"


class Client:
    """A process that writes; ``editions`` are those that it said are written."""

    def __init__(self, strategy: str, url: str) -> None:
        self.editions: queue.Queue[int] = queue.Queue()
        self.last = 0
        command = [sys.executable, "-m", "tests.trust.client", strategy, url]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PGAPPNAME": NAME},
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.last = int(line)
            self.editions.put(self.last)

    def wait(self) -> int:
        """Wait for the next edition to be written."""
        return self.editions.get(timeout=60)

    def end(self) -> str:
        """Wait until the process has ended; return what it said of an error."""
        self.reader.join(60)
        return self.process.stderr.read()


@contextmanager
def client(strategy: str, url: str) -> Iterator[Client]:
    made = Client(strategy, url)
    try:
        made.wait()
        yield made
    finally:
        made.process.kill()
        made.reader.join()
        made.process.stdout.close()
        made.process.stderr.close()
        made.process.wait()


def check(editions: dict[int, int], acknowledged: int) -> int:
    """Check that each edition is whole, but for what the next one took; return the last."""
    last = max(editions)
    assert last >= acknowledged, f"edition {acknowledged} is lost: {last} is the last"
    for edition, count in editions.items():
        assert count == (ROWS if edition == last else ROWS // 2), f"edition {edition}: {count} rows"
    return last


def stored() -> dict[int, int]:
    """Return how many rows each edition has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT stock, count(*) FROM tests_product GROUP BY 1")
        return dict(cursor.fetchall())


def editions_at(url: str) -> dict[int, int]:
    """Return how many rows each edition has, at another server."""
    asked = subprocess.run(
        [sys.executable, "-m", "tests.trust.client", "ask", url],
        check=True,
        stdout=subprocess.PIPE,
    )
    return {int(edition): count for edition, count in json.loads(asked.stdout).items()}


def kill(client: Client) -> None:
    client.process.send_signal(signal.SIGKILL)


def terminate(_client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name = %s",
            [NAME],
        )
        assert cursor.fetchone()[0] == 1


def quiet() -> None:
    """Wait until all other sessions are gone."""
    for _ in range(1_000):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [NAME]
            )
            if not cursor.fetchone()[0]:
                return
        time.sleep(0.01)
    raise AssertionError("a session of a process that was killed lives on")


@pytest.mark.parametrize("end", [kill, terminate], ids=["kill -9", "pg_terminate_backend"])
def test_clients_and_sessions(end: Callable[[Client], None], size, chance, tell, request):
    times = size(40, 3)
    url = own_url()
    halves = 0
    for turn in range(times):
        with client(STRATEGIES[turn % 3], url) as writer:
            start = time.perf_counter()
            writer.wait()
            time.sleep(chance.uniform(0, time.perf_counter() - start))
            end(writer)
            said = writer.end()
            assert end is kill or "terminating connection" in said or "closed" in said, said
        quiet()
        before = writer.last
        halves += check(stored(), before) == before
    tell(
        "killed in the middle of a call",
        request.node.callspec.id,
        f"{times} times, calls of {ROWS:,} rows",
        f"0 half-written, 0 commits lost; {halves} calls undone",
    )
    assert Product.objects.exists()


def test_servers(size, chance, tell):
    """A server that stops at once recovers what was committed, and nothing else."""
    times = size(5, 1)
    found = binaries()
    if not found:
        pytest.skip("there is no server's program here to be run")
    version, programs = list(found.items())[-1]
    with running(programs) as server:
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--skip-checks", "-v", "0"],
            env={
                **os.environ,
                "DATABASE_URL": server.url,
                "DJANGO_SETTINGS_MODULE": "tests.settings",
            },
            check=True,
        )
        for turn in range(times):
            with client(STRATEGIES[turn % 3], server.url) as writer:
                start = time.perf_counter()
                writer.wait()
                time.sleep(chance.uniform(0, time.perf_counter() - start))
                server.crash()
                writer.end()
                server.start()
            check(editions_at(server.url), writer.last)
    tell(
        "killed in the middle of a call",
        f"immediate stop of the server, {version}",
        f"{times} times, calls of {ROWS:,} rows",
        "0 half-written, 0 commits lost",
    )
