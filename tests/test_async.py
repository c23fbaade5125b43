"""The asynchronous twins: rows from the event loop, work in Django's thread, clean ends."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from contextlib import nullcontext, suppress

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import (
    DuplicateKeysError,
    OptionError,
    RowConstraintError,
    RowTypeError,
    RowValueError,
)
from django_bulkupsert.sources import Walk

from .conftest import wait_for_lock
from .models import Product, ShowroomProduct

pytestmark = pytest.mark.django_db


async def stream(rows, ended=None):
    """Yield the rows from the event loop."""
    try:
        for row in rows:
            await asyncio.sleep(0)
            yield row
    finally:
        if ended is not None:
            ended.append(True)


@pytest.fixture(params=["list", "generator", "asynchronous"])
def given(request):
    """Give rows in each way that a twin takes."""
    ways = {"list": list, "generator": lambda rows: (row for row in rows), "asynchronous": stream}
    return ways[request.param]


def stored():
    return dict(Product.objects.values_list("sku", "stock"))


# All that the methods do ---------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3, 2_500])
def test_upsert(given, kind, strategy, count):
    """Rows of each kind, in each way, over each relation."""
    values = [{"sku": f"{i}", "stock": i} for i in range(count)]

    async def work(rows, **words):
        return await Product.objects.abulk_upsert(
            given(rows), unique_fields=["sku"], strategy=strategy, **words
        )

    for created in (count, 0):
        rows, words = kind(Product, values or [{"sku": "a"}])
        rows = rows[:count]
        result = async_to_sync(work)(rows, **words)
        assert (result.created, result.unchanged) == (created, count - created)
        if rows and isinstance(rows[0], Product):
            assert all(row.pk for row in rows)
    assert stored() == {row["sku"]: row["stock"] for row in values}


def test_update(given, strategy):
    """Instances are updated, and counted."""
    products = [Product(sku=f"{i}") for i in range(5)]
    Product.objects.bulk_upsert(products, unique_fields=["sku"])
    for product in products:
        product.stock = 8

    async def work():
        return await Product.objects.abulk_update(given(products), ["stock"], strategy=strategy)

    assert async_to_sync(work)() == 5
    assert set(stored().values()) == {8}


def test_copy(given, kind):
    """Rows that are new."""
    rows, words = kind(Product, [{"sku": f"{i}"} for i in range(1_234)])

    async def work():
        return await Product.objects.abulk_copy(given(rows), batch_size=500, **words)

    assert async_to_sync(work)() == 1_234
    assert Product.objects.count() == 1_234


@pytest.mark.django_db(transaction=True)
def test_outside_of_any_thread_of_djangos(given):
    """An event loop of one's own, where Django's work is in another thread."""

    async def work():
        rows = given([{"sku": f"{i}"} for i in range(10)])
        try:
            return await Product.objects.abulk_upsert(rows, unique_fields=["sku"])
        finally:
            await sync_to_async(connections.close_all)()

    assert asyncio.run(work()).created == 10
    assert Product.objects.count() == 10


def test_a_long_stream_from_a_file(tmp_path):
    """200,000 lines of a file, read as they are needed, none of them held for long."""
    count = 200_000
    path = tmp_path / "products.txt"
    with path.open("w") as file:
        for number in range(count):
            file.write(f"P-{number},{number % 100}\n")
    pulled = 0
    ahead = []

    async def products():
        nonlocal pulled
        with path.open() as file:
            while lines := await asyncio.to_thread(file.readlines, 1 << 16):
                for line in lines:
                    sku, stock = line.split(",")
                    pulled += 1
                    yield {"sku": sku, "stock": int(stock)}

    def progress(done, total):
        assert total is None
        ahead.append(pulled - done)

    async def work():
        return await Product.objects.abulk_upsert(
            products(), unique_fields=["sku"], progress=progress
        )

    assert async_to_sync(work)().created == count
    assert Product.objects.count() == count
    assert max(ahead) <= 6_000  # a chunk, and the block that is being taken
    assert ahead[-1] == 0


def test_rows_that_query():
    """The source may use the database meanwhile, as a generator may; in the same transaction."""
    Product.objects.bulk_copy({"sku": f"{i}", "stock": i} for i in range(3_000))

    async def doubled():
        async for product in Product.objects.filter(sku__lt="9").aiterator(chunk_size=500):
            assert await Product.objects.filter(pk=product.pk).aexists()
            yield {"sku": product.sku, "stock": product.stock * 2}

    async def work():
        rows = doubled()
        return await Product.objects.abulk_upsert(rows, unique_fields=["sku"], strategy="copy")

    wanted = Product.objects.filter(sku__lt="9").count()
    assert async_to_sync(work)().total == wanted
    assert stored()["21"] == 42
    assert stored()["95"] == 95


def test_a_queryset_as_rows():
    """It can be walked both ways; it is walked in the thread."""
    Product.objects.bulk_copy({"sku": f"{i}", "stock": i} for i in range(10))

    async def work():
        rows = Product.objects.filter(stock__gte=5)
        return await Product.objects.abulk_upsert(rows, unique_fields=["sku"])

    assert async_to_sync(work)().unchanged == 5


@pytest.mark.parametrize("rows", [list, tuple])
def test_rows_that_are_there_are_given_as_they_are(rows, monkeypatch):
    """So they are pulled while a chunk is sent, as in the method itself."""
    held = []
    pull = Walk.pull

    def watched(walk, most):
        held.append(walk.is_held)
        return pull(walk, most)

    monkeypatch.setattr(Walk, "pull", watched)

    async def work():
        return await Product.objects.abulk_copy(rows({"sku": f"{i}"} for i in range(6_000)))

    assert async_to_sync(work)() == 6_000
    assert set(held) == {True}


def test_how_many_rows_there_are_is_not_asked_for_nothing():
    """Only where it is told."""

    class Rows:
        def __iter__(self):
            return iter([{"sku": "a"}])

        def __len__(self):
            raise LookupError("len")

    async def work(**words):
        return await Product.objects.abulk_copy(Rows(), **words)

    assert async_to_sync(work)() == 1
    with pytest.raises(LookupError, match="len"):
        async_to_sync(work)(progress=lambda *_: None)


@pytest.mark.django_db(transaction=True)
def test_a_small_call_is_a_transaction_of_one_statement():
    """So that it can be undone to the end; the method itself needs none."""

    async def work():
        return await Product.objects.abulk_upsert([{"sku": "a"}], unique_fields=["sku"])

    async_to_sync(work)()
    for call, count in (
        (async_to_sync(work), 3),
        (lambda: Product.objects.bulk_upsert([{"sku": "a"}], unique_fields=["sku"]), 1),
    ):
        with CaptureQueriesContext(connection) as queries:
            call()
        assert len(queries) == count, queries.captured_queries


# Errors --------------------------------------------------------------------------------------


def test_errors_are_the_methods_own(given):
    """With the row and the field; nothing is written."""

    def call(rows, **words):
        async def work():
            await Product.objects.abulk_upsert(given(rows), unique_fields=["sku"], **words)

        return async_to_sync(work)()

    with pytest.raises(RowValueError, match="row 1, field 'stock'"):
        call([{"sku": "a", "stock": 1}, {"sku": "b", "stock": "x"}])
    with pytest.raises(DuplicateKeysError, match="rows 0 and 1"):
        call([{"sku": "a"}, {"sku": "a"}])
    with pytest.raises(RowTypeError, match="row 0: None"):
        call([None])
    with pytest.raises(OptionError, match="duplicates is"):
        call([{"sku": "a"}], duplicates="x")
    assert stored() == {}


@pytest.mark.parametrize("rows", [{"sku": "a"}, "text", 5, None])
def test_rows_that_cannot_be_walked(rows):
    """The same error as from the method."""

    async def work():
        await Product.objects.abulk_upsert(rows, unique_fields=["sku"])

    with pytest.raises(OptionError, match="rows is an iterable"):
        async_to_sync(work)()


@pytest.mark.parametrize("count", [10, 7_000])
def test_an_error_of_the_source(count):
    """It comes through, what was loaded is rolled back, and the source has ended."""
    ended = []

    async def broken():
        async for row in stream(({"sku": f"{i}"} for i in range(count)), ended):
            yield row
        raise LookupError("the source")

    async def work():
        await Product.objects.abulk_upsert(broken(), unique_fields=["sku"])

    with pytest.raises(LookupError, match="the source"):
        async_to_sync(work)()
    assert stored() == {}
    assert ended


def test_the_source_is_closed_after_an_error():
    """A row that can't be taken: the source's own cleaning up is done, on the event loop."""
    ended = []
    rows = [{"sku": f"{i}", "stock": "x" if i == 1_500 else 1} for i in range(9_000)]

    async def work():
        try:
            await Product.objects.abulk_copy(stream(rows, ended), batch_size=1_000)
        finally:
            assert ended

    with pytest.raises(RowValueError, match="row 1500, field 'stock'"):
        async_to_sync(work)()


def test_an_iterator_that_is_no_generator():
    """Nothing but ``__aiter__`` and ``__anext__`` is wanted."""

    class Rows:
        left = 3

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return {"sku": f"{self.left}"}

    async def work():
        return await Product.objects.abulk_copy(Rows())

    assert async_to_sync(work)() == 3


@pytest.mark.parametrize("kind", [ValueError, AttributeError])
@pytest.mark.parametrize("count", [2, 9_000])
def test_an_error_of_the_sources_cleanup(kind, count):
    """The call's own error stays, and tells of it."""

    async def broken():
        try:
            for number in range(count):
                yield {"sku": f"{number}", "stock": "x" if number == 1 else 1}
            await asyncio.sleep(0)
            yield {"sku": "more"}
        finally:
            raise kind("cleaning up")

    async def work():
        await Product.objects.abulk_copy(broken(), batch_size=100)

    wanted = RowValueError if count > 1_000 else kind  # where the walk did not come to its end
    with pytest.raises(wanted) as caught:
        async_to_sync(work)()
    if wanted is RowValueError and sys.version_info >= (3, 11):
        assert caught.value.__notes__ == [
            f"closing the rows failed too: {kind('cleaning up')!r}",
        ]
    assert stored() == {}


