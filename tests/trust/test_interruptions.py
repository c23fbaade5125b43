"""Calls that are stopped on their way: nothing is written, and the session is as it was."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection, connections

from tests.calls import update, upsert
from tests.models import Product
from tests.trust.conftest import raising

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # A signal may come where an exception can't be raised, in a callback of the garbage collector;
    # that is told in whichever test comes next.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROWS = 6_000


def rows(stock=1, count=ROWS):
    return ({"sku": f"{i:06}", "name": "x", "stock": stock} for i in range(count))


def copy(given, _strategy):
    again = ({**row, "sku": f"n{row['sku']}"} for row in given)
    return Product.objects.bulk_copy(again)


@pytest.fixture(params=[upsert, update, copy])
def call(request, strategy) -> Callable:
    """Each method; bulk_copy() has one way."""
    if request.param is copy and strategy != "copy":
        pytest.skip("bulk_copy() has one way")
    return request.param


@pytest.fixture
def stored():
    """The rows as they were."""
    Product.objects.bulk_upsert(rows(0), unique_fields=["sku"])


def unchanged() -> None:
    assert Product.objects.count() == ROWS
    assert not Product.objects.exclude(stock=0).exists()


class Broken(Exception):
    """What a generator raises, or the handler of a signal."""


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_the_rows_raise(usable, stored, strategy, call, error, size, chance, tell):
    times = size(10, 2)
    for _ in range(times):
        at = chance.randrange(ROWS)

        def breaks(at=at):
            for i, row in enumerate(rows()):
                if i == at:
                    raise error
                yield row

        with pytest.raises(error):
            call(breaks(), strategy)
        usable()
    unchanged()
    tell(
        "stopped on the way",
        f"{call.__name__}, {strategy}: its rows raise {error.__name__}",
        f"{times} times",
        "rolled back, session usable, nothing left in it",
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, Broken])
def test_signals(usable, stored, strategy, call, error, size, chance, tell):
    """They come whenever they come, to the main thread: Ctrl-C, or a time limit of a task's."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals come to the main thread")
    times, stopped = size(25, 3), 0
    start = time.perf_counter()
    call(rows(0), strategy)
    usual = time.perf_counter() - start
    Product.objects.filter(sku__startswith="n").delete()
    with raising(error):
        for _ in range(times):
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.001, usual))
            try:
                call(rows(0), strategy)
            except error:
                stopped += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            usable()
            assert Product.objects.filter(sku__startswith="n").count() in (0, ROWS)
            Product.objects.filter(sku__startswith="n").delete()
    unchanged()
    assert stopped or times < 10
    tell(
        "stopped on the way",
        f"{call.__name__}, {strategy}: a signal's handler raises {error.__name__}",
        f"{times} times, {stopped} in time",
        "rolled back, session usable, nothing left in it",
    )


@pytest.mark.parametrize("kind", ["list", "async generator"])
@pytest.mark.parametrize("method", ["abulk_upsert", "abulk_update", "abulk_copy"])
def test_async_calls_that_are_cancelled(usable, stored, strategy, kind, method, size, chance, tell):
    if method == "abulk_copy" and strategy != "copy":
        pytest.skip("bulk_copy() has one way")
    times, cancelled = size(25, 3), 0

    def given(stock):
        if method == "abulk_copy":
            return ({**row, "sku": f"n{row['sku']}"} for row in rows(stock))
        if method == "abulk_update":
            return (Product(**row) for row in rows(stock))
        return rows(stock)

    async def stream(stock):
        for row in given(stock):
            yield row

    def made(some):
        if method == "abulk_copy":
            return Product.objects.abulk_copy(some)
        if method == "abulk_update":
            fields = {"match_fields": ["sku"], "strategy": strategy}
            return Product.objects.abulk_update(some, ["stock"], **fields)
        return Product.objects.abulk_upsert(some, unique_fields=["sku"], strategy=strategy)

    async def one(stock, seconds):
        work = made(stream(stock) if kind == "async generator" else list(given(stock)))
        async with Limit(seconds):
            await work

    async def close():
        await sync_to_async(connections.close_all)()

    start = time.perf_counter()
    asyncio.run(one(0, 60))
    usual = time.perf_counter() - start
    Product.objects.filter(sku__startswith="n").delete()
    stock = 0
    for turn in range(1, times + 1):
        try:
            asyncio.run(one(turn, chance.uniform(0.001, usual)))
        except TimeoutError:
            cancelled += 1
        usable()
        new = Product.objects.filter(sku__startswith="n")
        assert new.count() in ({0, ROWS} if method == "abulk_copy" else {0})
        new.delete()
        found = set(Product.objects.values_list("stock", flat=True))
        assert found in ({stock}, {turn})
        (stock,) = found
    assert cancelled or times < 10
    asyncio.run(close())
    tell(
        "stopped on the way",
        f"{method}, {strategy}, {kind}: cancelled",
        f"{times} times, {cancelled} in time",
        "all or nothing, session usable, nothing left in it",
    )


class Limit:
    """What asyncio.timeout is, for Python 3.10."""

    def __init__(self, seconds):
        self.seconds = seconds

    async def __aenter__(self):
        task = asyncio.current_task()
        self.timer = asyncio.get_running_loop().call_later(self.seconds, task.cancel)

    async def __aexit__(self, kind, error, trace):
        self.timer.cancel()
        if kind is asyncio.CancelledError:
            raise TimeoutError from error


def reset_timeout() -> None:
    """Have no time limit any more; a short one may end that statement, too."""
    while True:
        with suppress(OperationalError), connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")
            return


def test_statements_that_time_out(usable, stored, strategy, call, size, chance, tell):
    """Wherever the call is, in COPY or in the merge."""
    times, said = size(25, 3), []
    start = time.perf_counter()
    call(rows(0), strategy)
    usual = time.perf_counter() - start
    Product.objects.filter(sku__startswith="n").delete()
    for _ in range(times):
        limit = max(1, int(chance.uniform(0, usual) * 500))
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {limit}")
        try:
            call(rows(0), strategy)
        except OperationalError as error:
            said.append(str(error))
        finally:
            reset_timeout()
        usable()
        Product.objects.filter(sku__startswith="n").delete()
    unchanged()
    assert all("nothing of it was written" in each for each in said)
    assert said or times < 10
    tell(
        "stopped on the way",
        f"{call.__name__}, {strategy}: statement_timeout",
        f"{times} times, {len(said)} in time",
        "rolled back, session usable, nothing left in it",
    )
