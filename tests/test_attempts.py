"""What another call's timing made fail is undone, and done again."""

import logging
import os
import random
import threading
from contextlib import contextmanager, nullcontext

import pytest
from asgiref.sync import async_to_sync
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import F, Value

from django_bulkupsert import OptionError, RowConstraintError
from django_bulkupsert.driver import diagnostics
from tests.conftest import counts, run_threads, wait_for_lock
from tests.models import Place, Product, Restaurant, TwoKeys

pytestmark = pytest.mark.django_db(transaction=True)


def row(sku, stock=1):
    return {"sku": sku, "name": "x", "stock": stock}


@pytest.fixture
def stored():
    """Two rows."""
    Product.objects.bulk_upsert([row("a"), row("b")], unique_fields=["sku"])


@pytest.fixture
def isolation():
    """Sets the isolation level of the session's transactions."""

    def set_level(level):
        with connection.cursor() as cursor:
            cursor.execute(f"SET default_transaction_isolation = '{level}'")

    yield set_level
    connection.close()


@contextmanager
def beside(*steps):
    """Run steps in a transaction of another session: the first now, each other when one waits."""
    begun, errors = threading.Event(), []

    def work():
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL deadlock_timeout = '60s'")
                for number, step in enumerate(steps):
                    if number:
                        wait_for_lock()
                    step()
                    begun.set()
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            errors.append(error)
            begun.set()
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    yield
    thread.join()
    assert errors == []


@contextmanager
def deadlock():
    """Deadlock with what locks "a" and then "b"; the other session wins."""
    with connection.cursor() as cursor:
        cursor.execute("SET deadlock_timeout = '300ms'")
    with beside(*(lambda sku=sku: add(sku) for sku in "ba")):
        yield


def add(sku):
    Product.objects.filter(sku=sku).update(stock=F("stock") + 100)


def upsert(shape, strategy, **options):
    return Product.objects.bulk_upsert(
        shape([row("a", 2), row("b", 3)]), unique_fields=["sku"], strategy=strategy, **options
    )


def update(shape, strategy, **options):
    rows = [Product(sku="a", stock=2), Product(sku="b", stock=3)]
    return Product.objects.bulk_update(
        shape(rows), ["stock"], match_fields=["sku"], strategy=strategy, **options
    )


def stocks():
    return dict(Product.objects.values_list("sku", "stock"))


@pytest.mark.parametrize("call", [upsert, update])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside"])
def test_a_deadlock_is_tried_again(stored, shape, strategy, call, inside, caplog):
    with deadlock(), transaction.atomic() if inside else nullcontext():
        result = call(shape, strategy)
    assert result.retries == 1
    assert result.updated == 2
    assert stocks() == {"a": 2, "b": 3}
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("django_bulkupsert", logging.WARNING)
    said = record.getMessage()
    assert said.startswith(f"bulk_{call.__name__}() of tests.Product: deadlock detected (40P01), ")
    assert "while writing 2 rows" in said
    assert "trying again, 1 of 5 times" in said


@pytest.mark.parametrize("call", [upsert, update])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside"])
def test_without_retries_a_deadlock_is_raised(stored, shape, strategy, call, inside, caplog):
    with deadlock(), transaction.atomic() if inside else nullcontext():
        with pytest.raises(OperationalError, match="deadlock detected"), transaction.atomic():
            call(shape, strategy, retries=0)
    assert stocks() == {"a": 101, "b": 101}
    assert caplog.records == []


@pytest.mark.parametrize("returning", [None, ["stock"]])
def test_instances_are_told_once(stored, strategy, returning):
    rows = [Product(**row(sku, 7)) for sku in "abc"]
    with deadlock():
        result = Product.objects.bulk_upsert(
            rows, unique_fields=["sku"], strategy=strategy, returning=returning
        )
    assert counts(result) == (1, 2, 0, 0)
    assert result.retries == 1
    assert [each.pk for each in rows] == [Product.objects.get(sku=sku).pk for sku in "abc"]
    assert [each["stock"] for each in result.rows] == ([7, 7, 7] if returning else [])


def test_collecting_tries_again(stored, shape):
    rows = [row("a", 2), row("b", 3), row("c" * 13), row("d", 4)]
    with deadlock():
        result = Product.objects.bulk_upsert(
            shape(rows), unique_fields=["sku"], on_error="collect", skip_unchanged=False
        )
    assert counts(result) == (1, 2, 0, 0)
    assert result.retries == 1
    assert [each.index for each in result.rejected] == [2]


