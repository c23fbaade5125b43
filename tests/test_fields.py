"""Every field class, over every relation: what is read back is what was given."""

from __future__ import annotations

import datetime
import os

import pytest
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import strategies
from .conftest import STRATEGIES
from .models import Code, Country, Everything, Mood

pytestmark = pytest.mark.django_db
EXAMPLES = int(os.environ.get("EXAMPLES") or 60)
thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Undo(Exception):
    """Rolls an example's writes back."""


def images() -> list[str]:
    """Return the table as the server prints it."""
    names = ", ".join(
        connection.ops.quote_name(field.column)
        for field in Everything._meta.concrete_fields
        if not field.primary_key
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT ROW({names})::text FROM tests_everything ORDER BY key")
        return [row[0] for row in cursor.fetchall()]


def written(write) -> list[str]:
    """Return the table's image after a write, and undo that."""
    found: list[str] = []
    try:
        with transaction.atomic():
            write()
            found = images()
            raise Undo
    except Undo:
        return found


@thorough
@given(rows=strategies.rows())
def test_every_relation_leaves_djangos_table(rows):
    """The main oracle: each relation, and Django's own INSERT, leave the same table."""
    expected = written(lambda: Everything.objects.bulk_create(Everything(**row) for row in rows))
    for strategy in STRATEGIES:
        for made in (rows, [Everything(**row) for row in rows]):

            def write(made=made, strategy=strategy):
                result = Everything.objects.bulk_upsert(
                    made, unique_fields=["key"], strategy=strategy
                )
                assert result.created == len(made)
                again = Everything.objects.bulk_upsert(
                    made, unique_fields=["key"], strategy=strategy
                )
                assert again.unchanged == len(made)

            assert written(write) == expected


@thorough
@given(before=strategies.rows(), after=strategies.rows())
def test_every_relation_updates_alike(before, after):
    """Rows written over others leave the table that they alone would have left."""
    expected = written(lambda: Everything.objects.bulk_create(Everything(**row) for row in after))
    for strategy in STRATEGIES:

        def write(strategy=strategy):
            Everything.objects.bulk_upsert(before, unique_fields=["key"])
            Everything.objects.filter(key__gte=len(after)).delete()
            Everything.objects.bulk_upsert(iter(after), unique_fields=["key"], strategy=strategy)

        assert written(write) == expected


@pytest.mark.parametrize("name", strategies.FIELDS)
def test_round_trip(name, strategy):
    """Each field's values come back from the database as they went in."""

    @settings(thorough, max_examples=max(5, EXAMPLES // 6))
    @given(values=st.lists(strategies.FIELDS[name], min_size=1, max_size=5))
    def round_trip(values):
        Everything.objects.bulk_upsert(
            [{"key": i, name: value} for i, value in enumerate(values)],
            unique_fields=["key"],
            strategy=strategy,
        )
        found = Everything.objects.order_by("key").values_list(name, flat=True)
        stored = [plain(value) for value in found[: len(values)]]
        assert stored == [plain(value) for value in values]

    round_trip()


def plain(value):
    """Return a value in the one form that what was given and what is read back share."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, datetime.datetime):  # in another zone, an ambiguous time equals nothing
        return value.astimezone(datetime.timezone.utc)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if hasattr(value, "isempty"):
        return _plain_range(value)
    return getattr(value, "value", value)


def _plain_range(value):
    lower, upper = plain(value.lower), plain(value.upper)
    closed = value.lower_inc and value.upper_inc
    if value.isempty or (lower is not None and lower == upper and not closed):
        return "empty"
    return (lower, upper, value.lower_inc, value.upper_inc)


def test_null_in_json(kind, strategy):
    """None is SQL's NULL; Value(None, JSONField()) is JSON's null."""
    if strategy == "unnest":
        strategy = None
    rows, words = kind(
        Everything, [{"key": 1, "json": None}, {"key": 2, "json": strategies.JSON_NULL}]
    )
    Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
    assert Everything.objects.get(json__isnull=True).key == 1
    assert Everything.objects.get(json=strategies.JSON_NULL).key == 2


@pytest.mark.parametrize("value", ["good", Mood.GOOD])
def test_choices(kind, strategy, value):
    """A member of choices is stored as its value."""
    rows, words = kind(Everything, [{"key": 1, "mood": value}])
    Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
    assert Everything.objects.filter(mood="good").exists()


def test_relations(kind, strategy):
    """Foreign keys and one-to-one fields are columns like others."""
    country, code = Country.objects.create(code="de"), Code.objects.create(code="x")
    rows, words = kind(Everything, [{"key": 1, "relation": country, "one": code}])
    Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
    assert Everything.objects.values_list("relation", "one").get() == (country.pk, "x")


NAIVE = datetime.datetime(2026, 5, 1, 12, 30, 15, 5)


def test_naive_moments_with_time_zones_on(kind, strategy):
    """Django's warning comes through, and its meaning: the default zone."""
    rows, words = kind(Everything, [{"key": 1, "datetime": NAIVE}])
    with pytest.warns(RuntimeWarning, match="received a naive datetime"):
        Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
    assert Everything.objects.get().datetime.replace(tzinfo=None) == NAIVE + datetime.timedelta(
        hours=5
    )


@pytest.fixture
def no_time_zones():
    """Run with USE_TZ off, as the connection sees it too."""
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Kolkata"):
        for name in ("timezone", "timezone_name"):
            connection.__dict__.pop(name, None)
        connection.ensure_timezone()
        yield
    for name in ("timezone", "timezone_name"):
        connection.__dict__.pop(name, None)
    connection.ensure_timezone()


def test_moments_with_time_zones_off(no_time_zones, kind, strategy):
    """Naive moments are stored and read back as they are."""
    rows, words = kind(Everything, [{"key": 1, "datetime": NAIVE, "moments": [NAIVE]}])
    for status in ("created", "unchanged"):
        result = Everything.objects.bulk_upsert(
            rows, unique_fields=["key"], strategy=strategy, **words
        )
        assert getattr(result, status) == 1
    assert Everything.objects.values_list("datetime", "moments").get() == (NAIVE, [NAIVE])


@thorough
@given(before=strategies.rows(), after=strategies.rows(), chance=st.randoms())
def test_every_relation_updates_as_django(before, after, chance):
    """The oracle of bulk_update: each relation, and Django's own, leave the same table."""
    every = [*strategies.FIELDS, *strategies.ONES]
    names = [name for name in every if chance.random() < 0.7] or ["text"]
    keep = {(i, name) for i in range(len(after)) for name in names if chance.random() < 0.1}

    def write(queryset, **words):
        Everything.objects.bulk_create(Everything(**row) for row in before)
        keys = dict(Everything.objects.values_list("key", "pk"))
        rows = [Everything(pk=keys.get(row["key"], 0), **row) for row in after]
        for i, name in keep:
            setattr(rows[i], name, F(name))
        found = queryset.bulk_update(rows, names, **words)
        assert found == min(len(before), len(after))

    expected = written(lambda: write(QuerySet(Everything)))
    for strategy in STRATEGIES:
        assert written(lambda: write(Everything.objects, strategy=strategy)) == expected  # noqa: B023
        assert (
            written(lambda: write(Everything.objects, strategy=strategy, skip_unchanged=True))  # noqa: B023
            == expected
        )
