"""What a signal's handler raises, wherever that is: all or nothing, and the session as it was.

A handler may run between any two instructions of the main thread, and few of these take long; a
timer hits those that do (``test_interruptions.py``). So the moments are counted here, and the error
is raised at one that is drawn.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import queue
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import django.db
import pytest
from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import is_psycopg3

import django_bulkupsert
from django_bulkupsert import transactions
from django_bulkupsert.transactions import Before
from tests.calls import update, upsert
from tests.conftest import run_threads, wait_for_threads
from tests.models import Product
from tests.trust.conftest import raising

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # Told of objects that are being deleted, where an error can't be raised.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROWS = 40

#: Where moments count: what talks to the database, and what that is made of.
PACKAGES = (django.db, django_bulkupsert, sys.modules[connection.Database.__name__])
PLACES = (
    *(str(Path(each.__file__).parent) for each in PACKAGES),
    *(each.__file__ for each in (contextlib, queue, threading)),
)


#: Where transactions begin and end.
TRANSACTIONS = (transaction.__file__, transactions.__file__)


class SoftTimeLimit(Exception):
    """What a queue of tasks has a handler raise when a task takes too long."""


class Interrupted:
    """Raises an error at the n-th of the moments at which a handler may run, and counts them.

    The interpreter looks for signals when a function begins, and when one of C has returned. What a
    profiler is told, and raises, is at these very moments; what a tracer raises is not.
    """

    def __init__(
        self, error: type[BaseException], at: int = 0, places: tuple[str, ...] = PLACES
    ) -> None:
        self.error = error
        self.at = at
        self.places = places
        self.count = 0

    def __enter__(self) -> Interrupted:
        sys.setprofile(self.runs)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def runs(self, frame: FrameType, event: str, _arg: object) -> None:
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(self.places):
            self.count += 1
            if self.count == self.at:
                sys.setprofile(None)
                raise self.error


def rows(stock):
    return [{"sku": f"{i:03}", "name": "x", "stock": stock} for i in range(ROWS)]


def copy(given, _strategy):
    Product.objects.bulk_copy([{**row, "sku": f"n{row['stock']}{row['sku']}"} for row in given])


def collect(given, strategy):
    bad = {"sku": "bad", "name": "x" * 999}
    result = Product.objects.bulk_upsert(
        [*given[: ROWS // 2], {**given[0], **bad}, *given[ROWS // 2 :]],
        unique_fields=["sku"],
        strategy=strategy,
        on_error="collect",
    )
    assert len(result.rejected) == 1


@contextmanager
def alone(error):
    """A call outside any transaction."""
    with suppress(error):
        yield


@contextmanager
def in_atomic(error):
    """A transaction that the error ends."""
    with suppress(error), transaction.atomic():
        yield


@contextmanager
def caught_in_atomic(error):
    """A transaction that goes on, or can't, and says so."""
    with transaction.atomic():
        Product.objects.create(sku="before")
        with suppress(error):
            yield
        went_on = goes_on()
    assert Product.objects.filter(sku="before", stock=1).delete()[0] == went_on


@contextmanager
def by_hand(error):
    """A transaction of the caller's that Django knows nothing of."""
    transaction.set_autocommit(False)
    try:
        Product.objects.create(sku="before")
        with suppress(error):
            yield
        assert not connection.in_atomic_block
        went_on = goes_on()
        if went_on:
            transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert Product.objects.filter(sku="before", stock=1).delete()[0] == went_on


def goes_on():
    """Go on with a transaction; return whether that can be done."""
    if is_psycopg3 and connection.needs_rollback:  # of a statement that has no savepoint
        with pytest.raises(transaction.TransactionManagementError):
            Product.objects.count()
        return False
    assert Product.objects.filter(sku="before").update(stock=1) == 1
    return True


