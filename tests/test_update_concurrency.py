"""bulk_update beside other writers, in the caller's transaction, and where rows can't be locked."""

from __future__ import annotations

import random
import threading
from contextlib import nullcontext

import pytest
from django.db import DataError, connection, transaction
from django.db.models import F, Q, Sum, Value
from django.db.models.functions import Concat

from django_bulkupsert import Excluded, RowError, RowValueError

from .conftest import run_threads
from .models import Everything, Pizzeria, Product

HOT = 1_000


def store(count: int) -> list[Product]:
    """Store products, and return them as loaded."""
    Product.objects.bulk_upsert(
        ({"sku": f"{i:05}", "stock": 0} for i in range(count)), unique_fields=["sku"]
    )
    return list(Product.objects.order_by("sku"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("ways", "match"),
    [
        (["values"], None),
        (["unnest"], None),
        (["copy"], None),
        (["values", "unnest", "copy"], None),
        (["values", "unnest", "copy"], ["sku"]),
    ],
)
def test_overlapping_writers_do_not_deadlock(ways, match):
    """4 writers, each 50 shuffled batches of hot rows: no deadlock, and no update is lost."""
    keys = [(product.pk, product.sku) for product in store(HOT)]
    size = 150

    def writer(number):
        chance = random.Random(number)

        def work():
            for turn in range(50):
                rows = [
                    Product(pk=pk, sku=sku, stock=F("stock") + 1)
                    for pk, sku in chance.sample(keys, size)
                ]
                found = Product.objects.bulk_update(
                    rows, ["stock"], match_fields=match, strategy=ways[(turn + number) % len(ways)]
                )
                assert found == size

        return work

    assert run_threads(*map(writer, range(4))) == []
    assert Product.objects.aggregate(Sum("stock"))["stock__sum"] == 4 * 50 * size


@pytest.mark.django_db(transaction=True)
def test_updates_and_upserts_mix():
    """Updates and upserts by the same unique field take their locks in the same order."""
    store(HOT)

    def writer(number):
        chance = random.Random(number)

        def work():
            for turn in range(25):
                skus = [f"{i:05}" for i in chance.sample(range(HOT), 250)]
                if (turn + number) % 2:
                    rows = [Product(sku=sku, stock=turn) for sku in skus]
                    Product.objects.bulk_update(rows, ["stock"], match_fields=["sku"])
                else:
                    Product.objects.bulk_upsert(
                        [{"sku": sku, "stock": -turn} for sku in skus], unique_fields=["sku"]
                    )

        return work

    assert run_threads(*map(writer, range(4))) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "how",
    [
        {"where": Q(stock__lt=Excluded("stock"))},
        {"filtered": Q(stock=0)},
        {"match_fields": ["sku", "name"]},
        {"skip_unchanged": True},
    ],
    ids=["where", "filter", "match", "unchanged"],
)
def test_conditions_hold_of_the_row_that_was_waited_for(strategy, count, how):
    """A row that another call has changed meanwhile is judged as it is then."""
    rows = store(count)
    for row in rows:
        row.stock = 5
    how = dict(how)
    queryset = Product.objects.filter(how.pop("filtered", Q()))
    locked, found = threading.Event(), []

    def first():
        with transaction.atomic():
            Product.objects.filter(sku="00000").update(
                stock=9 if "skip_unchanged" not in how else 5, name="first"
            )
            locked.set()
            threading.Event().wait(0.4)

    def second():
        assert locked.wait(10)
        found.append(queryset.bulk_update(rows, ["stock"], strategy=strategy, **how))

    assert run_threads(first, second) == []
    assert found[0].updated == count - 1
    stored = list(Product.objects.order_by("sku").values_list("stock", flat=True))
    assert stored[1:] == [5] * (count - 1)
    assert stored[0] == (5 if "skip_unchanged" in how else 9)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("strategy", ["values", "unnest", "copy"])
