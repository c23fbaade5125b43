"""Statements that take too long, roles that may not, and what a call leaves in its session."""

import logging
from contextlib import suppress

import pytest
from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)

from django_bulkupsert import CsvRows, MissingConstraintError, OptionError, server
from django_bulkupsert.driver import diagnostics
from tests.conftest import counts, run_threads
from tests.models import Product

ROWS = 3_000


def rows(count=ROWS):
    return [{"sku": f"{i:05}", "name": "x", "stock": i} for i in range(count)]


def run(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def settings():
    """Return what the session has set."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, setting FROM pg_settings WHERE source = 'session' ORDER BY name"
        )
        return cursor.fetchall()


def left_behind():
    """Return the temporary tables, open transactions and prepared statements of the session."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r' "
            "AND pg_table_is_visible(oid)"
        )
        return cursor.fetchall()


@pytest.fixture
def slow(transactional_db):
    """Each row that is written takes a while."""
    run(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_sleep(0.2); RETURN NEW; END$$;"
        "CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON tests_product "
        "FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    yield
    run("RESET ALL; DROP FUNCTION slow CASCADE")
    connection.close()


def calls(strategy):
    few = rows(3)
    many = (row for row in rows())
    return {
        "upsert": (
            "writing 3 rows",
            lambda: Product.objects.bulk_upsert(few, unique_fields=["sku"], strategy=strategy),
        ),
        "stream": (
            "writing 3,000 rows from its staging table",
            lambda: Product.objects.bulk_upsert(many, unique_fields=["sku"]),
        ),
        "update": (
            "writing 3 rows",
            lambda: Product.objects.bulk_update(
                [Product(**row) for row in few], ["stock"], match_fields=["sku"], strategy=strategy
            ),
        ),
        "copy": ("copying, 3 rows so far", lambda: Product.objects.bulk_copy(few)),
    }


@pytest.mark.parametrize("call", ["upsert", "stream", "update", "copy"])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside"])
def test_a_timeout_says_what_the_call_was_doing(slow, strategy, call, inside):
    Product.objects.bulk_create([Product(sku="00001", stock=7)])
    run("SET statement_timeout = '100ms'")
    before = settings()
    doing, work = calls(strategy)[call]
    if strategy == "copy" and call in ("upsert", "update"):
        doing += " from its staging table"
    with pytest.raises(OperationalError) as caught, transaction.atomic():
        if inside:
            work()
        else:
            with transaction.atomic():
                work()
    said = str(caught.value)
    assert "canceling statement due to statement timeout" in said
    assert f"of tests.Product was {doing}; nothing of it was written" in said.splitlines()[-1]
    assert caught.value.__cause__ is not None
    assert settings() == before
    run("SET statement_timeout = 0")
    assert left_behind() == []
    assert list(Product.objects.values_list("sku", "stock")) == [("00001", 7)]


@pytest.mark.parametrize("call", ["upsert", "stream", "update"])
def test_a_lock_that_takes_too_long(transactional_db, strategy, call):
    Product.objects.bulk_upsert(rows(3), unique_fields=["sku"])
    Product.objects.update(stock=7)
    run("SET lock_timeout = '100ms'")
    doing, work = calls(strategy)[call]
    errors = []

    def wait():
        run("SET lock_timeout = '100ms'")
        try:
            work()
        except OperationalError as error:
            errors.append(str(error))

    with transaction.atomic():
        Product.objects.update(stock=8)
        assert run_threads(wait) == []
    (said,) = errors
    assert "canceling statement due to lock timeout" in said
    assert f"was {doing}" in said
    run("SET lock_timeout = 0")


def test_a_timeout_while_rows_are_sent(transactional_db):
    """A value that takes the server long to read."""
    run(
        "CREATE FUNCTION slow_check(text) RETURNS boolean LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_sleep(0.05); RETURN true; END$$;"
        "CREATE DOMAIN slow_text AS varchar(20) CHECK (slow_check(VALUE));"
        "ALTER TABLE tests_product ALTER name TYPE slow_text"
    )
    try:
        run("SET statement_timeout = '200ms'")
        with pytest.raises(OperationalError) as caught:
            Product.objects.bulk_upsert(iter(rows()), unique_fields=["sku"])
        assert "was loading its staging table" in str(caught.value)
        assert "CONTEXT" not in str(caught.value)  # it has the value
        run("SET statement_timeout = 0")
        assert left_behind() == []
        assert not Product.objects.exists()
    finally:
        run("SET statement_timeout = 0; ALTER TABLE tests_product ALTER name TYPE varchar(20)")
        run("DROP DOMAIN slow_text; DROP FUNCTION slow_check")


# What a role may not do ------------------------------------------------------------------------


@pytest.fixture
def role(db):
    """Makes the session one of a role that may do only what is granted."""

    def become(*grants):
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            database = connection.ops.quote_name(cursor.fetchone()[0])
        run("CREATE ROLE bulk_tester")
        run("GRANT USAGE ON SCHEMA public TO bulk_tester")
        run("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO bulk_tester")
        for grant in grants:
            run(f"GRANT {grant} ON tests_product TO bulk_tester")
        server._stages.clear()
        return database

    yield become
    run("RESET ROLE")
    server._stages.clear()


@pytest.fixture
def no_temporary_tables(role):
    """A role that may write, but make no temporary tables."""
    database = role("SELECT, INSERT, UPDATE")
    run(f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC")
    run("SET ROLE bulk_tester")


def many(shape, count=ROWS, **changes):
    return shape([{**row, **changes} for row in rows(count)])


def test_rows_are_not_staged_where_that_is_not_allowed(no_temporary_tables, shape, caplog):
    result = Product.objects.bulk_upsert(many(shape), unique_fields=["sku"])
    assert counts(result) == (ROWS, 0, 0, 0)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("django_bulkupsert", logging.WARNING)
    assert "GRANT TEMPORARY ON DATABASE" in record.getMessage()
    changed = rows()
    changed[7]["stock"] = -1
    result = Product.objects.bulk_upsert(shape(changed), unique_fields=["sku"], strategy="copy")
    assert counts(result) == (0, 1, ROWS - 1, 0)
    objs = list(Product.objects.all())
    for each in objs:
        each.stock += 1
    assert Product.objects.bulk_update(shape(objs), ["stock"]) == ROWS
    assert Product.objects.filter(stock=0, sku="00007").exists()
    assert len(caplog.records) == 1  # once for a connection


def test_what_an_unstaged_call_tells(no_temporary_tables, shape):
    """Instances, rows that come back, duplicates, and expressions, of many chunks."""
    objs = [Product(**row) for row in rows(12_000)]
    result = Product.objects.bulk_upsert(
        shape(objs), unique_fields=["sku"], returning=["stock"], batch_size=1_000
    )
    assert counts(result) == (12_000, 0, 0, 0)
    assert [each["stock"] for each in result.rows] == list(range(12_000))
    assert len({each.pk for each in objs}) == 12_000
    again = [*rows(5_000), {**rows(1)[0], "stock": 9}]
    result = Product.objects.bulk_upsert(
        shape(again), unique_fields=["sku"], duplicates="last", batch_size=1_000
    )
    assert counts(result) == (0, 1, 4_999, 1)
    with pytest.raises(DatabaseError, match="00000"):
        Product.objects.bulk_upsert(shape(again), unique_fields=["sku"], batch_size=1_000)


def test_files_are_not_staged_either(no_temporary_tables, tmp_path):
    path = tmp_path / "products.csv"
    path.write_text(
        "sku,name,stock\n" + "".join(f"{i:05},x,{i}\n" for i in range(ROWS))
    )  # fmt: skip
    assert counts(Product.objects.bulk_upsert(CsvRows(path), unique_fields=["sku"])) == (
        ROWS, 0, 0, 0,
    )  # fmt: skip


def test_more_than_a_statement_carries(no_temporary_tables, monkeypatch):
    monkeypatch.setattr("django_bulkupsert.engine.call.MOST_HELD", 10_000)
    with pytest.raises(OptionError, match="characters are too many for one statement"):
        Product.objects.bulk_upsert(many(iter), unique_fields=["sku"])


def test_collecting_needs_to_stage(no_temporary_tables):
    with pytest.raises(ProgrammingError) as caught, transaction.atomic():
        Product.objects.bulk_upsert(rows(3), unique_fields=["sku"], on_error="collect")
    assert "TEMPORARY on the database" in str(caught.value)


@pytest.mark.parametrize(
    ("grants", "call", "needs"),
    [
        ("SELECT, INSERT", "upsert", "SELECT and INSERT, and UPDATE if it may update"),
        ("INSERT, UPDATE", "upsert", "SELECT and INSERT, and UPDATE if it may update"),
        ("SELECT, UPDATE", "stream", "SELECT and INSERT, and UPDATE if it may update"),
        ("SELECT, INSERT", "update", "SELECT and UPDATE"),
        ("SELECT, UPDATE", "copy", "INSERT"),
    ],
)
def test_a_privilege_that_is_missing(role, strategy, grants, call, needs):
    role(grants)
    run("SET ROLE bulk_tester")
    _, work = calls(strategy)[call]
    with pytest.raises(ProgrammingError) as caught, transaction.atomic():
        work()
    first, *_, last = str(caught.value).splitlines()
    assert first == "permission denied for table tests_product"
    assert f"on the table it needs {needs}, " in last
    assert type(caught.value) is ProgrammingError
    run("RESET ROLE")
    assert not Product.objects.exists()


def test_the_privilege_to_lock_a_table(role, strategy):
    """To insert is not enough for that."""
    role("SELECT, INSERT")
    words = {"unique_fields": ["sku"], "ignore_conflicts": True, "strategy": strategy}
    run("SET ROLE bulk_tester")
    with pytest.raises(ProgrammingError) as caught, transaction.atomic():
        Product.objects.bulk_upsert(rows(3), lock="table", **words)
    assert "and UPDATE if it may update, or for lock='table', and" in str(caught.value)
    assert Product.objects.bulk_upsert(rows(3), **words).created == 3
    run("RESET ROLE")


@pytest.mark.parametrize("call", ["upsert", "stream", "update", "copy"])
def test_a_transaction_that_is_read_only(transactional_db, strategy, call):
    _, work = calls(strategy)[call]
    with pytest.raises(DatabaseError) as caught, transaction.atomic():
        run("SET TRANSACTION READ ONLY")
        work()
    assert "read-only transaction" in str(caught.value)
    last = str(caught.value).splitlines()[-1]
    assert last.endswith("the transaction is read-only, or the server is a standby")
    assert left_behind() == []
    assert not Product.objects.exists()


# Tables that are none ------------------------------------------------------------------------


def test_rows_that_a_policy_keeps_out(role, strategy):
    role("SELECT, INSERT, UPDATE")
    run(
        "ALTER TABLE tests_product ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY few ON tests_product TO bulk_tester USING (stock < 2)"
    )
    run("SET ROLE bulk_tester")
    with pytest.raises(ProgrammingError) as caught, transaction.atomic():
        Product.objects.bulk_upsert(rows(3), unique_fields=["sku"], strategy=strategy)
    assert "row-level security policy" in str(caught.value).splitlines()[0]
    assert "policies that let the rows through" in str(caught.value)
    assert not Product.objects.exists()
    kept = Product.objects.bulk_upsert(rows(2), unique_fields=["sku"], strategy=strategy)
    assert counts(kept) == (2, 0, 0, 0)


@pytest.fixture
def in_place_of_the_table(db):
    """Puts something else under the table's name, after a call that has looked at it."""

    def put(sql):
        Product.objects.bulk_upsert(rows(1), unique_fields=["sku"])
        Product.objects.all().delete()
        run("ALTER TABLE tests_product RENAME TO tests_kept")
        run(sql)

    return put


def test_a_view_of_one_table_is_written_through(in_place_of_the_table, strategy):
    in_place_of_the_table("CREATE VIEW tests_product AS SELECT * FROM tests_kept")
    objects = Product.objects
    assert counts(objects.bulk_upsert(rows(3), unique_fields=["sku"], strategy=strategy)) == (
        3, 0, 0, 0,
    )  # fmt: skip
    again = objects.bulk_upsert(rows(4), unique_fields=["sku"], strategy=strategy)
    assert counts(again) == (1, 0, 3, 0)


def test_a_view_is_known_after_one_error_at_most(in_place_of_the_table):
    """Before PostgreSQL 18 the table is known to be one; without retries that is an error, once."""
    in_place_of_the_table("CREATE VIEW tests_product AS SELECT * FROM tests_kept")
    words = {"unique_fields": ["sku"], "retries": 0}
    with suppress(ProgrammingError), transaction.atomic():
        Product.objects.bulk_upsert(rows(3), **words)
    Product.objects.bulk_upsert(rows(3), **words)
    assert Product.objects.count() == 3


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("CREATE VIEW tests_product AS SELECT DISTINCT * FROM tests_kept", "cannot insert into"),
        (
            "CREATE MATERIALIZED VIEW tests_product AS SELECT * FROM tests_kept",
            "has no unique constraint",
        ),
    ],
)
def test_a_view_that_cannot_be_written(in_place_of_the_table, strategy, sql, said):
    in_place_of_the_table(sql)
    with pytest.raises(DatabaseError, match=said), transaction.atomic():
        Product.objects.bulk_upsert(
            rows(3), unique_fields=["sku"], strategy=strategy, ignore_conflicts=True
        )


