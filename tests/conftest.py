"""What every test may ask for: each relation, each shape of input, each kind of row."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from django.db import connection
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from django_bulkupsert import server

#: The three relations, by the name that forces each.
STRATEGIES = ["values", "unnest", "copy"]


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> str:
    """Every relation in turn."""
    return request.param


@pytest.fixture(params=["list", "generator"])
def shape(request: pytest.FixtureRequest) -> Callable[[list[Any]], Any]:
    """A list, and a generator that can be walked once."""
    if request.param == "list":
        return list
    return lambda rows: (row for row in rows)


@pytest.fixture(params=["instances", "mappings", "sequences"])
def kind(request: pytest.FixtureRequest) -> Callable[..., tuple[list[Any], dict[str, Any]]]:
    """Turns dicts into rows of each kind, and the keywords that go with them."""

    def instances(model: Any, rows: list[dict[str, Any]]) -> tuple[list[Any], dict[str, Any]]:
        return [model(**row) for row in rows], {}

    def mappings(model: Any, rows: list[dict[str, Any]]) -> tuple[list[Any], dict[str, Any]]:
        return rows, {}

    def sequences(model: Any, rows: list[dict[str, Any]]) -> tuple[list[Any], dict[str, Any]]:
        return [tuple(row.values()) for row in rows], {"fields": list(rows[0])}

    return {"instances": instances, "mappings": mappings, "sequences": sequences}[request.param]


@pytest.fixture
def image(db: None) -> Callable[..., list[str]]:
    """Return a table's rows as the server prints them, in order of a column."""

    def rows(model: Any, by: str = "key", *, without: tuple[str, ...] = ("id",)) -> list[str]:
        names = ", ".join(
            connection.ops.quote_name(field.column)
            for field in model._meta.concrete_fields
            if field.name not in without
        )
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT ROW({names})::text FROM {connection.ops.quote_name(model._meta.db_table)}"
                f" ORDER BY {connection.ops.quote_name(model._meta.get_field(by).column)}"
            )
            return [row[0] for row in cursor.fetchall()]

    return rows


@pytest.fixture
def tables(db: None) -> Iterator[Callable[[str], None]]:
    """Run SQL that makes tables for the models that Django does not manage."""

    def run(sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    return run


@pytest.fixture
def temporary_tables(db: None) -> Callable[[], list[str]]:
    """Return the names of the temporary tables that this session has."""

    def names() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'"
            )
            return [row[0] for row in cursor.fetchall()]

    return names


@pytest.fixture
def server_side_binding(transactional_db):
    """A connection whose parameters the server binds."""
    if not is_psycopg3:
        pytest.skip("only psycopg 3 has the server bind parameters")
    options = connection.settings_dict["OPTIONS"]
    connection.close()
    options["server_side_binding"] = True
    connection.features.__dict__.pop("uses_server_side_binding", None)
    yield
    connection.close()
    del options["server_side_binding"]
    connection.features.__dict__.pop("uses_server_side_binding", None)


def counts(result) -> tuple[int, int, int, int]:
    """Return how many rows were created, updated, unchanged and skipped."""
    return result.created, result.updated, result.unchanged, result.skipped


def run_threads(*works) -> list[BaseException]:
    """Run each in a thread with a connection of its own; return the errors."""
    errors: list[BaseException] = []

    def guarded(work):
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def wait_for_threads(count: int) -> None:
    """Wait until no more than so many are left; one may take a moment to end."""
    over = time.monotonic() + 60
    while _thread._count() > count:
        assert time.monotonic() < over
        time.sleep(0.01)


def wait_for_lock() -> None:
    """Wait until a session of this database waits for a lock, and goes on waiting."""
    before: set[int] = set()
    for _ in range(1000):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # kept for a transaction
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                "AND backend_type = 'client backend' AND wait_event_type = 'Lock'"
            )
            waiting = {pid for (pid,) in cursor.fetchall()}
        if waiting & before:
            return
        before = waiting
        time.sleep(0.02)
    raise AssertionError("nobody waits for a lock")


@pytest.fixture
def no_locks(db, monkeypatch):
    """A server with Citus's catalog, at which locking rows fails as it does over shards.

    The errors are the server's own, in the transaction at hand.
    """
    for known in ("_locks", "_citus"):  # of a server that nothing is known of
        monkeypatch.setattr(server, known, WeakKeyDictionary())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL allow_system_table_mods = on")
        cursor.execute("CREATE TABLE pg_catalog.pg_dist_partition (x int)")
    refused: list[str] = []
    codes = ["0A000"]

    def wrapper(execute, sql, params, many, context):
        if "FOR NO KEY UPDATE" in sql:
            refused.append(sql)
            sql = f"DO $$ BEGIN RAISE 'can not lock' USING ERRCODE = '{codes[0]}'; END $$"
            params = None
        return execute(sql, params, many, context)

    wrapper.refused, wrapper.codes = refused, codes
    with connection.execute_wrapper(wrapper):
        yield wrapper
