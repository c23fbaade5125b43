"""What a call leaves of Django's transactions: rows may hold some open, and errors end some."""

from __future__ import annotations

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, connection, connections, transaction

from django_bulkupsert import RowError, UnsupportedDatabase
from django_bulkupsert.transactions import _open

from .calls import update, upsert
from .models import Country, Product

pytestmark = pytest.mark.django_db(transaction=True)


class Stop(Exception):
    """What the caller's own code raises."""


def held(count, last=None):
    """Rows from within a transaction, as select_for_update() wants it."""
    with transaction.atomic():
        for i in range(count):
            yield {"sku": f"{i:05}", "stock": 7}
        if last is not None:
            yield last


def copy(rows, _strategy):
    return Product.objects.bulk_copy(rows)


@pytest.fixture
def untouched(transactional_db):
    """Checks that Django and the driver believe in no transaction."""
    yield
    assert (connection.in_atomic_block, connection.atomic_blocks) == (False, [])
    assert (connection.savepoint_ids, connection.get_autocommit()) == ([], True)
    assert connection.connection.autocommit
    assert not _open.get(connections["default"])


@pytest.mark.parametrize("count", [3, 3_000])
@pytest.mark.parametrize("call", [upsert, update, copy])
def test_rows_that_hold_a_transaction(untouched, strategy, call, count):
    if call is update:
        upsert([{"sku": f"{i:05}", "stock": 0} for i in range(count)], strategy)
    call(held(count), strategy)
    assert connection.get_autocommit()
    connection.close()
    assert Product.objects.filter(stock=7).count() == count


@pytest.mark.parametrize("count", [3, 3_000])
def test_bad_row_within_a_transaction_that_rows_hold(untouched, strategy, count):
    with pytest.raises(RowError):
        upsert(held(count, {"sku": "x" * 99, "stock": 7}), strategy)
    Country.objects.create(code="it", name="Italy")
    connection.close()
    assert (Product.objects.count(), Country.objects.count()) == (0, 1)


@pytest.mark.parametrize("fails", [True, False])
def test_bad_row_within_two_transactions(untouched, strategy, fails):
    """The caller's own is not ended by it, and can go on."""
    with pytest.raises(Stop) if fails else transaction.atomic(), transaction.atomic():
        with pytest.raises(RowError):
            upsert(held(5_000, {"sku": "x" * 99, "stock": 7}), strategy)
        Country.objects.create(code="it", name="Italy")
        if fails:
            raise Stop
    assert (Product.objects.count(), Country.objects.count()) == (0, 0 if fails else 1)


def test_hook_that_fails_while_it_handles_an_error(untouched, strategy):
    """Its own error comes out, not the one that it handles."""
    Country.objects.create(code="it", name="Italy")

    def hook():
        try:
            Country.objects.get(code="no")
        except ObjectDoesNotExist:
            Country.objects.create(code="it", name="Italy")

    def rows():
        for i in range(3):
            if i == 1:
                transaction.on_commit(hook)
            yield {"sku": str(i), "stock": 7}

    if strategy == "copy":
        with pytest.raises(IntegrityError):
            upsert(rows(), strategy)
        assert Product.objects.count() == 3


@pytest.mark.parametrize("autocommit", [True, False])
def test_first_use_that_fails(strategy, autocommit):
    """A connection that a failing call has opened stays."""

    def rows():
        Country.objects.create(code="it", name="Italy")
        raise Stop
        yield

    connection.close()
    transaction.set_autocommit(autocommit)
    try:
        with pytest.raises(Stop):
            upsert(rows(), strategy)
        assert connection.connection is not None
        if not autocommit:
            transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert Country.objects.count() == 1


def test_another_database_that_is_open():
    """It is refused as ever."""
    before = connections["lite"]
    connections["lite"] = type(before)(before.settings_dict, "lite")
    connections["lite"].connect()
    try:
        with pytest.raises(UnsupportedDatabase):
            Product.objects.using("lite").bulk_upsert([{"sku": "a"}], unique_fields=["sku"])
    finally:
        connections["lite"].connection.close()
        connections["lite"] = before