def test_a_view_with_a_trigger_in_its_place(in_place_of_the_table, strategy):
    in_place_of_the_table(
        "CREATE VIEW tests_product AS SELECT * FROM tests_kept;"
        "CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;"
        "CREATE TRIGGER put INSTEAD OF INSERT ON tests_product "
        "FOR EACH ROW EXECUTE FUNCTION put()"
    )
    with pytest.raises(MissingConstraintError), transaction.atomic():
        Product.objects.bulk_upsert(rows(3), unique_fields=["sku"], strategy=strategy)


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
def test_a_rule_that_does_otherwise(db, strategy, event):
    run(f"CREATE RULE otherwise AS ON {event} TO tests_product DO INSTEAD NOTHING")
    with pytest.raises(DatabaseError, match="rule") as caught, transaction.atomic():
        Product.objects.bulk_upsert(rows(3), unique_fields=["sku"], strategy=strategy)
    assert caught.value.__cause__ is not None
    assert not Product.objects.exists()


@pytest.fixture
def foreign(transactional_db):
    """The table is a foreign one, of another session of the same server."""
    try:
        run("CREATE EXTENSION postgres_fdw")
    except DatabaseError:
        pytest.skip("the server was built without postgres_fdw")
    given = connection.get_connection_params()
    host, port = given.get("host", "127.0.0.1"), given.get("port", 5432)
    run("ALTER TABLE tests_product RENAME TO tests_kept")
    run(
        "CREATE SERVER beside FOREIGN DATA WRAPPER postgres_fdw "
        f"OPTIONS (host '{host}', port '{port}', dbname '{connection.settings_dict['NAME']}')"
    )
    run(f"CREATE USER MAPPING FOR CURRENT_USER SERVER beside OPTIONS (user '{given['user']}')")
    run(
        "CREATE FOREIGN TABLE tests_product (id bigint NOT NULL, sku varchar(12), "
        "name varchar(20), stock integer, price numeric(8, 2), created timestamptz, "
        "updated timestamptz) SERVER beside OPTIONS (table_name 'tests_kept')"
    )
    yield
    run("DROP EXTENSION postgres_fdw CASCADE; ALTER TABLE tests_kept RENAME TO tests_product")


