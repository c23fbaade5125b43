"""Calls whose rows are products, alike for each method, for tests that try several."""

from __future__ import annotations

from .models import Product


def upsert(given, strategy):
    """Upsert mappings by ``sku``."""
    return Product.objects.bulk_upsert(given, unique_fields=["sku"], strategy=strategy)


def update(given, strategy):
    """Update ``stock`` by ``sku``."""
    objs = (Product(**row) for row in given)
    return Product.objects.bulk_update(objs, ["stock"], match_fields=["sku"], strategy=strategy)
