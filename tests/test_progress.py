"""progress: how far a call has come; and chunks that are bounded by bytes."""

from __future__ import annotations

import time
import tracemalloc
from functools import partial
from weakref import WeakKeyDictionary

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject, lazy

from django_bulkupsert import OptionError, server
from django_bulkupsert import sources as sourcing
from django_bulkupsert.engine import progress as telling
from django_bulkupsert.sources import Walk, weight

from .models import Boat, Everything, Product, ShowroomProduct

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["upsert", "update", "copy"])
def call(request):
    """Call each method with rows and a callback."""

    def upsert(rows, progress):
        return Product.objects.bulk_upsert(rows, unique_fields=["sku"], progress=progress)

    def update(rows, progress):
        return Product.objects.bulk_update(rows, ["stock"], match_fields=["sku"], progress=progress)

    def copy(rows, progress):
        return Product.objects.bulk_copy(rows, progress=progress)

    return {"upsert": upsert, "update": update, "copy": copy}[request.param]


@pytest.mark.parametrize("count", [0, 1, 100, 2_000, 12_000])
def test_what_is_told(call, shape, count, monkeypatch):
    """Rows so far, and of how many if that is known; the last is all, when they are written."""
    monkeypatch.setattr(telling, "INTERVAL", 0)
    told = []

    def progress(done, total):
        told.append((done, total))
        Product.objects.count()  # it may query

    rows = [Product(sku=f"{i}") for i in range(count)]
    call(shape(rows), progress)
    total = count if isinstance(shape(rows), list) else None
    assert told[-1] == (count, total)
    assert [each[0] for each in told] == sorted(each[0] for each in told)
    assert {each[1] for each in told} == {total}
    if count > 10_000:
        assert len({each[0] for each in told}) >= 3


def test_a_few_times_a_second(call):
    """However many chunks there are."""
    told = []
    rows = [Product(sku=f"{i}") for i in range(30_000)]
    start = time.monotonic()
    call(rows, lambda *args: told.append(args))
    took = time.monotonic() - start
    assert told[-1] == (30_000, 30_000)
    assert len(told) <= took / telling.INTERVAL + 1


@pytest.mark.parametrize("count", [3, 12_000])
@pytest.mark.parametrize("last", [False, True])
def test_what_it_raises_stops_the_call(call, count, last, monkeypatch):
    """And nothing is written, not even if it is raised at the end; instances are not told."""
    monkeypatch.setattr(telling, "INTERVAL", 0)
    Product.objects.bulk_copy([{"sku": "stored", "stock": 1}])
    rows = [Product(sku=f"{i}", stock=9) for i in range(count)]

    def progress(done, _total):
        if not last or done == count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(rows, progress)
    assert list(Product.objects.values_list("stock", flat=True)) == [1]
    assert all(row.pk is None and row._state.adding for row in rows)


def test_groups_of_mixed_keys(monkeypatch):
    """The rows of all groups are counted together."""
    monkeypatch.setattr(telling, "INTERVAL", 0)
    told = []
    rows = [{"sku": f"{i}", **({"stock": i} if i % 2 else {})} for i in range(9)]
    Product.objects.bulk_upsert(
        rows, unique_fields=["sku"], mixed_keys=True, progress=lambda *args: told.append(args)
    )
    assert told == [(5, 9), (9, 9), (9, 9)]


def test_several_tables():
    """Once, at the end; what it raises there undoes all tables."""
    told = []
    rows = [ShowroomProduct(sku=f"{i}", shelf=i) for i in range(3)]
    ShowroomProduct.objects.bulk_upsert(rows, progress=lambda *args: told.append(args))
    assert told == [(3, 3)]
    rows = [ShowroomProduct(sku="new", shelf=1)]
    with pytest.raises(ZeroDivisionError):
        ShowroomProduct.objects.bulk_upsert(rows, progress=lambda *_: 1 / 0)
    assert rows[0].pk is None
    assert Product.objects.count() == 3
    assert not Boat.objects.exists()


@pytest.mark.parametrize("progress", [5, "text", True])
def test_what_is_no_callback(call, progress):
    """Refused before any row is read."""
    rows = iter([Product(sku="a")])
    with pytest.raises(OptionError, match="progress takes a callable"):
        call(rows, progress)
    assert next(rows)


class Asynchronous:
    """Is called as a coroutine function is."""

    async def __call__(self, done, total):
        raise AssertionError

    async def method(self, done, total):
        raise AssertionError


@pytest.mark.parametrize(
    "progress",
    [
        Asynchronous(),
        Asynchronous().method,
        partial(Asynchronous().method),
        sync_to_async(lambda done, total: None),
    ],
)
def test_what_nobody_would_await(call, progress):
    """Refused before any row is read: it would seem to be called, and never run."""
    rows = iter([Product(sku="a")])
    with pytest.raises(OptionError, match="the thread that does the work, so it is a plain"):
        call(rows, progress)
    assert next(rows)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [1, 3, 2_500])
def test_the_transaction_is_one(call, count):
    """A call that tells is one transaction, without savepoints; in the caller's it is one of them.

    The merge of a staging table has its own, with or without.
    """
    rows = [Product(sku=f"{i}") for i in range(count)]

    def statements(progress):
        Product.objects.all().delete()
        with CaptureQueriesContext(connection) as queries:
            call(rows, progress)
        return [query["sql"].split()[0] for query in queries.captured_queries]

    statements(None)
    silent = statements(None)
    told = statements(lambda *_: None)
    if "BEGIN" not in silent:
        silent = ["BEGIN", *silent, "COMMIT"]
    assert told == silent
    with transaction.atomic():
        inside = statements(lambda *_: None)
    assert inside.count("SAVEPOINT") == told.count("SAVEPOINT") + 1