def test_a_foreign_table(foreign, strategy):
    objects = Product.objects
    new = [{"id": n, **row} for n, row in enumerate(rows(3))]
    assert objects.bulk_copy(new) == 3
    with (
        pytest.raises(MissingConstraintError, match="has no unique constraint"),
        transaction.atomic(),
    ):
        objects.bulk_upsert(rows(3), unique_fields=["sku"], strategy=strategy)
    objs = list(objects.order_by("sku"))
    for each in objs:
        each.stock = 9
    assert objects.bulk_update(objs, ["stock"], strategy=strategy) == 3
    assert set(objects.values_list("stock", flat=True)) == {9}


def test_a_constraint_whose_error_is_an_internal_one(db, strategy):
    """As of a shard's, by COPY."""
    run(
        "CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE "
        "'duplicate key value violates unique constraint \"sku_102091\"' "
        "USING ERRCODE = 'XX000'; END$$;"
        "CREATE TRIGGER refuses BEFORE INSERT ON tests_product "
        "FOR EACH ROW EXECUTE FUNCTION refuses()"
    )
    with pytest.raises(IntegrityError, match="sku_102091") as caught, transaction.atomic():
        Product.objects.bulk_copy(rows(3))
    assert diagnostics(caught.value).sqlstate == "XX000"
    assert str(caught.value).count("\n") == 0  # without what the DETAIL and CONTEXT hold