@pytest.mark.parametrize("kind", [ValueError, AttributeError])
def test_an_error_of_the_cleanup_alone(kind):
    """It is not kept back."""

    class Rows:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

        async def aclose(self):
            raise kind("cleaning up")

    async def work():
        await Product.objects.abulk_copy(Rows())

    with pytest.raises(kind, match="cleaning up"):
        async_to_sync(work)()


# Cancellation --------------------------------------------------------------------------------


async def settle():
    """Let everything run that is ready to, and what that makes ready."""
    for _ in range(10):
        await asyncio.sleep(0)


def cancel(task, loop):
    """Cancel a task from another thread; return when it has heard of it."""

    async def work():
        task.cancel()
        await settle()

    asyncio.run_coroutine_threadsafe(work(), loop).result(30)


async def cancelled(call, when):
    """Cancel a call when an event of the source is set; return how long it took to end."""
    task = asyncio.ensure_future(call)
    await asyncio.wait_for(when.wait(), 30)
    start = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return time.monotonic() - start


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [3, 8_000])
def test_cancelled_while_the_source_waits(count):
    """Rolled back, the source closed, and the connection usable, when the call returns."""
    ended = []

    async def work():
        waits = asyncio.Event()

        async def slow():
            try:
                for number in range(count):
                    yield {"sku": f"{number}"}
                waits.set()
                await asyncio.sleep(60)
            finally:
                ended.append(True)

        call = Product.objects.abulk_upsert(slow(), unique_fields=["sku"])
        assert await cancelled(call, waits) < 20
        assert ended
        assert await Product.objects.acount() == 0
        await Product.objects.acreate(sku="after")

    async_to_sync(work)()
    assert list(stored()) == ["after"]
    assert connection.get_autocommit()
    assert not connection.in_atomic_block


