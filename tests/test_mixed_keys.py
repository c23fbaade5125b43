"""Mappings whose keys differ."""

from __future__ import annotations

import types

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Lower

from django_bulkupsert import (
    DuplicateKeysError,
    Excluded,
    OptionError,
    RowFieldsError,
    RowTypeError,
    RowValueError,
    UnknownFieldError,
)

from .conftest import counts
from .models import NOON, Offer, Product

pytestmark = pytest.mark.django_db
ROWS = [
    {"sku": "a", "stock": 1},
    {"sku": "b", "name": "B"},
    {"stock": 3, "sku": "c"},
    {"sku": "d"},
    {"sku": "e", "name": "E", "stock": 5},
    {"sku": "f", "name": "F"},
]


def test_rows_with_different_keys(shape, strategy):
    """Each row updates what it gives; the result is in the order of the input."""
    for sku in "abc":
        Product.objects.create(sku=sku, stock=9, name="old")
    result = Product.objects.bulk_upsert(
        shape(ROWS),
        unique_fields=["sku"],
        mixed_keys=True,
        returning=["sku", "stock", "name"],
        returning_old=True,
        strategy=strategy,
    )
    assert counts(result) == (3, 3, 0, 0)
    assert [row.index for row in result.rows] == [0, 1, 2, 3, 4, 5]
    assert [tuple(row.values.values()) for row in result.rows] == [
        ("a", 1, "old"), ("b", 9, "B"), ("c", 3, "old"), ("d", 0, ""), ("e", 5, "E"), ("f", 0, "F"),
    ]  # fmt: skip
    assert result.rows[0].old == {"sku": "a", "stock": 9, "name": "old"}
    again = Product.objects.bulk_upsert(
        shape(ROWS), unique_fields=["sku"], mixed_keys=True, strategy=strategy
    )
    assert counts(again) == (0, 0, 6, 0)


def test_the_default_is_an_error(shape, strategy):
    """Without the word, the first row that differs is an error."""
    with pytest.raises(RowFieldsError, match=r"row 1: lacks .stock., which row 0 gives"):
        Product.objects.bulk_upsert(shape(ROWS), unique_fields=["sku"], strategy=strategy)
    assert Product.objects.count() == 0


def test_one_group_after_the_other(strategy):
    """Groups are calls of their own, in order: a later one updates what an earlier one made."""
    rows = [{"sku": "a", "stock": 1}, {"sku": "a", "name": "x"}]
    result = Product.objects.bulk_upsert(
        rows, unique_fields=["sku"], mixed_keys=True, strategy=strategy
    )
    assert counts(result) == (1, 1, 0, 0)
    assert Product.objects.values_list("stock", "name").get() == (1, "x")


def test_options_are_narrowed(strategy):
    """What names fields is about the rows that give them."""
    Product.objects.create(sku="a", stock=1, name="x")
    Product.objects.create(sku="b", stock=1, name="x")
    rows = [{"sku": "A", "stock": 5, "price": 3}, {"sku": "B", "name": "Y"}]
    words = {"unique_fields": ["sku"], "mixed_keys": True, "strategy": strategy}
    result = Product.objects.bulk_upsert(
        rows,
        update_fields=["stock", "name"],
        transform={"sku": Lower("sku"), "name": Lower("name")},
        **words,
    )
    assert counts(result) == (0, 2, 0, 0)
    assert set(Product.objects.values_list("sku", "stock", "name", "price")) == {
        ("a", 5, "x", None), ("b", 1, "y", None),
    }  # fmt: skip
    result = Product.objects.bulk_upsert(
        [{"sku": "a"}, {"sku": "b", "name": "z"}], update_fields={"stock": F("stock") + 1}, **words
    )
    assert set(Product.objects.values_list("sku", "stock")) == {("a", 6), ("b", 2)}


def test_partial_index(strategy):
    """A row that doesn't give what a condition reads is judged by its default."""
    Offer.objects.create(sku="a", price=1)
    rows = [{"sku": "a", "price": 2}, {"sku": "a", "price": 3, "deleted": NOON}]
    result = Offer.objects.bulk_upsert(
        rows, unique_fields=["sku"], mixed_keys=True, strategy=strategy
    )
    assert counts(result) == (1, 1, 0, 0)


def test_errors_name_the_row_of_the_input(strategy):
    """An error's index is the row's in the whole input, and nothing is left behind."""
    words = {"unique_fields": ["sku"], "mixed_keys": True, "strategy": strategy}
    with pytest.raises(RowValueError, match="row 5, field 'name'") as caught:
        Product.objects.bulk_upsert([*ROWS[:5], {"sku": "f", "name": "x" * 50}], **words)
    assert caught.value.index == 5
    with pytest.raises(DuplicateKeysError, match="rows 1 and 6") as caught:
        Product.objects.bulk_upsert([*ROWS, {"name": "again", "sku": "b"}], **words)
    assert caught.value.indexes == [(1, 6)]
    with pytest.raises(RowTypeError, match=r"row 6: .*tuple.*, where mixed_keys takes mappings"):
        Product.objects.bulk_upsert([*ROWS, ("x", 1)], **words)
    with pytest.raises(UnknownFieldError, match="did you mean stock"):
        Product.objects.bulk_upsert([*ROWS, {"sku": "x", "stok": 1}], **words)
    with pytest.raises(OptionError, match="'sku', which the rows don't give"):
        Product.objects.bulk_upsert([*ROWS, {"stock": 1}], **words)
    assert Product.objects.count() == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"fields": ["sku"]}, "mixed_keys is for rows that are mappings"),
        ({"update_fields": ["price"]}, "update_fields names 'price', which no row gives"),
        ({"transform": {"price": F("stock")}}, "transform names 'price', which no row gives"),
        ({"update_fields": {"name": Excluded("price")}}, "'price', which the rows don't give"),
        ({"update_fields": ["prize"]}, "did you mean price"),
    ],
)
def test_words_that_cannot_be(words, reason):
    """What no row can mean is refused, and nothing is written."""
    with pytest.raises(OptionError, match=reason):
        Product.objects.bulk_upsert(ROWS, unique_fields=["sku"], mixed_keys=True, **words)
    assert Product.objects.count() == 0


def test_mappings_of_every_kind(strategy):
    """A row may be any mapping."""
    rows = [types.MappingProxyType({"sku": "a"}), {"sku": "b", "stock": 1}]
    result = Product.objects.bulk_upsert(
        rows, unique_fields=["sku"], mixed_keys=True, strategy=strategy
    )
    assert result.created == 2


def test_no_rows():
    """Nothing is nothing."""
    assert Product.objects.bulk_upsert([], unique_fields=["sku"], mixed_keys=True).total == 0


@pytest.mark.django_db(transaction=True)
def test_all_or_nothing():
    """An error in the last group takes back the first, outside of a transaction too."""
    rows = [{"sku": "a"}, {"sku": "b", "stock": 10**12}]
    with pytest.raises(RowValueError, match="row 1"):
        Product.objects.bulk_upsert(rows, unique_fields=["sku"], mixed_keys=True)
    assert Product.objects.count() == 0
    assert connection.get_autocommit()