def test_mixed_keys_try_again(stored, shape):
    rows = [row("a", 2), {"sku": "b", "stock": 3}]
    with deadlock():
        result = Product.objects.bulk_upsert(shape(rows), unique_fields=["sku"], mixed_keys=True)
    assert result.retries >= 1
    assert counts(result) == (0, 2, 0, 0)


# A row that two calls bring at once ---------------------------------------------------------


def insert_elsewhere(**values):
    TwoKeys.objects.create(**values)


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside"])
@pytest.mark.parametrize("options", [{}, {"preserve_sequence": True}, {"on_error": "collect"}])
def test_a_row_that_came_first_to_another_index(shape, strategy, inside, options, caplog):
    """ON CONFLICT looks at one index; at the other the row of a call at once is in the way."""
    if options.get("on_error") and strategy != "copy":
        return
    rows = [{"code": "a", "key": 1, "value": 5}, {"code": "b", "key": 2, "value": 5}]
    first = [
        lambda: insert_elsewhere(code="a", key=9),
        lambda: TwoKeys.objects.filter(code="a").update(key=1),
    ]
    with beside(*first), transaction.atomic() if inside else nullcontext():
        result = TwoKeys.objects.bulk_upsert(
            shape(rows), unique_fields=["key"], strategy=strategy, **options
        )
    assert counts(result) == (1, 1, 0, 0)
    assert result.retries == 1
    assert not result.rejected
    stored = TwoKeys.objects.order_by("key").values_list("code", "key", "value")
    assert list(stored) == [("a", 1, 5), ("b", 2, 5)]
    assert "23505" in caplog.text


def test_a_row_that_is_another_is_no_matter_of_time(shape, strategy, caplog):
    insert_elsewhere(code="a", key=9)
    with pytest.raises(RowConstraintError) as caught:
        TwoKeys.objects.bulk_upsert(
            shape([{"code": "b", "key": 1}, {"code": "a", "key": 2}]),
            unique_fields=["key"],
            strategy=strategy,
        )
    assert (caught.value.index, caught.value.field) == (1, "code")
    assert caplog.records == []


