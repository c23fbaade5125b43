"""Types and collations that the server may have: hstore, citext, ICU; skipped where not."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from django_bulkupsert import DuplicateKeysError, UpsertResult

pytestmark = pytest.mark.django_db


def need(tables, sql: str, what: str) -> None:
    """Run SQL that makes a type, or skip."""
    try:
        with transaction.atomic():
            tables(sql)
    except DatabaseError:
        pytest.skip(f"the server has no {what}")


@pytest.fixture
def hstore(tables):
    """The model with an hstore column."""
    need(tables, "CREATE EXTENSION hstore", "hstore")
    tables("CREATE TABLE tests_hstore (key int PRIMARY KEY, value hstore)")
    from django.contrib.postgres.signals import get_hstore_oids, register_type_handlers

    from .extension_models import WithHstore

    get_hstore_oids.cache_clear()
    register_type_handlers(connection)
    return WithHstore


@pytest.fixture(params=["citext", "collation"])
def caseless(request, tables):
    """A model whose key takes upper and lower case for the same."""
    from . import extension_models

    if request.param == "citext":
        need(tables, "CREATE EXTENSION citext", "citext")
        tables("CREATE TABLE tests_citext (key citext PRIMARY KEY, value int)")
        return extension_models.WithCitext
    need(
        tables,
        "CREATE COLLATION tests_ci "
        "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "ICU collations",
    )
    tables("CREATE TABLE tests_collation (key varchar(10) COLLATE tests_ci PRIMARY KEY, value int)")
    return extension_models.WithCollation


def test_hstore(hstore, kind, strategy):
    """Keys and values of any text, and NULL, come back as they were."""
    values = [{"a": "1", "b": None}, {'q"uo\\te': "x,y=>z", "": ""}, {}, None, {"é": "NULL"}]
    rows, words = kind(hstore, [{"key": i, "value": value} for i, value in enumerate(values)])
    for status in ("created", "unchanged"):
        result = hstore.objects.bulk_upsert(rows, strategy=strategy, **words)
        assert getattr(result, status) == len(values)
    assert list(hstore.objects.order_by("key").values_list("value", flat=True)) == values


def test_caseless_keys_match(caseless, kind, strategy):
    """Another spelling of a key matches the stored row, whose spelling stays."""
    rows, words = kind(caseless, [{"key": "Abc", "value": 1}, {"key": "Ö", "value": 1}])
    caseless.objects.bulk_upsert(rows, strategy=strategy, **words)
    rows, words = kind(caseless, [{"key": "aBC", "value": 2}, {"key": "x", "value": 1}])
    result = caseless.objects.bulk_upsert(rows, strategy=strategy, **words)
    assert result == UpsertResult(created=1, updated=1)
    assert set(caseless.objects.values_list("key", "value")) == {("Abc", 2), ("Ö", 1), ("x", 1)}


def test_caseless_keys_that_stand_twice(caseless, kind, strategy):
    """Two spellings of one key in the input are duplicates, which only the server can tell."""
    rows, words = kind(caseless, [{"key": "abc"}, {"key": "x"}, {"key": "ABC"}])
    with pytest.raises(DuplicateKeysError) as caught:
        caseless.objects.bulk_upsert(rows, strategy=strategy, **words)
    assert caught.value.indexes == [(0, 2)]


def test_hstore_is_updated(hstore, shape, strategy):
    """bulk_update writes what bulk_upsert writes, and sees what is unchanged."""
    values = [{"a": "1", "b": None}, {'q"uo\\te': "x,y=>z", "": ""}, {}, None, {"é": "NULL"}]
    hstore.objects.bulk_upsert([hstore(key=i, value={"old": "1"}) for i in range(len(values))])
    rows = [hstore(key=i, value=value) for i, value in enumerate(values)]
    words = {"skip_unchanged": True, "strategy": strategy}
    for written in (len(values), 0):
        found = hstore.objects.bulk_update(shape(rows), ["value"], **words)
        assert (found, found.updated) == (len(values), written)
    assert list(hstore.objects.order_by("key").values_list("value", flat=True)) == values


@pytest.mark.parametrize("match", [None, ["key"]])
def test_caseless_keys_are_updated(caseless, shape, strategy, match):
    """Another spelling matches, and of two spellings of one key the first counts."""
    caseless.objects.bulk_upsert([{"key": "Abc"}, {"key": "Ö"}, {"key": "z"}])
    rows = [("aBC", 1), ("x", 2), ("ABC", 3), ("ö", 4)]
    found = caseless.objects.bulk_update(
        shape([caseless(key=key, value=value) for key, value in rows]),
        ["value"],
        match_fields=match,
        returning=["key"],
        strategy=strategy,
    )
    assert [(row.index, row["key"]) for row in found.rows] == [(0, "Abc"), (3, "Ö")]
    assert set(caseless.objects.values_list("key", "value")) == {("Abc", 1), ("Ö", 4), ("z", 0)}


@pytest.mark.parametrize("which", ["first", "last"])
@pytest.mark.parametrize("match", ["unique_fields", "match_fields"])
def test_caseless_duplicates(caseless, kind, strategy, which, match):
    """Of the spellings of one key one counts, and all of them mean its row."""
    caseless.objects.bulk_upsert([{"key": "Abc", "value": 0}])
    spelled = [("abc", 1), ("x", 2), ("ABC", 3), ("X", 4)]
    rows, words = kind(caseless, [{"key": key, "value": value} for key, value in spelled])
    result = caseless.objects.bulk_upsert(
        rows,
        **{match: ["key"]},
        duplicates=which,
        returning=["key", "value"],
        strategy=strategy,
        **words,
    )
    assert result == UpsertResult(created=1, updated=1, skipped=2, rows=result.rows)
    new = ("x", 2) if which == "first" else ("X", 4)
    value = 1 if which == "first" else 3
    assert [tuple(row.values.values()) for row in result.rows] == [("Abc", value), new] * 2


def test_caseless_values_that_change(tables, kind, strategy):
    """Another spelling of a value is a change, though the type says that it is the same."""
    from .extension_models import WithCaselessNote

    need(tables, "CREATE EXTENSION citext", "citext")
    tables("CREATE TABLE tests_caseless_note (key int PRIMARY KEY, note citext)")
    for note, expected in [("a", "created"), ("a", "unchanged"), ("A", "updated")]:
        rows, words = kind(WithCaselessNote, [{"key": 1, "note": note}])
        result = WithCaselessNote.objects.bulk_upsert(rows, strategy=strategy, **words)
        assert getattr(result, expected) == 1, note
    assert WithCaselessNote.objects.get().note == "A"
