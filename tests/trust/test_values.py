"""Values of every field class, by every relation: what is stored is what was given."""

from __future__ import annotations

import datetime
import decimal
import uuid

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from django_bulkupsert import RowValueError
from tests import strategies
from tests.models import Everything
from tests.test_fields import written
from tests.trust.conftest import LONG, SEED

pytestmark = pytest.mark.django_db

#: Examples of one to six rows; Hypothesis keeps those of a round in memory.
EXAMPLES, ROUNDS = (500, 6) if LONG else (40, 1)

NAMES = [*strategies.FIELDS, *strategies.ONES]


def update(rows, strategy):
    """Store the keys of rows, and then the rest of them."""
    Everything.objects.bulk_copy({"key": row["key"]} for row in rows)
    names = [name.removesuffix("_id") for name in NAMES]
    objs = (Everything(**row) for row in rows)
    found = Everything.objects.bulk_update(objs, names, match_fields=["key"], strategy=strategy)
    assert found == len(rows)


def run_round(number, seen):
    """Write rows by each relation; count them."""

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(rows=strategies.rows())
    def run(rows):
        expected = written(
            lambda: Everything.objects.bulk_create(Everything(**row) for row in rows)
        )
        for strategy in ("values", "unnest", "copy"):
            found = written(
                lambda strategy=strategy: Everything.objects.bulk_upsert(
                    iter(rows), unique_fields=["key"], strategy=strategy
                )
            )
            assert found == expected
        found = written(lambda: Everything.objects.bulk_copy(iter(rows)))
        assert found == expected
        for strategy in ("values", "unnest", "copy"):
            assert written(lambda strategy=strategy: update(rows, strategy)) == expected
        seen["rows"] += len(rows)

    run()


def test_values_by_every_relation(tell):
    """Beside Django's own INSERT: the same image of the table, value by value."""
    seen = {"rows": 0}

    for number in range(SEED, SEED + ROUNDS):
        run_round(number, seen)
    values = seen["rows"] * len(NAMES) * 7
    tell(
        "values of every field class",
        "upsert and update by values, unnest, copy; bulk_copy; beside Django's INSERT",
        f"{values:,} values, {len(NAMES)} fields",
        "0 wrong, 0 truncated",
    )
    if LONG:
        assert values >= 2_000_000


#: What PostgreSQL can't hold, by field.
IMPOSSIBLE = {
    "big": st.integers(2**63, 2**70) | st.integers(-(2**70), -(2**63) - 1),
    "boolean": st.just("maybe"),
    "char": st.text(strategies.characters, min_size=31) | st.just("a\0b") | st.just("\ud800"),
    "date": st.sampled_from(["2026-02-30", "today", datetime.time(1)]),
    "datetime": st.sampled_from(["2026-02-30T00:00", "now"]),
    "decimal": st.sampled_from([decimal.Decimal(10**15), "x", decimal.Decimal("sNaN")]),
    "integer": st.integers(2**31, 2**40) | st.integers(-(2**40), -(2**31) - 1),
    "ip": st.sampled_from(["300.1.1.1", "x"]),
    "json": st.sampled_from([float("nan"), float("inf"), "a\0b", {"a\0": 1}, ["\ud800"]]),
    "positive": st.just(-(2**31)),
    "small": st.integers(2**15, 2**20),
    "text": st.sampled_from(["a\0b", "\udfff"]),
    "time": st.sampled_from(["25:00", "noon"]),
    "uuid": st.sampled_from(["x", "0" * 31]),
    "integers": st.lists(st.integers(2**31, 2**40), min_size=1, max_size=3),
    "texts": st.lists(st.text("ab", min_size=21), min_size=1, max_size=3),
    "decimals": st.just([decimal.Decimal(10**15)]),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_held(name, tell):
    """It is refused, with its row and its field, by every relation; nothing is written."""
    seen = {"count": 0}

    @seed(SEED)
    @settings(
        max_examples=60 if LONG else 5,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(value=IMPOSSIBLE[name], at=st.integers(0, 4))
    def run(value, at):
        good = uuid.uuid4().hex[:8]
        rows = [{"key": key, "slug": good, name: None} for key in range(5)]
        rows[at][name] = value
        for strategy in ("values", "unnest", "copy"):
            with pytest.raises(RowValueError) as caught, transaction.atomic():
                Everything.objects.bulk_upsert(iter(rows), unique_fields=["key"], strategy=strategy)
            assert (caught.value.index, caught.value.field) == (at, name)
            seen["count"] += 1
        assert not Everything.objects.exists()

    run()
    tell("values that can't be held", name, f"{seen['count']} values", "refused, row and field")
