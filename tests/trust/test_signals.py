"""What a signal's handler raises, wherever that is: all or nothing, and the session as it was.

A handler may run between any two instructions of the main thread, and few of these take long; a
timer hits those that do (``test_interruptions.py``). So the moments are counted here, and the error
is raised at one that is drawn.
"""

from __future__ import annotations

import _thread
import contextlib
import queue
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import FrameType

import django.db
import pytest
from django.db import connection, transaction

import django_bulkupsert
from tests.conftest import wait_for_threads
from tests.models import Product

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


class SoftTimeLimit(Exception):
    """What a queue of tasks has a handler raise when a task takes too long."""


class Interrupted:
    """Raises an error at the n-th of the moments at which a handler may run, and counts them.

    The interpreter looks for signals when a function begins, and when one of C has returned. What a
    profiler is told, and raises, is at these very moments; what a tracer raises is not.
    """

    def __init__(self, error: type[BaseException], at: int = 0) -> None:
        self.error = error
        self.at = at
        self.count = 0

    def __enter__(self) -> Interrupted:
        sys.setprofile(self.runs)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def runs(self, frame: FrameType, event: str, _arg: object) -> None:
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(PLACES):
            self.count += 1
            if self.count == self.at:
                sys.setprofile(None)
                raise self.error


def rows(stock):
    return [{"sku": f"{i:03}", "name": "x", "stock": stock} for i in range(ROWS)]


def upsert(stock, strategy):
    Product.objects.bulk_upsert(rows(stock), unique_fields=["sku"], strategy=strategy)


def update(stock, strategy):
    objs = [Product(**row) for row in rows(stock)]
    Product.objects.bulk_update(objs, ["stock"], match_fields=["sku"], strategy=strategy)


@pytest.mark.parametrize("nested", [False, True], ids=["alone", "in atomic()"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SoftTimeLimit])
@pytest.mark.parametrize("call", [upsert, update])
def test_what_handlers_raise(
    usable, strategy, call, error, nested, monkeypatch, size, chance, tell
):
    monkeypatch.setattr("django_bulkupsert.engine.sending.CHUNK_ROWS", ROWS // 3)
    upsert(0, strategy)
    call(1, strategy)
    with Interrupted(error) as moments:
        call(2, strategy)
    times, stock, stopped = size(1_000, 40), 2, 0
    threads = _thread._count()
    for new in range(3, 3 + times):
        at, raised = chance.randint(1, moments.count), False
        try:
            with transaction.atomic() if nested else nullcontext(), Interrupted(error, at):
                call(new, strategy)
        except error:
            raised = True
            stopped += 1
        usable()
        found = set(Product.objects.values_list("stock", flat=True))
        assert found in ({stock}, {new})
        assert found == {stock} or not (nested and raised)
        (stock,) = found
    wait_for_threads(threads)
    tell(
        "stopped on the way",
        f"{call.__name__}, {strategy}{', in atomic()' * nested}: a handler raises {error.__name__}"
        ", anywhere",
        f"{times} times, {stopped} in time",
        "all or nothing, session usable, nothing left in it",
    )