def test_what_cannot_be_asked_is_tried_once(strategy, caplog):
    """An index over an expression is not looked into."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX by_value ON tests_twokeys ((value + 1))")
    try:
        insert_elsewhere(code="a", key=9, value=3)
        with pytest.raises(IntegrityError, match="by_value"):
            TwoKeys.objects.bulk_upsert(
                [{"code": "b", "key": 1, "value": 3}, {"code": "c", "key": 2, "value": 4}],
                unique_fields=["key"],
                strategy=strategy,
            )
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX by_value")
    assert len(caplog.records) == 1


# Transactions that go on seeing what they saw first -------------------------------------------

LEVELS = ["repeatable read", "serializable"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("call", [upsert, update])
def test_a_call_that_is_the_transaction_is_run_again(stored, strategy, call, level, isolation):
    isolation(level)
    with beside(lambda: add("a"), lambda: None):
        result = call(list, strategy)
    assert result.retries == 1
    assert stocks() == {"a": 2, "b": 3}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("call", [upsert, update])
@pytest.mark.parametrize(
    ("inside", "kind", "why"),
    [
        (True, list, "the transaction that it is in sees only what was there when that began; "),
        (False, iter, "its rows come from an iterator, which can't be walked again"),
    ],
    ids=["inside", "iterator"],
)
def test_else_the_error_says_why_not(
    stored, strategy, call, level, inside, kind, why, isolation, caplog
):
    if not inside and strategy != "copy":
        return  # one statement, whose rows are held
    isolation(level)
    with beside(lambda: add("a"), lambda: None), pytest.raises(OperationalError) as caught:
        with transaction.atomic() if inside else nullcontext():
            if inside:
                assert Product.objects.count() == 2
            call(kind, strategy)
    said = str(caught.value)
    assert "could not serialize access due to concurrent update" in said
    assert f"bulk_{call.__name__}() of tests.Product was not tried again: " in said
    assert why in said
    assert diagnostics(caught.value).sqlstate == "40001"
    assert stocks() == {"a": 101, "b": 1}
    assert caplog.records == []


@pytest.mark.parametrize("level", LEVELS)
def test_several_statements_are_run_again_together(stored, level, isolation):
    isolation(level)
    rows = [row("a", 2), {"sku": "b", "stock": 3}]
    with beside(lambda: add("b"), lambda: None):
        result = Product.objects.bulk_upsert(rows, unique_fields=["sku"], mixed_keys=True)
    assert (result.retries, counts(result)) == (1, (0, 2, 0, 0))
    assert stocks() == {"a": 2, "b": 3}


@pytest.mark.parametrize("level", LEVELS)
def test_a_model_of_several_tables_is_run_again(level, isolation):
    isolation(level)
    Restaurant(code="a", name="old").save()
    rows = [Restaurant(code=code, name="new") for code in "ab"]
    with beside(lambda: Place.objects.filter(code="a").update(name="other"), lambda: None):
        result = Restaurant.objects.bulk_upsert(rows, unique_fields=["code"])
    assert (result.retries, counts(result)) == (1, (1, 1, 0, 0))
    assert dict(Place.objects.values_list("code", "name")) == {"a": "new", "b": "new"}


# The option ------------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [-1, 1.5, True, None, "3"])
@pytest.mark.parametrize("call", [upsert, update])
def test_an_option_that_is_no_number(call, retries):
    with pytest.raises(OptionError, match="retries is how often to try again, 0 or more, not"):
        call(list, None, retries=retries)


def test_retries_give_up(stored, monkeypatch, caplog):
    """As often as was asked for, and each waits longer, at most."""
    waits = []
    monkeypatch.setattr("django_bulkupsert.engine.attempts.sleep", waits.append)
    monkeypatch.setattr("django_bulkupsert.engine.attempts.random.uniform", lambda _, most: most)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE 'once more' USING ERRCODE = 'deadlock_detected'; END$$;"
            "CREATE TRIGGER fails BEFORE UPDATE ON tests_product EXECUTE FUNCTION fails()"
        )
    try:
        with pytest.raises(OperationalError, match="once more"):
            upsert(list, "unnest", retries=3)
        assert waits == [0.02, 0.04, 0.08]
        assert len(caplog.records) == 3
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION fails CASCADE")


def test_a_primary_key_that_two_calls_bring(shape, strategy):
    """The primary key's index is one that ON CONFLICT doesn't look at either."""
    with connection.cursor() as cursor:
        # So that a new row comes to the primary key's first, and waits there.
        cursor.execute("ALTER TABLE tests_twokeys DROP CONSTRAINT tests_twokeys_key_key")
        cursor.execute("ALTER TABLE tests_twokeys ADD UNIQUE (key)")
    first = [
        lambda: insert_elsewhere(id=7, code="z", key=9),
        lambda: TwoKeys.objects.filter(id=7).update(key=1),
    ]
    with beside(*first):
        result = TwoKeys.objects.bulk_upsert(
            shape([{"id": 7, "code": "a", "key": 1}, {"id": 8, "code": "b", "key": 2}]),
            unique_fields=["key"],
            strategy=strategy,
        )
    assert (counts(result), result.retries) == ((1, 1, 0, 0), 1)
    with pytest.raises(RowConstraintError) as caught:
        TwoKeys.objects.bulk_upsert(
            shape([{"id": 9, "code": "x", "key": 8}, {"id": 8, "code": "y", "key": 9}]),
            unique_fields=["key"],
            strategy=strategy,
        )
    assert (caught.value.index, caught.value.field) == (1, "id")


def test_a_primary_key_that_was_drawn_is_no_matter_of_time(strategy, caplog):
    insert_elsewhere(id=1, code="a", key=1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval(pg_get_serial_sequence('tests_twokeys', 'id'), 1, false)")
    with pytest.raises(IntegrityError, match="pkey"):
        TwoKeys.objects.bulk_upsert(
            [{"code": "b", "key": 2}, {"code": "c", "key": 3}],
            unique_fields=["key"],
            strategy=strategy,
        )
    assert caplog.records == []


# What is no matter of time, and what can't be told ----------------------------------------------

AT_ONCE = [
    lambda: insert_elsewhere(code="a", key=9),
    lambda: TwoKeys.objects.filter(code="a").update(key=1),
]


@pytest.mark.parametrize("level", ["read committed", *LEVELS])
@pytest.mark.parametrize("mixed", [False, True])
def test_collecting_rejects_no_row_for_another_calls_timing(level, mixed, isolation):
    """One row, which could be told from all of the rows no better than from itself."""
    isolation(level)
    with beside(*AT_ONCE):
        result = TwoKeys.objects.bulk_upsert(
            [{"code": "a", "key": 1, "value": 5}],
            unique_fields=["key"],
            on_error="collect",
            mixed_keys=mixed,
        )
    assert (counts(result), list(result.rejected), result.retries) == ((0, 1, 0, 0), [], 1)
    assert TwoKeys.objects.get().value == 5


def test_a_column_that_is_not_updated(strategy):
    """Another row has the code that a matched row brings, but doesn't write."""
    insert_elsewhere(code="o", key=5)
    insert_elsewhere(code="p", key=6)
    rows = [{"code": "a", "key": 1, "value": 5}, {"code": "p", "key": 5, "value": 5}]
    with beside(*AT_ONCE):
        result = TwoKeys.objects.bulk_upsert(
            rows, unique_fields=["key"], update_fields=["value"], strategy=strategy
        )
    assert (counts(result), result.retries) == ((0, 2, 0, 0), 1)