@pytest.mark.django_db(transaction=True)
def test_an_engine_that_cannot_lock_rows(monkeypatch):
    """It is found out in the transaction that telling takes, as it is without one."""
    monkeypatch.setattr(server, "_locks", WeakKeyDictionary())
    Product.objects.bulk_upsert([{"sku": "a"}, {"sku": "b"}], unique_fields=["sku"])
    rows = [Product(sku=sku, stock=5) for sku in "ab"]

    def refuse(execute, sql, params, many, context):
        if "FOR NO KEY UPDATE" in sql:
            sql = "DO $$ BEGIN RAISE 'can not lock' USING ERRCODE = '0A000'; END $$"
            params = None
        return execute(sql, params, many, context)

    for progress in (lambda *_: None, None):
        with connection.execute_wrapper(refuse):
            updated = Product.objects.bulk_update(
                rows, ["stock"], match_fields=["sku"], progress=progress
            )
        assert updated == 2
        assert set(Product.objects.values_list("stock", flat=True)) == {5}


# Bytes ---------------------------------------------------------------------------------------


def pulls(rows, most=5_000):
    walk = Walk(rows)
    found = []
    while some := walk.pull(most):
        found.append(len(some))
    assert walk.is_done
    return found


def test_light_rows_come_by_number():
    """As many as are asked for."""
    assert pulls({"a": i} for i in range(12_001)) == [5_000, 5_000, 2_001]
    assert pulls([{f"{i}": "x" * 20 for i in range(20)}] * 6_000) == [5_000, 1_000]
    assert pulls([]) == []
    assert pulls([("a",)] * 3, 1) == [1, 1, 1]
    walk = Walk([("a",)] * 3)
    assert len(walk.pull(3)) == 3
    assert not walk.is_done
    assert len(walk.pull(None)) == 0
    assert walk.is_done


def test_heavy_rows_come_by_bytes():
    """A few at a time, wherever in the stream they begin."""
    heavy = "x" * (sourcing.PULL_BYTES // 4)
    first, *others = pulls([{"a": heavy}] * 40)
    assert first == sourcing.FIRST_ROWS
    assert max(others) <= 5
    first, second, *others = pulls([("light", 1)] * 6_000 + [("heavy", heavy)] * 100)
    assert first == 5_000
    assert second <= 1_000 + sourcing.SAMPLE_ROWS
    assert max(others) <= 5
    found = pulls([Everything(key=1, text=heavy) for _ in range(20)])
    assert found == [10, 4, 4, 2]


def test_a_row_heavier_than_all():
    """One at a time, once that is known."""
    assert pulls([[b"x" * (sourcing.PULL_BYTES + 1)]] * 13) == [10, 1, 1, 1]


def test_weights():
    """What documents weigh is seen."""
    assert weight({"a": "x" * 1_000}) > 1_000
    assert weight(({"deep": ["x" * 1_000]},)) > 1_000
    assert weight(Everything(text="x" * 1_000)) > 1_000
    assert weight(5) < 200
    endless: list = []
    endless.append(endless)
    assert weight([endless]) < 1_000


def test_weighing_runs_no_code_of_a_rows():
    """It may happen while a chunk is sent, when the connection is not free."""

    def evaluated():
        raise AssertionError

    class Loud(dict):
        def values(self):
            raise AssertionError

        __len__ = __repr__ = values

    lazy_one = SimpleLazyObject(evaluated)
    for item in (lazy_one, lazy(evaluated, str)(), Loud(a=1)):
        for row in (item, {"a": item}, [item], ({"a": [item]},), Product(name=item)):
            assert weight(row) < 500


def test_heavy_rows_arrive(shape):
    """A stream of documents is staged, though its rows are few."""
    text = "é\\" * 200_000
    rows = [{"key": i, "text": text} for i in range(30)]
    assert Everything.objects.bulk_upsert(shape(rows), unique_fields=["key"]).created == 30
    assert set(Everything.objects.values_list("text", flat=True)) == {text}


def most_held(work):
    """Return how many bytes are held at the most while something is done."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_small_rows_of_a_great_batch():
    """What Python keeps of a row counts too, however little is in it."""
    rows = ({"sku": f"{i}"} for i in range(150_000))
    held = most_held(lambda: Product.objects.bulk_copy(rows, batch_size=10**6))
    assert Product.objects.count() == 150_000
    assert held < 32 * 1024 * 1024


@pytest.mark.parametrize("method", ["bulk_upsert", "bulk_copy"])
def test_memory_does_not_grow_with_the_stream(method):
    """What is held at the most is the same for a stream three times as long."""
    words = {"unique_fields": ["sku"]} if method == "bulk_upsert" else {}

    def peak(start, count):
        rows = ({"sku": f"{i}", "name": f"Product {i}"} for i in range(start, start + count))
        return most_held(lambda: getattr(Product.objects, method)(rows, **words))

    peak(0, 1_000)
    short = peak(1_000, 30_000)
    assert peak(100_000, 90_000) < short * 1.5 + 8 * 1024 * 1024  # the keys that are seen
    assert short < 24 * 1024 * 1024
