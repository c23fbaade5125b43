"""All or nothing, on the right database, and nothing left behind."""

from __future__ import annotations

import _thread
import json
import threading
from unittest import mock

import pytest
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import DuplicateKeysError, RowConstraintError, RowError

from .conftest import run_threads, wait_for_threads
from .models import City, Clocks, Code, Country, Everything, Nosy, Product

ROWS = [{"sku": f"{i:03}", "stock": i} for i in range(50)]


@pytest.mark.django_db(transaction=True)
class TestAutocommit:
    def test_one_statement_is_one_query(self, django_assert_num_queries):
        """Outside a transaction a small call is one query, and commits."""
        with django_assert_num_queries(1):
            Product.objects.bulk_upsert(ROWS, unique_fields=["sku"])
        assert Product.objects.count() == 50

    @pytest.mark.parametrize("strategy", ["values", "unnest", "copy"])
    def test_nothing_is_half_written(self, strategy, temporary_tables):
        """A row that fails takes the whole call with it; the connection is usable."""
        Code.objects.create(code="y", value=1)
        rows = [{"code": "x", "value": 1}, {"code": "z", "value": None}]
        with pytest.raises(IntegrityError):
            Code.objects.bulk_upsert(rows, strategy=strategy)
        assert Code.objects.count() == 1
        assert temporary_tables() == []

    @pytest.mark.parametrize("kind", [list, iter])
    @pytest.mark.parametrize("strategy", ["values", "unnest", "copy"])
    def test_a_foreign_key_names_its_row(self, strategy, kind, temporary_tables):
        """What Django has checked at the commit is told of its row, and nothing is written."""
        country = Country.objects.create(code="DE")
        City.objects.create(name="there", country=country)
        rows = [
            {"name": "a", "country_id": country.pk},
            {"name": "there", "country_id": None},
            {"name": "b", "country_id": country.pk + 1},
        ]
        with pytest.raises(RowConstraintError) as caught:
            City.objects.bulk_upsert(kind(rows), unique_fields=["name"], strategy=strategy)
        assert (caught.value.index, caught.value.field) == (2, "country")
        assert caught.value.reason == "no row of tests.Country has this key"
        assert City.objects.get().country == country
        assert temporary_tables() == []
        # A row that is there keeps its key, so that what is given for it is not asked for.
        rows[2]["name"] = "there"
        del rows[1]
        result = City.objects.bulk_upsert(
            kind(rows), unique_fields=["name"], ignore_conflicts=True, strategy=strategy
        )
        assert result.created == 1

    def test_what_is_deferred_by_the_caller_stays_so(self):
        """In a transaction of the caller's a parent may still come."""
        with transaction.atomic():
            City.objects.bulk_upsert(
                [{"name": "a", "country_id": 7}], unique_fields=["name"], strategy="copy"
            )
            Country.objects.create(pk=7, code="DE")
        assert City.objects.get().country_id == 7

    @pytest.mark.parametrize("strategy", ["values", "unnest", "copy"])
    def test_both_halves_or_none(self, strategy):
        """Rows with and without a primary key are two statements of one transaction."""
        Product.objects.create(sku="taken")
        rows = [Product(pk=900, sku="a"), Product(sku="taken")]
        with pytest.raises(IntegrityError):
            Product.objects.bulk_upsert(rows, strategy=strategy)
        assert Product.objects.count() == 1

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_error_in_the_generator(self, error, temporary_tables):
        """An exception in the caller's generator goes through, and nothing stays."""

        def rows():
            for i in range(8_000):
                yield {"sku": f"{i}"}
            raise error

        with pytest.raises(error):
            Product.objects.bulk_upsert(rows(), unique_fields=["sku"])
        assert not Product.objects.exists()
        assert temporary_tables() == []
        assert connection.get_autocommit()

    def test_no_temporary_table_is_left(self, temporary_tables):
        """The staging table is gone with the call."""
        Product.objects.bulk_upsert(ROWS, unique_fields=["sku"], strategy="copy")
        assert temporary_tables() == []

    @pytest.mark.parametrize("rows", [100, 7_000])
    def test_generator_that_reads_the_same_connection(self, rows):
        """A generator may query the connection that its rows are written through."""
        Clocks.objects.bulk_upsert(({"key": i} for i in range(rows)), unique_fields=["key"])
        source = (
            {"sku": str(clock.key), "stock": Clocks.objects.filter(key=clock.key).count()}
            for clock in Clocks.objects.iterator(chunk_size=500)
        )
        assert Product.objects.bulk_upsert(source, unique_fields=["sku"]).created == rows

    def test_autocommit_off(self):
        """With autocommit off the caller commits."""
        transaction.set_autocommit(False)
        try:
            for strategy in ("unnest", "copy"):
                Product.objects.bulk_upsert(ROWS, unique_fields=["sku"], strategy=strategy)
            with pytest.raises(DuplicateKeysError):
                Product.objects.bulk_upsert(ROWS * 2, unique_fields=["sku"])
            assert Product.objects.count() == 50
            transaction.rollback()
            assert Product.objects.count() == 0
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("strategy", ["values", "unnest", "copy"])
class TestInATransaction:
    def test_rolled_back_with_the_callers(self, strategy):
        """Inside atomic the rows stand and fall with it."""
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Product.objects.bulk_upsert(ROWS, unique_fields=["sku"], strategy=strategy)
            1 / 0
        assert not Product.objects.exists()

    def test_in_a_savepoint(self, strategy):
        """Inside a nested atomic too."""
        with transaction.atomic():
            Product.objects.bulk_upsert(ROWS[:10], unique_fields=["sku"], strategy=strategy)
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                Product.objects.bulk_upsert(ROWS, unique_fields=["sku"], strategy=strategy)
                1 / 0
        assert Product.objects.count() == 10

    @pytest.mark.parametrize("bad", [{"sku": "x" * 13}, {"sku": None}, {"sku": "000"}])
    def test_the_callers_transaction_goes_on(self, strategy, bad):
        """An error can be caught inside the caller's transaction, which goes on."""
        with transaction.atomic():
            Product.objects.create(sku="kept")
            rows = [{"sku": "000"}, bad]
            with pytest.raises((RowError, DuplicateKeysError)):
                Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
            Product.objects.create(sku="kept too")
        assert set(Product.objects.values_list("sku", flat=True)) == {"kept", "kept too"}

    def test_many_calls_leave_no_table(self, strategy, temporary_tables):
        """Calls in one long transaction do not heap up staging tables."""
        with transaction.atomic():
            for row in ROWS[:5]:
                Product.objects.bulk_upsert([row], unique_fields=["sku"], strategy=strategy)
            assert temporary_tables() == []
        assert Product.objects.count() == 5