@pytest.mark.django_db(transaction=True)
def test_cancelled_while_a_generator_runs():
    """Rows of no asynchronous kind are stopped at the next one."""
    started = threading.Event()

    def endless():
        number = 0
        while True:
            number += 1
            yield {"sku": f"{number}"}
            if number > 6_000:
                started.set()
                time.sleep(0.01)

    async def work():
        waits = asyncio.Event()

        async def watch():
            await asyncio.to_thread(started.wait)
            waits.set()

        watching = asyncio.ensure_future(watch())
        call = Product.objects.abulk_upsert(endless(), unique_fields=["sku"])
        assert await cancelled(call, waits) < 20
        await watching

    async_to_sync(work)()
    assert stored() == {}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("strategy", ["unnest", "copy"])
@pytest.mark.parametrize("inside", [False, True])
def test_cancelled_while_a_statement_waits(strategy, inside):
    """A statement that waits for a lock is interrupted; what it would have done is not done."""
    Product.objects.bulk_copy([{"sku": "a", "stock": 1}, {"sku": "b", "stock": 1}])
    release = threading.Event()
    held = threading.Event()

    def hold():
        try:
            with transaction.atomic():
                Product.objects.select_for_update().get(sku="b")
                held.set()
                release.wait(30)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)

    async def call():
        rows = [{"sku": "a", "stock": 5}, {"sku": "b", "stock": 5}]
        await Product.objects.abulk_upsert(rows, unique_fields=["sku"], strategy=strategy)

    async def work():
        waits = asyncio.Event()

        async def watch():
            await asyncio.to_thread(watched)
            waits.set()

        watching = asyncio.ensure_future(watch())
        assert await cancelled(call(), waits) < 20
        await watching

    def watched():
        try:
            wait_for_lock()
        finally:
            connection.close()

    try:
        if inside:
            with transaction.atomic():
                async_to_sync(work)()
                assert stored() == {"a": 1, "b": 1}
        else:
            async_to_sync(work)()
        assert stored() == {"a": 1, "b": 1}
    finally:
        release.set()
        holder.join()


