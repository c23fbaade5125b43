"""The same new rows brought by several calls at once, to a table with two unique indexes."""

from __future__ import annotations

import threading

import pytest

from tests.conftest import run_threads
from tests.models import TwoKeys

pytestmark = pytest.mark.django_db(transaction=True)

WRITERS = 4


@pytest.mark.parametrize("strategy", ["values", "unnest", "copy"])
@pytest.mark.parametrize("kind", ["mappings", "instances"])
def test_identical_calls(strategy, kind, size, tell):
    rounds, rows = size(400, 30), 5
    barrier = threading.Barrier(WRITERS)
    results = [[] for _ in range(rounds)]

    def work():
        for number in range(rounds):
            keys = range(number * rows, (number + 1) * rows)
            given = [{"key": key, "code": f"{key:x}", "value": number} for key in keys]
            if kind == "instances":
                given = [TwoKeys(**row) for row in given]
            barrier.wait(60)
            result = TwoKeys.objects.bulk_upsert(given, unique_fields=["key"], strategy=strategy)
            results[number].append(result)
            if kind == "instances":
                assert all(row.pk for row in given)

    errors = run_threads(*[work] * WRITERS)
    assert errors == []
    for each in results:
        assert sum(result.created for result in each) == rows
        # Of the same values, so that a call which came later has nothing to update; or it waited.
        assert sum(result.updated + result.unchanged for result in each) == rows * (WRITERS - 1)
    stored = dict(TwoKeys.objects.values_list("key", "code"))
    assert stored == {key: f"{key:x}" for key in range(rounds * rows)}
    retries = sum(result.retries for each in results for result in each)
    most = max(result.retries for each in results for result in each)
    tell(
        "identical calls at once",
        f"upsert, {strategy}, {kind}",
        f"{rounds * WRITERS} calls",
        f"all succeed, {retries} retries, {most} at most in one call",
    )