@pytest.mark.django_db(databases=["default", "other"])
class TestDatabases:
    def test_using(self, strategy):
        """using() names the database, and the instances know it."""
        rows = [Product(sku="a")]
        with CaptureQueriesContext(connections["other"]) as queries:
            Product.objects.using("other").bulk_upsert(
                rows, unique_fields=["sku"], strategy=strategy
            )
        assert len(queries) > 0
        assert rows[0]._state.db == "other"

    def test_db_manager(self):
        """So does db_manager()."""
        rows = [Product(sku="a")]
        Product.objects.db_manager("other").bulk_upsert(rows)
        assert rows[0]._state.db == "other"

    def test_write_router(self, settings):
        """Without using(), the router's database for writing is asked."""
        settings.DATABASE_ROUTERS = ["tests.test_transactions.WriteToOther"]
        rows = [Product(sku="a")]
        Product.objects.bulk_upsert(rows)
        assert rows[0]._state.db == "other"


class WriteToOther:
    """Reads here, writes there."""

    def db_for_read(self, model, **hints):
        return DEFAULT_DB_ALIAS

    def db_for_write(self, model, **hints):
        return "other"


# Concurrency -------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("strategies", [["unnest"], ["copy"], ["values", "unnest", "copy", None]])
def test_overlapping_writers_do_not_deadlock(strategies):
    """Writers that shuffle the same hot rows never wait for each other in a ring."""
    import random

    hot = [f"{i:04}" for i in range(300)]

    def writer(number):
        chance = random.Random(number)

        def work():
            for turn in range(12):
                keys = chance.sample(hot, 150)
                Product.objects.bulk_upsert(
                    [{"sku": key, "stock": chance.randrange(10**6)} for key in keys],
                    unique_fields=["sku"],
                    strategy=strategies[(number + turn) % len(strategies)],
                )

        return work

    assert run_threads(*map(writer, range(4))) == []
    assert Product.objects.count() == len(
        {key for number in range(4) for key in _all_keys(number, hot)}
    )