def test_an_assigned_value_that_is_taken(strategy, caplog):
    insert_elsewhere(code="a", key=1)
    insert_elsewhere(code="taken", key=2)
    with pytest.raises(IntegrityError, match="code_key"):
        TwoKeys.objects.bulk_upsert(
            [{"code": "x", "key": 1}, {"code": "y", "key": 3}],
            unique_fields=["key"],
            update_fields={"code": Value("taken")},
            strategy=strategy,
        )
    assert len(caplog.records) == 1


def test_matched_by_any_fields(strategy):
    """No index arbitrates, so the key's own is one that calls at once meet at."""
    size = 4
    barrier, lock, retries = threading.Barrier(size), threading.Lock(), [0]

    def writer(seed):
        chance = random.Random(seed)

        def work():
            for turn in range(8):
                barrier.wait(60)
                keys = chance.sample(range(200), 80)
                result = Product.objects.bulk_upsert(
                    [{"sku": f"{turn}-{key}", "stock": 1} for key in keys],
                    match_fields=["sku"],
                    strategy=strategy,
                )
                assert result.written + result.unchanged == 80
                with lock:
                    retries[0] += result.retries

        return work

    assert run_threads(*map(writer, range(size))) == []
    assert retries[0] > 0


@pytest.mark.parametrize("retries", [0, 5])
def test_a_question_that_is_not_allowed(retries):
    """The caller's transaction stays usable, and the error is the row's."""
    insert_elsewhere(code="a", key=9)
    role = f"bulk_columns_{os.getpid()}"  # roles are the server's, not the database's
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role};"
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};"
            f"GRANT SELECT (id, key, value, xmax), INSERT, UPDATE ON tests_twokeys TO {role};"
            f"SET ROLE {role}"
        )
    try:
        with transaction.atomic():
            with pytest.raises(IntegrityError, match="code_key"):
                TwoKeys.objects.bulk_upsert(
                    [{"code": "a", "key": 2, "value": 1}],
                    unique_fields=["key"],
                    update_fields=["value"],
                    retries=retries,
                )
            assert TwoKeys.objects.filter(key=9).count() == 1
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


def test_locks_of_the_callers_transaction(stored, caplog):
    """What the other waits for isn't given back by a savepoint: it is tried once."""
    with deadlock(), pytest.raises(OperationalError, match="deadlock"), transaction.atomic():
        Product.objects.filter(sku="a").update(stock=7)
        Product.objects.bulk_upsert([row("b", 3)], unique_fields=["sku"])
    assert len(caplog.records) == 1


@pytest.mark.parametrize("kind", ["view of a dict", "queryset"])
def test_async_calls_are_run_again(kind, isolation):
    isolation("repeatable read")
    rows = {1: {"code": "a", "key": 1, "value": 5}, 2: {"code": "b", "key": 2, "value": 5}}
    given = rows.values()
    if kind == "queryset":
        Product.objects.bulk_create([Product(sku="a", stock=1), Product(sku="b", stock=2)])
        names = {"code": F("sku"), "key": F("stock"), "value": Value(5)}
        given = Product.objects.order_by("sku").values(**names)

    async def work():
        return await TwoKeys.objects.abulk_upsert(given, unique_fields=["key"], strategy="copy")

    with beside(*AT_ONCE):
        result = async_to_sync(work)()
    assert (counts(result), result.retries) == ((1, 1, 0, 0), 1)


