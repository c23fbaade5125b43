"""Connections that aren't the call's own: pgbouncer, pools, cursors that are wrapped."""

import getpass
import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

import django
import pytest
from django.db import connection, connections, transaction
from django.db.backends.postgresql.psycopg_any import is_psycopg3
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import DuplicateKeysError, RowValueError
from tests.conftest import counts, run_threads
from tests.models import Product
from tests.trust.servers import user

pytestmark = pytest.mark.django_db(transaction=True)


def rows(count=3_000, stock=1):
    return [{"sku": f"{i:06}", "name": "x", "stock": stock} for i in range(count)]


def every_call(strategy, stock=1):
    """Make each call, and one that fails."""
    upsert = Product.objects.bulk_upsert
    assert upsert(rows(stock=stock), unique_fields=["sku"], strategy=strategy).written == 3_000
    with transaction.atomic():
        again = upsert(iter(rows(stock=stock + 1)), unique_fields=["sku"], strategy=strategy)
        assert counts(again) == (0, 3_000, 0, 0)
    objs = list(Product.objects.order_by("sku"))
    for each in objs:
        each.stock = stock + 2
    assert Product.objects.bulk_update(objs, ["stock"], strategy=strategy) == 3_000
    with pytest.raises(RowValueError):
        upsert([*rows(), {**rows(1)[0], "sku": "x" * 13}], unique_fields=["sku"], strategy=strategy)
    with pytest.raises(DuplicateKeysError):
        upsert(rows() * 2, unique_fields=["sku"], strategy=strategy)
    assert Product.objects.filter(stock=stock + 2).count() == 3_000
    new = [{**row, "sku": f"n{row['sku']}"} for row in rows(10)]
    assert Product.objects.bulk_copy(new) == 10
    Product.objects.filter(sku__startswith="n").delete()


# pgbouncer -------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="session")
def pgbouncer(tmp_path_factory):
    """Start a pgbouncer before the server, in transaction mode; return where it listens."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("there is no pgbouncer here; Debian's package is called so")
    folder, port = Path(tmp_path_factory.mktemp("pgbouncer")), free_port()
    given = connections["default"].get_connection_params()
    server = {
        "host": given.get("host", "127.0.0.1"),
        "port": given.get("port", 5432),
        "user": given.get("user") or getpass.getuser(),
    }
    if given.get("password"):
        server["password"] = given["password"]
    written = " ".join(f"{name}={value}" for name, value in server.items())
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = {written}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = 3\n"
        f"ignore_startup_parameters = extra_float_digits,options\nlogfile = {folder}/log\n"
    )
    owner = user()
    if owner is not None:
        for path in (*folder.parents, folder):
            if path.stat().st_uid == os.getuid() and path.is_relative_to(folder.parents[1]):
                path.chmod(0o755)
        shutil.chown(folder, owner)
    process = subprocess.Popen([program, "-q", folder / "pgbouncer.ini"], user=owner)
    for _ in range(100):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    else:
        process.kill()
        pytest.fail(f"pgbouncer did not start: {(folder / 'log').read_text()}")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    yield port, tuple(map(int, version.stdout.split()[1].split(".")[:2]))
    process.terminate()
    process.wait()


@pytest.fixture(params=["unprepared", "bound", "prepared"])
def through_pgbouncer(request, transactional_db, pgbouncer):
    """The test's connections go through pgbouncer, with prepared statements and without."""
    port, version = pgbouncer
    settings = connection.settings_dict
    if request.param != "unprepared" and not is_psycopg3:
        pytest.skip("only psycopg 3 has the server bind parameters")
    if request.param == "prepared" and version < (1, 21):
        pytest.skip(
            f"this pgbouncer, {version[0]}.{version[1]}, knows of no prepared statements; 1.21 does"
        )
    before = dict(settings)
    connection.close()
    options = {name: value for name, value in settings["OPTIONS"].items() if name != "host"}
    settings |= {"HOST": "127.0.0.1", "PORT": port, "DISABLE_SERVER_SIDE_CURSORS": True}
    settings["OPTIONS"] = options
    if request.param != "unprepared":
        options["server_side_binding"] = True
    if request.param == "prepared":
        options["prepare_threshold"] = 0
    connection.features.__dict__.pop("uses_server_side_binding", None)
    yield
    connection.close()
    settings |= before
    connection.features.__dict__.pop("uses_server_side_binding", None)


