"""Calls that meet at the same rows: no deadlock is seen, and no update is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from django.db import OperationalError, connection, models
from django.db.models import F, Sum

from django_bulkupsert import Excluded
from tests.conftest import run_threads
from tests.models import Household, Product, Tenant, TwoKeys

pytestmark = pytest.mark.django_db(transaction=True)

WRITERS = 4
HOT = 1_000


@dataclass
class Met:
    """What writers have seen."""

    calls: int = 0
    rows: int = 0
    retries: int = 0
    deadlocks: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, rows: int, result) -> None:
        with self.lock:
            self.calls += 1
            self.rows += rows
            self.retries += getattr(result, "retries", 0)

    def failed(self) -> None:
        with self.lock:
            self.calls += 1
            self.deadlocks += 1

    @property
    def told(self) -> str:
        return f"{self.deadlocks} deadlocks, {self.retries} retries, 0 updates lost"


def skus(numbers) -> list[str]:
    """Texts that collations order differently from their bytes."""
    return [f"{'aB'[n % 2]}-{n:04}" for n in numbers]


def stored() -> None:
    Product.objects.bulk_upsert(
        [{"sku": sku, "stock": 0} for sku in skus(range(HOT))], unique_fields=["sku"]
    )


def upserts(strategy: str | None) -> Callable:
    def call(numbers):
        return Product.objects.bulk_upsert(
            [{"sku": sku, "stock": 1} for sku in skus(numbers)],
            unique_fields=["sku"],
            update_fields={"stock": F("stock") + Excluded("stock")},
            strategy=strategy,
        )

    return call


def updates(strategy: str | None) -> Callable:
    def call(numbers):
        return Product.objects.bulk_update(
            (Product(sku=sku, stock=F("stock") + 1) for sku in skus(numbers)),
            ["stock"],
            match_fields=["sku"],
            strategy=strategy,
        )

    return call


def mixed(*calls: Callable) -> Callable:
    turns = iter(())

    def call(numbers):
        nonlocal turns
        with lock:
            step = next(turns, None)
            if step is None:
                turns = iter(calls)
                step = next(turns)
        return step(numbers)

    lock = threading.Lock()
    return call


WAYS = ("values", "unnest", "copy")
CALLS = {
    **{f"upsert, {way}": upserts(way) for way in WAYS},
    **{f"update, {way}": updates(way) for way in WAYS},
    "both, all": mixed(*(make(way) for way in WAYS for make in (upserts, updates))),
}


def run_writers(size, chance, call, *, hot=HOT, batch=None) -> Met:
    """Have writers call with shuffled batches of hot rows; return what they have seen."""
    met = Met()
    batch = batch or size(500, 150)

    def writer(seed):
        own = random.Random(seed)

        def work():
            for _ in range(size(50, 6)):
                numbers = own.sample(range(hot), min(batch, hot))
                try:
                    met.add(len(numbers), call(numbers))
                except OperationalError as error:
                    if "deadlock" not in str(error):
                        raise
                    met.failed()

        return work

    errors = run_threads(*(writer(chance.random()) for _ in range(WRITERS)))
    assert errors == []
    return met


def tried(met: Met) -> str:
    return f"{WRITERS} writers, {met.calls} calls, {met.rows:,} rows"


@pytest.mark.parametrize("name", CALLS)
def test_hot_rows(name, size, chance, tell):
    stored()
    met = run_writers(size, chance, CALLS[name])
    assert Product.objects.aggregate(Sum("stock"))["stock__sum"] == met.rows
    tell("hot rows", name, tried(met), met.told)
    assert (met.deadlocks, met.retries) == (0, 0)


@pytest.fixture(params=["C", "und-x-icu", "en-US-x-icu"])
def collation(request) -> Iterator[str]:
    """Each collation of the key; the text "B" comes before "a" in the first alone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_collation WHERE collname = %s", [request.param])
        if cursor.fetchone() is None:
            pytest.skip(f"the server was built without the collation {request.param}")
        alter = 'ALTER TABLE tests_product ALTER sku TYPE varchar(12) COLLATE "{}"'
        cursor.execute(alter.format(request.param))
        yield request.param
        cursor.execute(alter.format("default"))


