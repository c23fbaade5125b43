"""Rows that others insert and delete meanwhile: none is lost, each is counted once."""

from __future__ import annotations

import random
import threading

import pytest

from tests.conftest import run_threads
from tests.models import Product

pytestmark = pytest.mark.django_db(transaction=True)

WAYS = {
    "update": {},
    "update, all": {"skip_unchanged": False},
    "do nothing": {"ignore_conflicts": True},
    "rows back": {"returning": ["stock"]},
    "preserve_sequence": {"preserve_sequence": True},
    "where": {"where_newer": True},
}


@pytest.mark.parametrize("strategy", ["values", "unnest", "copy"])
@pytest.mark.parametrize("way", WAYS)
def test_check_then_insert(strategy, way, size, chance, tell):
    options = dict(WAYS[way])
    if options.pop("where_newer", False):
        from django.db.models import F, Q

        from django_bulkupsert import Excluded

        options["where"] = Q(stock__lt=Excluded("stock")) | Q(stock=F("stock"))
    calls, rows = size(60, 8), size(200, 80)
    lock, met = (
        threading.Lock(),
        dict.fromkeys(("calls", "retries", "rows", "created", "deleted"), 0),
    )
    done = threading.Event()

    def writer(seed):
        own = random.Random(seed)

        def work():
            for turn in range(calls):
                keys = own.sample(range(2 * rows), rows)
                given = [{"sku": f"{key:06}", "name": "x", "stock": turn} for key in keys]
                result = Product.objects.bulk_upsert(
                    iter(given), unique_fields=["sku"], strategy=strategy, **options
                )
                assert result.created + result.updated + result.unchanged + result.skipped == rows
                if options.get("returning"):
                    assert [row.index for row in result.rows] == list(range(rows))
                    assert all(row["stock"] is not None for row in result.rows if row.status in
                               ("created", "updated"))  # fmt: skip
                with lock:
                    met["calls"] += 1
                    met["retries"] += result.retries
                    met["rows"] += result.total
                    met["created"] += result.created

        return work

    def deleter():
        own = random.Random(chance.random())
        while not done.wait(0.002):
            key = own.randrange(2 * rows)
            deleted, _ = Product.objects.filter(sku=f"{key:06}").delete()
            met["deleted"] += deleted

    writers = [writer(chance.random()) for _ in range(3)]
    left = [len(writers)]

    def counted(work):
        def run():
            try:
                work()
            finally:
                with lock:
                    left[0] -= 1
                    if not left[0]:
                        done.set()

        return run

    assert run_threads(*map(counted, writers), deleter) == []
    # Each row that was created is there, unless it was deleted.
    assert Product.objects.count() == met["created"] - met["deleted"]
    # Without anyone beside, all are there.
    keys = [f"{key:06}" for key in range(2 * rows)]
    Product.objects.bulk_upsert(
        [{"sku": key, "name": "x", "stock": 0} for key in keys],
        unique_fields=["sku"],
        strategy=strategy,
        ignore_conflicts=True,
    )
    assert sorted(Product.objects.values_list("sku", flat=True)) == keys
    tell(
        "inserts and deletes beside",
        f"upsert, {strategy}: {way}",
        f"{met['calls']} calls, {met['rows']:,} rows",
        f"{met['created']:,} created, {met['deleted']:,} deleted, 0 lost; {met['retries']} retries",
    )
