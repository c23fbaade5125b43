"""What calls leave behind: in the server's catalog, and in the memory of a process."""

from __future__ import annotations

import gc

import psutil
import pytest
from django.db import connection

from tests.models import Product

pytestmark = pytest.mark.django_db(transaction=True)

CATALOGS = ("pg_class", "pg_attribute", "pg_type", "pg_depend", "pg_statistic")


def sizes() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c, pg_total_relation_size(c::regclass) FROM unnest(%s::text[]) AS c",
            [list(CATALOGS)],
        )
        return dict(cursor.fetchall())


def rows(count, stock):
    return [{"sku": f"{i:06}", "name": "x", "stock": stock} for i in range(count)]


def test_the_catalog(size, tell):
    """Temporary tables are rows of the catalog, which autovacuum frees; it grows meanwhile."""
    calls = size(1_000, 20)
    Product.objects.bulk_upsert(rows(10, 0), unique_fields=["sku"], strategy="copy")
    before = sizes()
    for turn in range(calls):
        Product.objects.bulk_upsert(rows(10, turn), unique_fields=["sku"], strategy="copy")
    grown = {name: after - before[name] for name, after in sizes().items()}
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'bulkupsert%'")
        assert cursor.fetchone()[0] == 0
        for name in CATALOGS:
            cursor.execute(f"VACUUM {name}")
    freed = sizes()
    for turn in range(calls):
        Product.objects.bulk_upsert(rows(10, turn), unique_fields=["sku"], strategy="copy")
    again = sum(after - freed[name] for name, after in sizes().items())
    told = ", ".join(f"{name} {grown[name] // 1024:,} KiB" for name in CATALOGS)
    tell(
        "what calls leave behind",
        "the catalog, without a VACUUM",
        f"{calls:,} staged calls",
        f"{told}; {again // 1024:,} KiB by as many after a VACUUM",
    )


@pytest.mark.parametrize("strategy", ["values", "unnest", "copy"])
def test_memory(strategy, size, tell):
    calls = size(10_000 if strategy != "copy" else 3_000, 300)
    process = psutil.Process()

    def run(count):
        for turn in range(count):
            objs = [Product(sku=f"{i:06}", name="x", stock=turn) for i in range(3)]
            Product.objects.bulk_upsert(objs, unique_fields=["sku"], strategy=strategy)
            Product.objects.bulk_update(objs, ["stock"], strategy=strategy)

    run(200)
    gc.collect()
    before, objects = process.memory_info().rss, len(gc.get_objects())
    run(calls)
    gc.collect()
    grown = process.memory_info().rss - before
    left = len(gc.get_objects()) - objects
    tell(
        "what calls leave behind",
        f"memory, {strategy}",
        f"{calls:,} upserts and updates",
        f"{grown / 2**20:.1f} MiB, {left:+,} objects",
    )
    assert left < 500
    assert grown < 8 * 2**20