# What is said of errors ------------------------------------------------------------------------


def test_an_error_of_the_rows_own_queries_is_theirs(db):
    """What the caller's generator asks is no statement of the call's."""

    def asks():
        yield rows(1)[0]
        run("DO $$BEGIN RAISE 'not for you' USING ERRCODE = '42501'; END$$")

    with pytest.raises(ProgrammingError) as caught, transaction.atomic():
        Product.objects.bulk_upsert(asks(), unique_fields=["sku"])
    assert "bulk_upsert()" not in str(caught.value)


def test_an_error_class_of_the_callers_own(db):
    class Mine(OperationalError):
        def __init__(self, a, b):
            super().__init__(a, b)

    def breaks():
        yield rows(1)[0]
        try:
            run("DO $$BEGIN RAISE 'not for you' USING ERRCODE = '57014'; END$$")
        except DatabaseError as error:
            raise Mine(1, 2) from error.__cause__

    with pytest.raises(Mine), transaction.atomic():
        Product.objects.bulk_upsert(breaks(), unique_fields=["sku"])


def test_errors_before_the_first_statement_are_djangos(transactional_db):
    """In a transaction that is broken, and on a connection that the server has closed."""
    server._stages.clear()
    with pytest.raises(DatabaseError), transaction.atomic():
        with pytest.raises(DatabaseError):
            run("SELECT 1 / 0")
        Product.objects.bulk_upsert(rows(), unique_fields=["sku"])
    server._stages.clear()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    assert run_threads(lambda: run(f"SELECT pg_terminate_backend({pid})")) == []
    with pytest.raises(OperationalError):
        Product.objects.bulk_upsert(rows(), unique_fields=["sku"])
    connection.close()