def test_calls_through_pgbouncer(through_pgbouncer, strategy):
    every_call(strategy)


def test_writers_through_pgbouncer(through_pgbouncer, strategy):
    """More of them than pgbouncer has sessions at the server, in and out of transactions."""

    def writer(seed):
        chance = random.Random(seed)

        def work():
            for turn in range(8):
                given = chance.sample(rows(400, turn), 200)
                inside = chance.random() < 0.5
                if inside:
                    with transaction.atomic():
                        result = Product.objects.bulk_upsert(
                            given, unique_fields=["sku"], strategy=strategy
                        )
                else:
                    result = Product.objects.bulk_upsert(
                        given, unique_fields=["sku"], strategy=strategy
                    )
                assert result.total == 200

        return work

    assert run_threads(*map(writer, range(6))) == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relname LIKE 'bulkupsert%'")
        assert cursor.fetchall() == []


# Pools -----------------------------------------------------------------------------------------


@pytest.fixture
def pool(transactional_db):
    """Connections from a pool of psycopg's, which Django 5.1 knows."""
    if not is_psycopg3 or django.VERSION < (5, 1):
        pytest.skip("a pool needs psycopg 3 and Django 5.1")
    pytest.importorskip("psycopg_pool")
    options = connection.settings_dict["OPTIONS"]
    connection.close()
    options["pool"] = {"min_size": 1, "max_size": 3}
    yield
    connection.close()
    connection.close_pool()
    del options["pool"]


def test_calls_from_a_pool(pool, strategy):
    for turn in range(3):
        every_call(strategy, stock=10 * turn)
        connection.close()  # and back into the pool it goes


def test_what_goes_back_into_the_pool_is_clean(pool):
    def fails():
        for number in range(3):
            with pytest.raises(ZeroDivisionError):
                Product.objects.bulk_upsert(
                    (rows(1)[0] if i < 2_500 else 1 / 0 for i in range(3_000)),
                    unique_fields=["sku"],
                )
            connection.close()
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_class WHERE relnamespace = pg_my_temp_schema()")
                assert cursor.fetchall() == []
            assert number < 3

    assert run_threads(fails, fails, fails) == []


# Cursors that are wrapped ------------------------------------------------------------------------


class Proxy:
    """A cursor as tools that watch applications wrap it: all but what they know passes through."""

    def __init__(self, cursor, seen):
        self._cursor, self._seen = cursor, seen

    def execute(self, sql, params=None):
        self._seen.append(str(sql))
        return self._cursor.execute(sql, params)

    def executemany(self, sql, params):
        return self._cursor.executemany(sql, params)

    def __getattr__(self, name):
        return getattr(self._cursor, name)

    def __iter__(self):
        return iter(self._cursor)

    def __enter__(self):
        self._cursor.__enter__()
        return self

    def __exit__(self, *error):
        return self._cursor.__exit__(*error)


def test_a_cursor_behind_a_proxy(transactional_db, strategy, monkeypatch):
    seen: list[str] = []
    made = connection.cursor
    monkeypatch.setattr(connection, "cursor", lambda *args: Proxy(made(*args), seen))
    every_call(strategy)
    assert any("INSERT INTO" in sql for sql in seen)
    assert any("UPDATE" in sql for sql in seen)


def test_execute_wrappers_see_every_statement(transactional_db, strategy):
    seen: list[str] = []

    def wrapper(execute, sql, params, many, context):
        seen.append(sql)
        assert context["connection"].alias == "default"
        return execute(f"/* request 7 */ {sql}", params, many, context)

    with connection.execute_wrapper(wrapper):
        every_call(strategy)
    assert any("ON CONFLICT" in sql for sql in seen)


def test_queries_are_told(transactional_db, strategy):
    with CaptureQueriesContext(connection) as queries:
        every_call(strategy)
    told = [query["sql"] for query in queries]
    assert any("ON CONFLICT" in sql for sql in told)
    assert any(sql.startswith('COPY "tests_product"') for sql in told)
    staged = [sql for sql in told if sql.startswith("COPY pg_temp.")]
    assert bool(staged) == (strategy == "copy")