def _all_keys(number, hot):
    import random

    chance = random.Random(number)
    for _ in range(12):
        keys = chance.sample(hot, 150)
        for _key in keys:
            chance.randrange(10**6)
        yield from keys


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("strategy", ["values", "unnest", "copy"])
def test_row_that_another_call_creates_meanwhile(strategy):
    """Held back by a row that the statement's snapshot does not see, an instance finds its key."""
    inserted, committed = threading.Event(), threading.Event()
    row = Product(sku="a")

    def first():
        with transaction.atomic():
            Product.objects.create(sku="a")
            inserted.set()
            assert committed.wait(10)

    def second():
        assert inserted.wait(10)
        threading.Timer(0.3, committed.set).start()
        result = Product.objects.bulk_upsert(
            [row], unique_fields=["sku"], ignore_conflicts=True, strategy=strategy
        )
        assert result.skipped == 1

    assert run_threads(first, second) == []
    assert row.pk == Product.objects.get().pk


# Chunks on their way -----------------------------------------------------------------------


@pytest.mark.django_db
class TestLoading:
    """A chunk is sent while the next is encoded, and nobody but us notices."""

    def test_field_that_queries(self):
        """A field may use the connection that the last chunk is being sent through."""
        Country.objects.create(code="it", name="Italy")
        rows = ({"key": i, "value": "it" if i % 100 == 0 else "other"} for i in range(11_000))
        assert Nosy.objects.bulk_upsert(rows, unique_fields=["key"]).created == 11_000
        assert Nosy.objects.filter(value="Italy").count() == 110
        stored = list(Nosy.objects.order_by("key"))
        for row in stored:
            row.value = "it" if row.key % 100 == 7 else "another"
        assert Nosy.objects.bulk_update(iter(stored), ["value"]) == 11_000

    def test_json_encoder_that_queries(self):
        """So may a JSON encoder."""

        class Encoder(json.JSONEncoder):
            def default(self, value):
                return Country.objects.get(code=value.code).name

        country = Country.objects.create(code="it", name="Italy")
        field = Everything._meta.get_field("json_encoded")
        rows = (
            {"key": i, "json_encoded": [country] if i % 100 == 0 else []} for i in range(11_000)
        )
        with mock.patch.object(field, "encoder", Encoder):
            found = Everything.objects.bulk_upsert(rows, unique_fields=["key"])
        assert found.created == 11_000
        assert Everything.objects.filter(json_encoded=["Italy"]).count() == 110

    @pytest.mark.parametrize("late", [5_001, 7_500])
    def test_first_error_is_told(self, late):
        """Where the server refuses a row, and we one after it, the first is told."""
        rows = [{"key": i, "text": "x", "texts": []} for i in range(12_000)]
        rows[late]["text"] = "\0"
        rows[70]["texts"] = ["x" * 21]
        with pytest.raises(RowError, match="row 70, field 'texts'"):
            Everything.objects.bulk_upsert(rows, unique_fields=["key"])
        assert not Everything.objects.exists()

    @pytest.mark.parametrize("at", [0, 4_999, 5_000, 12_000])
    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
    def test_no_thread_is_left(self, at, error):
        """Whatever happens, the thread that sends is gone with the call."""

        def rows():
            for i in range(12_000):
                if i == at:
                    raise error
                yield {"sku": f"{i}"}
            raise error

        before = _thread._count()
        with pytest.raises(error):
            Product.objects.bulk_upsert(rows(), unique_fields=["sku"], strategy="copy")
        wait_for_threads(before)
        assert Product.objects.count() == 0