def test_a_role_that_changes(role, caplog):
    """The first call of the other role is refused, and says why; the next one isn't staged."""
    Product.objects.bulk_upsert(rows(), unique_fields=["sku"])
    database = role("SELECT, INSERT, UPDATE")
    Product.objects.bulk_upsert(rows(), unique_fields=["sku"])
    run(f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC; SET ROLE bulk_tester")
    with pytest.raises(ProgrammingError, match="TEMPORARY on the database"), transaction.atomic():
        Product.objects.bulk_upsert(rows(), unique_fields=["sku"])
    assert counts(Product.objects.bulk_upsert(rows(), unique_fields=["sku"])) == (0, 0, ROWS, 0)
    assert len(caplog.records) == 1


def test_a_sequence_that_may_not_be_used(role):
    role("SELECT, INSERT, UPDATE")
    run("REVOKE USAGE ON ALL SEQUENCES IN SCHEMA public FROM bulk_tester; SET ROLE bulk_tester")
    objs = [Product(**row) for row in rows(3)]
    with pytest.raises(ProgrammingError, match="USAGE on a sequence"), transaction.atomic():
        Product.objects.bulk_upsert(objs, unique_fields=["sku"], preserve_sequence=True)


SECRET = "hunter2"


def test_no_value_is_in_a_message(db, strategy):
    """Nor in one of the server's; its DETAIL and CONTEXT are the cause's."""
    run("CREATE UNIQUE INDEX by_name ON tests_product (lower(name))")
    Product.objects.bulk_upsert([{"sku": "a", "name": SECRET}], unique_fields=["sku"])
    with pytest.raises(IntegrityError, match="by_name") as caught, transaction.atomic():
        Product.objects.bulk_upsert(
            [{"sku": "b", "name": SECRET}, {"sku": "c", "name": "n"}],
            unique_fields=["sku"],
            strategy=strategy,
        )
    assert SECRET not in str(caught.value)
    assert SECRET in str(caught.value.__cause__)
    assert diagnostics(caught.value).sqlstate == "23505"