@pytest.mark.django_db(transaction=True)
def test_a_time_limit():
    """wait_for and timeout end a call as a cancellation does."""

    async def slow():
        yield {"sku": "a"}
        await asyncio.sleep(60)

    async def work():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(Product.objects.abulk_copy(slow()), 0.2)
        return await Product.objects.abulk_copy([{"sku": "b"}])

    assert async_to_sync(work)() == 1
    assert list(stored()) == ["b"]


@pytest.mark.django_db(transaction=True)
def test_cancelled_before_it_began():
    """A call that still waits for the thread does nothing."""

    async def work():
        release = threading.Event()
        busy = asyncio.ensure_future(sync_to_async(release.wait)(30))
        task = asyncio.ensure_future(Product.objects.abulk_copy([{"sku": "a"}]))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        await busy

    async_to_sync(work)()
    assert stored() == {}


@pytest.mark.django_db(transaction=True)
def test_cancelled_while_the_thread_is_busy():
    """A call that still waits for the thread ends at once; others go on, and find it gone."""
    complaints = []
    rows = iter([{"sku": "a"}])

    async def work():
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        release = threading.Event()
        busy = asyncio.ensure_future(sync_to_async(release.wait)(30))
        await settle()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(Product.objects.abulk_copy(rows), 0.1)
        assert not busy.done()
        release.set()
        assert await Product.objects.abulk_copy([{"sku": "b"}]) == 1
        await busy

    async_to_sync(work)()
    assert list(stored()) == ["b"]
    assert next(rows)
    assert complaints == []


@pytest.fixture(params=["upsert", "staged", "update", "copy"])
def twin(request):
    """Call each twin with products, and keywords."""
    by = {"unique_fields": ["sku"]}
    objects = Product.objects
    return {
        "upsert": lambda rows, **words: objects.abulk_upsert(rows, **by, **words),
        "staged": lambda rows, **words: objects.abulk_upsert(rows, **by, strategy="copy", **words),
        "update": lambda rows, **words: objects.abulk_update(rows, ["stock"], **words),
        "copy": objects.abulk_copy,
    }[request.param]


@pytest.fixture
def products(request, twin):
    """Make products that a twin writes: new ones, or stored ones to update."""

    def make(count):
        Product.objects.all().delete()
        rows = [Product(sku=f"{i}", stock=1) for i in range(count)]
        if "update" in request.node.callspec.id:
            Product.objects.bulk_upsert(rows, unique_fields=["sku"])
        for row in rows:
            row.stock = 2
        return rows

    return make


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("count", [1, 3, 6_000])
def test_cancelled_before_the_commit(twin, products, count, inside):
    """Up to the last instant: nothing is stored, no instance is told, what is around goes on."""
    rows = products(count)
    before, states = stored(), [row._state.adding for row in rows]

    async def work():
        loop = asyncio.get_running_loop()

        def progress(done, total):
            cancel(task, loop)

        task = asyncio.ensure_future(twin(rows, progress=progress))
        with pytest.raises(asyncio.CancelledError):
            await task

    with transaction.atomic() if inside else nullcontext():
        async_to_sync(work)()
        assert stored() == before
        assert [row._state.adding for row in rows] == states
        Product.objects.create(sku="after")
    assert stored() == {**before, "after": 0}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["no rows", "mixed keys", "several tables"])
def test_cancelled_before_the_commit_of_several_parts(kind):
    """Whatever a call is made of."""
    calls = {
        "no rows": lambda **words: Product.objects.abulk_copy([], **words),
        "mixed keys": lambda **words: Product.objects.abulk_upsert(
            [{"sku": "a"}, {"sku": "b", "stock": 1}],
            unique_fields=["sku"],
            mixed_keys=True,
            **words,
        ),
        "several tables": lambda **words: ShowroomProduct.objects.abulk_upsert(
            [ShowroomProduct(sku="a", shelf=1)], **words
        ),
    }

    async def work():
        loop = asyncio.get_running_loop()

        def progress(done, total):
            cancel(task, loop)

        task = asyncio.ensure_future(calls[kind](progress=progress))
        with pytest.raises(asyncio.CancelledError):
            await task

    async_to_sync(work)()
    assert stored() == {}