def test_keys_of_text(collation, size, chance, tell):
    stored()
    met = run_writers(size, chance, CALLS["both, all"])
    assert Product.objects.aggregate(Sum("stock"))["stock__sum"] == met.rows
    tell("keys of text", f"both, all; collation {collation}", tried(met), met.told)
    assert (met.deadlocks, met.retries) == (0, 0)


@pytest.mark.parametrize("strategy", WAYS)
def test_rows_that_come_and_go(strategy, size, chance, tell):
    """Beside others that delete: each row of a call is there when it ends."""
    stored()
    upsert = upserts(strategy)
    calls = [0]

    def call(numbers):
        calls[0] += 1
        if calls[0] % 4 == 0:
            # As an ordered writer does: the rows are locked in order, then deleted.
            keys = skus(numbers[: len(numbers) // 4])
            with connection.cursor() as cursor:
                cursor.execute(
                    "WITH gone AS (SELECT id FROM tests_product WHERE sku = ANY(%s) "
                    'ORDER BY sku COLLATE "C" FOR UPDATE) '
                    "DELETE FROM tests_product AS p USING gone WHERE p.id = gone.id",
                    [keys],
                )
            return None
        result = upsert(numbers)
        assert result.created + result.updated == result.total == len(numbers)
        return result

    met = run_writers(size, chance, call)
    told = f"{met.deadlocks} deadlocks, {met.retries} retries, every row accounted for"
    tell("rows that come and go", f"upsert, {strategy}; deletes", tried(met), told)
    assert met.deadlocks == 0


@pytest.mark.parametrize("strategy", WAYS)
def test_a_second_unique_index(strategy, size, chance, tell):
    def call(numbers):
        return TwoKeys.objects.bulk_upsert(
            [{"key": n, "code": f"{n:x}", "value": 1} for n in numbers],
            unique_fields=["key"],
            update_fields={"value": F("value") + Excluded("value")},
            strategy=strategy,
        )

    met = run_writers(size, chance, call)
    assert TwoKeys.objects.aggregate(Sum("value"))["value__sum"] == met.rows
    tell("a second unique index", f"upsert, {strategy}", tried(met), met.told)
    assert met.deadlocks == 0


@pytest.mark.parametrize("strategy", WAYS)
def test_parents_and_children(strategy, size, chance, tell):
    """Some write parents, and some the children that point to them."""
    households = 100
    for number in range(households):
        Household.objects.create(number=number)
    turn = [0]

    def call(numbers):
        turn[0] += 1
        if turn[0] % 2:
            rows = [{"number": n, "value": 1} for n in {n % households for n in numbers}]
            unique: list[str] = ["number"]
            manager: models.Manager = Household.objects
        else:
            rows = [
                {"household_id": n % households, "room": n // households, "value": 1}
                for n in numbers
            ]
            unique, manager = ["household", "room"], Tenant.objects
        result = manager.bulk_upsert(
            rows,
            unique_fields=unique,
            update_fields={"value": F("value") + Excluded("value")},
            strategy=strategy,
        )
        with lock:
            written[0] += len(rows)
        return result

    lock, written = threading.Lock(), [0]
    met = run_writers(size, chance, call)
    sums = [model.objects.aggregate(sum=Sum("value"))["sum"] for model in (Household, Tenant)]
    assert sum(sums) == written[0]
    tell("parents and children", f"upsert, {strategy}", tried(met), met.told)
    assert (met.deadlocks, met.retries) == (0, 0)


def test_djangos_own_methods_beside(size, chance, tell):
    """For scale: the same writers with Django's methods, which promise nothing of the kind."""
    if not size.long:
        pytest.skip("deadlocks take their time: make trust")
    stored()

    def create(numbers):
        Product.objects.bulk_create(
            [Product(sku=sku, stock=1) for sku in skus(numbers)],
            update_conflicts=True,
            unique_fields=["sku"],
            update_fields=["stock"],
        )

    pks = dict(Product.objects.values_list("sku", "pk"))

    def update(numbers):
        rows = [Product(pk=pks[sku], stock=1) for sku in skus(numbers)]
        models.QuerySet(Product).bulk_update(rows, ["stock"], batch_size=100)

    with suppress(OperationalError):
        for name, call in (("bulk_create", create), ("bulk_update, batches of 100", update)):
            met = run_writers(size, chance, call)
            tell("hot rows", f"Django's {name}", tried(met), f"{met.deadlocks} deadlocks")
