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
from collections.abc import Callable, Iterable, Iterator
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
        self.all: set[int] = set()
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
            self.all.add(self.last)
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


def check(found: Iterable[tuple[int, str, int]], acknowledged: set[int]) -> int:
    """Check that what a call has written is whole; return the last edition that is there."""
    editions: dict[int, dict[str, int]] = {}
    for edition, name, count in found:
        editions.setdefault(edition, {})[name] = count
    last = max(editions)
    assert last >= max(acknowledged), f"{max(acknowledged)} is lost: {last} is the last"
    for edition, names in editions.items():
        expected = ROWS if edition == last else ROWS // 2  # the next one took the others
        assert sum(names.values()) == expected, f"edition {edition}: {names}"
        assert len(names) == 1, f"edition {edition} is half updated: {names}"
        if edition in acknowledged:
            assert str(edition) in names, f"an update of edition {edition} is lost"
    return last


def stored() -> list[tuple[int, str, int]]:
    """Return how many rows each edition has, by their names."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT stock, name, count(*) FROM tests_product GROUP BY 1, 2")
        return cursor.fetchall()


def stored_at(url: str) -> list[tuple[int, str, int]]:
    """Return the same of another server."""
    asked = subprocess.run(
        [sys.executable, "-m", "tests.trust.client", "ask", url],
        check=True,
        stdout=subprocess.PIPE,
    )
    return [(edition, name, count) for edition, name, count in json.loads(asked.stdout)]


def kill(client: Client) -> None:
    client.process.send_signal(signal.SIGKILL)


def terminate(_client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name = %s AND datname = current_database()",
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
    halves, acknowledged = 0, set()
    for turn in range(times):
        with client(STRATEGIES[turn % 3], url) as writer:
            start = time.perf_counter()
            writer.wait()
            time.sleep(chance.uniform(0, time.perf_counter() - start))
            end(writer)
            said = writer.end()
            assert end is kill or "terminating connection" in said or "closed" in said, said
        quiet()
        acknowledged |= writer.all
        halves += check(stored(), acknowledged) == writer.last
    assert halves or times < 10
    tell(
        "killed in the middle of a call",
        request.node.callspec.id,
        f"{times} times, upserts and updates of {ROWS:,} rows",
        f"0 half-written, 0 commits lost; {halves} calls undone",
    )
    assert Product.objects.exists()


def migrate(url: str) -> None:
    """Make the tables of the tests on another server."""
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--skip-checks", "-v", "0"],
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        check=True,
    )


def test_servers(size, chance, tell):
    """A server that stops at once recovers what was committed, and nothing else."""
    times, acknowledged = size(5, 1), set()
    found = binaries()
    if not found:
        pytest.skip("there is no server's program here to be run")
    version, programs = list(found.items())[-1]
    with running(programs) as server:
        migrate(server.url)
        for turn in range(times):
            with client(STRATEGIES[turn % 3], server.url) as writer:
                start = time.perf_counter()
                writer.wait()
                time.sleep(chance.uniform(0, time.perf_counter() - start))
                server.crash()
                writer.end()
                server.start()
            acknowledged |= writer.all
            check(stored_at(server.url), acknowledged)
    tell(
        "killed in the middle of a call",
        f"immediate stop of the server, {version}",
        f"{times} times, upserts and updates of {ROWS:,} rows",
        "0 half-written, 0 commits lost",
    )


def test_standby():
    """A standby refuses, and says why; nothing is written."""
    found = binaries()
    if not found:
        pytest.skip("there is no server's program here to be run")
    with running(list(found.values())[-1]) as server:
        migrate(server.url)
        server.stand_by()
        for strategy in STRATEGIES:
            command = [sys.executable, "-m", "tests.trust.client", strategy, server.url]
            ran = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
            assert ran.returncode
            last = ran.stderr.strip().splitlines()[-1]
            assert last == (
                "bulk_upsert() of tests.Product: the transaction is read-only, or the server is a "
                "standby"
            )
        assert stored_at(server.url) == []