@pytest.mark.django_db(transaction=True)
def test_cancelled_while_it_commits(twin, products, monkeypatch):
    """That comes too late: all is stored when the cancellation goes on."""
    rows = products(3)
    commit = connection.commit
    whose = []

    async def work():
        task = asyncio.ensure_future(twin(rows))
        whose.extend([task, asyncio.get_running_loop()])
        with pytest.raises(asyncio.CancelledError):
            await task

    def late():
        cancel(*whose)
        commit()

    with monkeypatch.context() as patched:
        patched.setattr(connection, "commit", late)
        async_to_sync(work)()
    assert stored() == {"0": 2, "1": 2, "2": 2}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("count", [1, 2_000])
def test_cancelled_at_any_time(twin, products, count, inside):
    """Nothing is stored, unless it was told already that all is written; see docs/loading."""
    at_random = random.Random(count)
    cancelled = 0

    def once(delay):
        rows = products(count)
        before = stored()
        last = 0.0

        def progress(done, total):
            nonlocal last
            last = time.monotonic()

        async def work():
            task = asyncio.ensure_future(twin(rows, progress=progress))
            await asyncio.wait([task], timeout=delay)
            task.cancel()
            await settle()
            heard = time.monotonic()
            try:
                await task
            except asyncio.CancelledError:
                return heard
            return None

        with transaction.atomic() if inside else nullcontext():
            start = time.monotonic()
            heard = async_to_sync(work)()
            took = time.monotonic() - start
            after = stored()  # and the caller's transaction is usable
        written = dict.fromkeys(before or (row.sku for row in rows), 2)
        if heard is None:
            assert after == written
        elif last and heard > last:
            assert after in (before, written)
        else:
            assert after == before
        assert stored() == after
        return heard is not None, took

    _, longest = once(30)
    for _ in range(12):
        was_cancelled, took = once(at_random.uniform(0, longest))
        cancelled += was_cancelled
        if not was_cancelled:  # the first call may have been slower by far than those that follow
            longest = min(longest, took)
    assert cancelled


@pytest.mark.django_db(transaction=True)
def test_a_source_that_goes_on_when_cancelled():
    """It is asked for no more rows."""
    given = []

    async def stubborn():
        for number in range(5_000):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60 if number == 5 else 0)
            given.append(number)
            if number == 4:
                waits.set()
            yield {"sku": f"{number}"}

    async def work():
        assert await cancelled(Product.objects.abulk_copy(stubborn()), waits) < 20

    waits = asyncio.Event()
    async_to_sync(work)()
    assert len(given) <= 6
    assert stored() == {}


@pytest.mark.django_db(transaction=True)
def test_calls_at_once():
    """Several calls of one event loop take turns, each whole."""

    async def work():
        calls = [
            Product.objects.abulk_upsert(
                stream({"sku": f"{i}", "stock": turn} for i in range(50)), unique_fields=["sku"]
            )
            for turn in range(4)
        ]
        return await asyncio.gather(*calls)

    results = async_to_sync(work)()
    assert sum(result.created for result in results) == 50
    assert len(set(stored().values())) == 1


# Progress ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 3, 3_000])
def test_progress_is_told(given, count):
    """The last telling is of all rows; of how many, where that is known."""
    told = []
    rows = [{"sku": f"{i}"} for i in range(count)]

    async def work():
        await Product.objects.abulk_upsert(
            given(rows), unique_fields=["sku"], progress=lambda *args: told.append(args)
        )

    async_to_sync(work)()
    assert told[-1] in ((count, None), (count, count))


def test_progress_that_is_asynchronous():
    """Refused, for nobody would await it."""

    async def progress(done, total):
        raise AssertionError

    async def work():
        await Product.objects.abulk_copy([{"sku": "a"}], progress=progress)

    with pytest.raises(OptionError, match="plain function, not a coroutine function"):
        async_to_sync(work)()
    assert stored() == {}


def test_an_error_of_a_constraint_deep_in_a_stream():
    """Its index is that of the stream."""
    Product.objects.create(sku="7100")

    async def work():
        rows = stream({"sku": f"{i}"} for i in range(9_000))
        await Product.objects.abulk_copy(rows)

    with pytest.raises(RowConstraintError, match="row 7100: duplicate key"):
        async_to_sync(work)()