# A stored row that is deleted ------------------------------------------------------------------

LENT = {"returning": {"returning": ["stock"]}, "counts": {}, "collected": {"on_error": "collect"}}


def upsert_name(strategy, **options):
    if options.get("on_error") == "collect":
        strategy = None
    return Product.objects.bulk_upsert(
        [{"sku": "a", "name": "new"}, {"sku": "c", "name": "new"}],
        unique_fields=["sku"],
        strategy=strategy,
        **options,
    )


@contextmanager
def deleted_beside():
    """The stored row "a" is deleted while a call that has seen it waits for it."""
    Product.objects.create(sku="a", name="old", stock=777, price=5)
    with beside(lambda: Product.objects.filter(sku="a").delete(), lambda: None):
        yield


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside"])
@pytest.mark.parametrize("options", LENT.values(), ids=LENT)
def test_what_a_deleted_row_held_does_not_come_back(strategy, inside, options, caplog):
    """A new row has the defaults, not what the one held that was there before."""
    with deleted_beside(), transaction.atomic() if inside else nullcontext():
        result = upsert_name(strategy, **options)
    assert (result.retries, counts(result)) == (1, (2, 0, 0, 0))
    for product in Product.objects.all():
        assert (product.name, product.stock, product.price) == ("new", 0, None)
    assert [row.values["stock"] for row in result.rows] == (
        [0, 0] if options.get("returning") else []
    )
    (record,) = caplog.records
    assert "deleted meanwhile" in record.message


def test_one_deleted_row(strategy):
    """The same where a row stands in the statement itself."""
    with deleted_beside():
        result = Product.objects.bulk_upsert(
            [{"sku": "a", "name": "new"}], unique_fields=["sku"], strategy=strategy
        )
    assert (result.retries, counts(result)) == (1, (1, 0, 0, 0))
    assert Product.objects.get().stock == 0


@pytest.mark.parametrize("options", LENT.values(), ids=LENT)
def test_without_retries_a_deleted_row_is_an_error(strategy, options):
    """It says what to do, and nothing is written."""
    with deleted_beside(), pytest.raises(OperationalError) as caught:
        upsert_name(strategy, retries=0, **options)
    assert str(caught.value).startswith("bulk_upsert() of tests.Product was writing 2 rows")
    assert str(caught.value).endswith(
        "another transaction (or a trigger) deleted a row that it was to update; nothing of it was "
        "written; run it again"
    )
    assert not Product.objects.exists()


@pytest.mark.parametrize("level", LEVELS)
def test_a_deleted_row_under_one_snapshot(strategy, level, isolation):
    """Where a transaction goes on seeing the row, all of it is run again."""
    isolation(level)
    with deleted_beside():
        result = upsert_name(strategy)
    assert (result.retries, counts(result)) == (1, (2, 0, 0, 0))
    assert set(Product.objects.values_list("name", "stock")) == {("new", 0)}


def test_many_rows_beside_a_deleted_one(shape):
    """As many as are staged, of which some are there, and some are not."""
    Product.objects.bulk_copy([{"sku": f"{i}", "stock": i} for i in range(3_000)])
    rows = [{"sku": f"{i}", "name": "new"} for i in range(1_500, 4_500)]
    rows.append({"sku": "a", "name": "new"})
    with deleted_beside():
        result = Product.objects.bulk_upsert(shape(rows), unique_fields=["sku"])
    assert (result.retries, counts(result)) == (1, (1_501, 1_500, 0, 0))
    assert Product.objects.get(sku="a").stock == 0
    assert Product.objects.get(sku="2999").stock == 2_999


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "iterator"])
def test_a_deleted_row_is_not_tried_again_for_a_reason(inside, isolation):
    """Where only all of a transaction could be run again, the error says so, and why."""
    isolation("repeatable read")
    rows = [{"sku": f"{number}", "name": "new"} for number in range(2_400)]
    rows.append({"sku": "a", "name": "new"})
    why = "run the whole transaction again" if inside else "its rows come from an iterator"
    with deleted_beside(), pytest.raises(OperationalError, match=why) as caught:
        with transaction.atomic() if inside else nullcontext():
            if inside:
                assert Product.objects.count() == 1
            Product.objects.bulk_upsert(iter(rows), unique_fields=["sku"])
    assert "deleted a row" in str(caught.value)
    assert "run it again" not in str(caught.value)
    assert not Product.objects.exists()