class TestTransactions:
    def test_stands_and_falls_with_the_callers(self, strategy):
        """Inside atomic the update is part of it."""
        rows = store(3)
        for row in rows:
            row.stock = 1
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            assert Product.objects.bulk_update(rows, ["stock"], strategy=strategy) == 3
            1 / 0
        assert not Product.objects.filter(stock=1).exists()

    def test_commits_by_itself(self, strategy, temporary_tables):
        """Outside, it is a transaction of its own, and nothing else is left."""
        rows = store(3)
        for row in rows:
            row.stock = 1
        assert Product.objects.bulk_update(rows, ["stock"], strategy=strategy) == 3
        assert connection.get_autocommit()
        assert temporary_tables() == []
        assert Product.objects.filter(stock=1).count() == 3

    def test_bad_rows_leave_the_callers_transaction_alone(self, strategy):
        """What is found before the server is asked costs the caller's transaction nothing."""
        rows = store(3)
        with transaction.atomic():
            rows[1].name = "x" * 21
            with pytest.raises(RowError):
                Product.objects.bulk_update(rows, ["name"], strategy=strategy)
            Product.objects.update(stock=4)
        assert Product.objects.filter(stock=4).count() == 3

    @pytest.mark.parametrize("inside", [True, False])
    @pytest.mark.parametrize(
        ("name", "value"), [("texts", ["x" * 21]), ("json", {"\0": 1}), ("integers", [2**31])]
    )
    def test_what_only_the_server_refuses(self, strategy, inside, name, value):
        """A value that only the server can judge is named too, and the transaction goes on."""
        Everything.objects.bulk_create(Everything(key=i) for i in range(3))
        rows = list(Everything.objects.order_by("key"))
        setattr(rows[2], name, value)
        with transaction.atomic() if inside else nullcontext():
            with pytest.raises(RowValueError, match=f"row 2, field '{name}'"):
                Everything.objects.bulk_update(rows, ["text", name], strategy=strategy)
            assert Everything.objects.filter(text=None).count() == 3

    def test_error_in_the_generator(self, strategy, temporary_tables):
        """An exception in the caller's generator goes through, and nothing is written."""
        stored = store(3)

        def rows():
            for row in stored:
                row.stock = 8
                yield row
            raise KeyError

        with pytest.raises(KeyError):
            Product.objects.bulk_update(rows(), ["stock"], strategy=strategy)
        assert not Product.objects.filter(stock=8).exists()
        assert temporary_tables() == []


class TestWithoutLocks:
    @pytest.mark.parametrize("code", ["0A000", "XX000"])
    def test_plain_update(self, no_locks, strategy, shape, code):
        """The plain, ordered UPDATE takes over, and the lock is not tried again."""
        no_locks.codes[:] = [code]
        Product.objects.bulk_create(Product(sku=f"{i}", stock=i) for i in range(10))
        rows = list(Product.objects.order_by("-sku"))
        for row in rows:
            row.stock += 100
        rows.append(Product(pk=rows[0].pk, stock=-1))
        for turn in range(3):
            found = Product.objects.bulk_update(shape(rows), ["stock"], strategy=strategy)
            assert found == 10
            assert len(no_locks.refused) == 1, turn
        stored = list(Product.objects.order_by("sku").values_list("stock", flat=True))
        assert stored == list(range(100, 110))

    def test_options(self, no_locks, strategy, shape):
        """Each option means the same without the lock."""
        Product.objects.bulk_create(Product(sku=f"{i}", stock=i) for i in range(10))
        rows = list(Product.objects.order_by("-sku"))
        for row in rows:
            row.stock = 5 if row.stock % 2 else F("stock") + 0
            row.name = "new"
        found = Product.objects.filter(stock__lt=9).bulk_update(
            shape(rows),
            ["stock", "name"],
            match_fields=["sku"],
            where=Q(stock__lte=Excluded("stock"), name__lt=Excluded("name")),
            skip_unchanged=True,
            returning=["sku", "stock"],
            strategy=strategy,
        )
        assert (found.updated, found.unchanged, found.skipped) == (8, 0, 1)
        assert [row["sku"] for row in found.rows] == ["8", "6", "5", "4", "3", "2", "1", "0"]
        assert [row["stock"] for row in found.rows] == [8, 6, 5, 4, 5, 2, 5, 0]
        again = Product.objects.bulk_update(
            shape(rows), ["name"], skip_unchanged=True, strategy=strategy
        )
        assert (again.updated, again.unchanged) == (2, 8)

    def test_several_tables(self, no_locks, strategy):
        """The tables of a model with parents are updated in one statement all the same."""
        for i in range(3):
            Pizzeria.objects.create(name=f"{i}", stars=i)
        rows = list(Pizzeria.objects.all())
        for row in rows:
            row.name, row.oven = "x", F("oven")
        assert Pizzeria.objects.bulk_update(rows, ["name", "oven"], strategy=strategy) == 3
        assert Pizzeria.objects.filter(name="x").count() == 3

    def test_other_errors_go_through(self, no_locks):
        """An error that is none of that kind is the caller's to see."""
        no_locks.codes[:] = ["22012"]
        rows = [Product.objects.create(sku=f"{i}") for i in range(2)]
        with pytest.raises(DataError):
            Product.objects.bulk_update(rows, ["stock"])

    def test_error_of_the_plain_update(self, no_locks):
        """What the plain UPDATE fails on is told, and proves nothing of locks."""
        rows = [Product.objects.create(sku=f"{i}") for i in range(2)]
        rows[0].name = Concat(F("sku"), Value("x" * 30))
        with pytest.raises(DataError, match="too long"), transaction.atomic():
            Product.objects.bulk_update(rows, ["name"])
        rows[0].name = "fits"
        assert Product.objects.bulk_update(rows, ["name"]) == 2
        assert len(no_locks.refused) == 2

    def test_one_row(self, no_locks):
        """One row by its primary key needs no order, and is not locked first."""
        row = Product.objects.create(sku="a")
        row.stock = 5
        assert Product.objects.bulk_update([row], ["stock"]) == 1
        assert no_locks.refused == []