@pytest.mark.parametrize("within", [alone, in_atomic, caught_in_atomic, by_hand])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SoftTimeLimit])
@pytest.mark.parametrize("call", [upsert, update, copy, collect])
def test_what_handlers_raise(
    usable, strategy, call, error, within, monkeypatch, size, chance, tell
):
    if call in (copy, collect) and strategy != "copy":
        pytest.skip(f"{call.__name__} has one way")
    monkeypatch.setattr("django_bulkupsert.engine.sending.CHUNK_ROWS", ROWS // 3)
    if call is not copy:
        upsert(rows(0), strategy)
    call(rows(1), strategy)
    with Interrupted(error) as moments:
        call(rows(2), strategy)
    times, stopped = size(1_000, 8), 0
    threads = _thread._count()
    before = counted_by_stock()
    for new in range(3, 3 + times):
        after = {**before, new: ROWS} if call is copy else {new: ROWS}
        raised = True
        with within(error), Interrupted(error, chance.randint(1, moments.count)):
            call(rows(new), strategy)
            raised = False
        stopped += raised
        usable()
        found = counted_by_stock()
        assert found == before or (found == after and not (within is in_atomic and raised))
        before = found
    gc.collect()  # what can't be raised there is told now, and ignored
    wait_for_threads(threads)
    assert stopped > times / 2
    tell(
        "stopped on the way",
        f"{told(call, strategy, within)}: a handler raises {error.__name__}, anywhere",
        f"{times} times, {stopped} in time",
        "all or nothing, session usable, nothing left in it",
    )


@pytest.mark.parametrize("within", [alone, in_atomic, caught_in_atomic, by_hand])
@pytest.mark.parametrize("call", [upsert, update, collect])
def test_each_moment_of_transactions(usable, strategy, call, within):
    """Those of their beginnings and ends are few, and none is left out."""
    if call is collect and strategy != "copy":
        pytest.skip("collect has one way")
    upsert(rows(0), strategy)
    call(rows(1), strategy)
    stock, at, raised = 1, 0, True
    while raised:
        at, new, raised = at + 1, at + 2, False
        with within(KeyboardInterrupt):
            try:
                with Interrupted(KeyboardInterrupt, at, TRANSACTIONS):
                    call(rows(new), strategy)
            except KeyboardInterrupt:
                raised = True
                raise
        usable()
        found = counted_by_stock()
        assert found in ({stock: ROWS}, {new: ROWS}), at
        (stock,) = found
    assert stock == new


@pytest.mark.parametrize("within", [alone, in_atomic])
@pytest.mark.parametrize("call", [upsert, update])
def test_second_signal(usable, strategy, call, within, monkeypatch, size, chance, tell):
    """It comes while the first one's error is seen to: there may be another session then."""
    restored = Before.restore

    def restore(self, error):
        with Interrupted(KeyboardInterrupt, chance.randint(1, 60)):
            return restored(self, error)

    monkeypatch.setattr(Before, "restore", restore)
    upsert(rows(0), strategy)
    with Interrupted(KeyboardInterrupt) as moments:
        call(rows(1), strategy)
    times, stock, others = size(1_000, 8), 1, 0
    for new in range(2, 2 + times):
        session = connection.connection
        with within(KeyboardInterrupt):
            with Interrupted(KeyboardInterrupt, chance.randint(1, moments.count)):
                call(rows(new), strategy)
        usable()
        others += connection.connection is not session
        found = counted_by_stock()
        assert found in ({stock: ROWS}, {new: ROWS})
        (stock,) = found
    gc.collect()
    tell(
        "stopped on the way",
        f"{told(call, strategy, within)}: a second Ctrl-C while one is seen to",
        f"{times} times",
        f"all or nothing, connection usable, {others} times by another session",
    )


def told(call, strategy, within):
    """Return what is tried, in words."""
    return f"{call.__name__}, {strategy}, {within.__name__.replace('_', ' ')}"


def counted_by_stock() -> dict[int, int]:
    """Return how many rows have each stock."""
    return Counter(Product.objects.values_list("stock", flat=True))


@pytest.fixture
def slow(transactional_db):
    """Makes each row that is inserted take a minute; or seconds, after a cancellation."""

    def run(sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)

    def make(*, seconds):
        run(
            f"""CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            BEGIN PERFORM pg_sleep(60);
            EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep({seconds}); END;
            RAISE query_canceled; END $$"""
        )
        run(
            f"CREATE TRIGGER slow BEFORE INSERT ON {Product._meta.db_table} "
            "FOR EACH ROW EXECUTE FUNCTION slow()"
        )

    yield make
    run("DROP FUNCTION slow CASCADE")


@pytest.mark.skipif(not is_psycopg3, reason="psycopg2 waits where no handler runs")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SoftTimeLimit])
@pytest.mark.parametrize("seconds", [0, 3])
def test_answer_to_a_cancellation(usable, slow, strategy, seconds, error, monkeypatch):
    """It is waited for, but not forever: then there is another session."""
    if seconds and error is KeyboardInterrupt:
        seconds = 8  # psycopg waits for it itself, five seconds
    elif seconds:
        monkeypatch.setattr("django_bulkupsert.driver.ANSWER", seconds / 6)
    slow(seconds=seconds)
    session = connection.connection
    with signalled(error), pytest.raises(error):
        upsert(rows(1), strategy)
    usable()
    assert (connection.connection is session) is (seconds == 0)
    assert not Product.objects.exists()


def test_second_signal_while_a_thread_sends(usable, slow, monkeypatch):
    """The first one waits for what is being sent, the second one ends that."""
    monkeypatch.setattr("django_bulkupsert.engine.sending.CHUNK_ROWS", ROWS // 3)
    slow(seconds=0)
    threads = _thread._count()
    with signalled(KeyboardInterrupt, times=2), pytest.raises(KeyboardInterrupt):
        copy(rows(1), "copy")
    wait_for_threads(threads)
    usable()
    assert not Product.objects.exists()


@contextmanager
def signalled(error, times=1):
    """Have handlers raise an error, once a second, when a session of this database sleeps."""

    def work():
        with connection.cursor() as cursor:
            while cursor.rowcount < 1:
                cursor.execute(
                    "SELECT FROM pg_stat_activity "
                    "WHERE wait_event = 'PgSleep' AND datname = current_database()"
                )
        for _ in range(times):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
            time.sleep(1)

    thread = threading.Thread(target=run_threads, args=(work,))
    with raising(error):
        thread.start()
        yield
        thread.join()
