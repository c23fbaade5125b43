"""What is no change: judged by what is stored, where equality lies or there is none."""

from __future__ import annotations

import django
import pytest
from django.db import connection
from django.db.models import F, Q

from django_bulkupsert import DuplicateKeysError, Excluded

from .models import NOON, Lead, Lying

pytestmark = pytest.mark.django_db

#: Two values that "=" calls the same, or can't compare.
PAIRS = {
    "json": ('{"a": 1}', '{"a":  1}'),
    "xml": ("<a/>", "<a></a>"),
    "point": ("(1,2)", "(1,3)"),
    "box": ("(2,2),(0,0)", "(1,4),(0,0)"),
    "circle": ("<(0,0),1>", "<(5,5),1>"),
    "lseg": ("[(0,0),(1,1)]", "[(0,0),(1,1.0000001)]"),
    "path": ("((0,0),(1,1))", "((0,0),(2,2))"),
    "polygon": ("((0,0),(1,1),(2,0))", "((0,0),(1,1),(3,0))"),
    "numeric": ("1.0", "1.00"),
    "interval": ("1 day", "24:00:00"),
    "real": ("0", "-0"),
    "jsons": ('{"{\\"a\\": 1}"}', '{"{\\"a\\":  1}"}'),
}


@pytest.fixture
def has_xml(db):
    """Whether the server was built with XML."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT setting FROM pg_config WHERE name = 'CONFIGURE'")
        found = cursor.fetchone()
    return found is None or "--with-libxml" in found[0]


@pytest.mark.parametrize("match", [{"unique_fields": ["key"]}, {"match_fields": ["key"]}])
@pytest.mark.parametrize("field", PAIRS)
def test_types_whose_equality_lies(field, match, kind, shape, has_xml):
    """A row is unchanged if its stored image is, and only then; clocks don't count."""
    if field == "xml" and not has_xml:
        pytest.skip("the server was built without XML")
    one, other = PAIRS[field]
    for value, expected in [
        (one, "created"),
        (one, "unchanged"),
        (other, "updated"),
        (other, "unchanged"),
        (None, "updated"),
        (None, "unchanged"),
        (one, "updated"),
    ]:
        Lying.objects.update(touched=NOON)
        rows, words = kind(Lying, [{"key": 1, field: value}])
        result = Lying.objects.bulk_upsert(shape(rows), **match, **words)
        assert getattr(result, expected) == 1, (value, expected)
        assert (Lying.objects.get().touched == NOON) == (expected == "unchanged")


@pytest.mark.parametrize("field", ["json", "xml", "numeric", "interval", "real", "jsons"])
def test_over_every_relation(field, strategy, has_xml):
    """Where a cast is safe every relation carries the type; the image is the same."""
    if field == "xml" and not has_xml:
        pytest.skip("the server was built without XML")
    one, other = PAIRS[field]
    for value, expected in [(one, "created"), (one, "unchanged"), (other, "updated")]:
        result = Lying.objects.bulk_upsert(
            [{"key": 1, field: value}], unique_fields=["key"], strategy=strategy
        )
        assert getattr(result, expected) == 1


@pytest.mark.parametrize("field", ["point", "box", "circle"])
def test_expressions_of_such_types(field):
    """Of an expression that is of no known type nothing is said: the row is written."""
    one, other = PAIRS[field]
    for value in (one, one, other):
        result = Lying.objects.bulk_upsert(
            [{"key": 1, field: value}],
            unique_fields=["key"],
            update_fields={field: Excluded(field)},
            returning=[field],
        )
        assert result.rows[0][field] == value
    result = Lying.objects.bulk_upsert(
        [{"key": 1, field: one}], unique_fields=["key"], update_fields={field: F(field)}
    )
    assert result.updated == 1
    assert getattr(Lying.objects.get(), field) == other


# Where rows can't be locked ----------------------------------------------------------------


@pytest.mark.parametrize("code", ["0A000", "XX000"])
def test_match_fields_where_rows_cannot_be_locked(no_locks, strategy, kind, code):
    """Where the engine can't lock rows, they are updated without, and it is asked once."""
    no_locks.codes[0] = code
    Lead.objects.create(name="a", score=1)
    for score in (2, 3):
        rows, words = kind(Lead, [{"name": "a", "score": score}, {"name": "b", "score": score}])
        result = Lead.objects.bulk_upsert(
            rows, match_fields=["name"], returning=["score"], strategy=strategy, **words
        )
        assert [row["score"] for row in result.rows] == [score, score]
    assert len(no_locks.refused) == 1


# Primary keys of several fields ------------------------------------------------------------


@pytest.mark.skipif(django.VERSION < (5, 2), reason="composite primary keys are new in Django 5.2")
def test_composite_primary_key(kind, shape, strategy):
    """All that can be said of rows can be said of those with a composite primary key."""
    from .models import Composite

    for number, value in ((1, 1), (2, 5), (3, 1)):
        Composite.objects.create(tenant=1, number=number, value=value)
    pairs = [(3, 4), (1, 2), (2, 3), (1, 7), (9, 1)]
    given = [{"tenant": 1, "number": number, "value": value} for number, value in pairs]
    rows, words = kind(Composite, given)
    words |= {
        "where": Q(value__lt=Excluded("value")),
        "update_fields": {"value": F("value") + Excluded("value")},
        "returning": ["pk", "value"],
        "returning_old": True,
        "strategy": strategy,
    }
    with pytest.raises(DuplicateKeysError, match=r"\(tenant, number\) = \(1, 1\) in rows 1 and 3"):
        Composite.objects.bulk_upsert(shape(rows), **words)
    for match in ({}, {"unique_fields": ["pk"]}, {"match_fields": ["number", "tenant"]}):
        Composite.objects.all().delete()
        for number, value in ((1, 1), (2, 5), (3, 1)):
            Composite.objects.create(tenant=1, number=number, value=value)
        rows, _ = kind(Composite, given)
        result = Composite.objects.bulk_upsert(shape(rows), duplicates="last", **match, **words)
        assert [row.status for row in result.rows] == [
            "updated", "skipped", "skipped", "updated", "created",
        ]  # fmt: skip
        assert [row["value"] for row in result.rows] == [5, 8, 5, 8, 1]
        assert [row.old and row.old["value"] for row in result.rows] == [1, 1, 5, 1, None]
        assert [(row["tenant"], row["number"]) for row in result.rows] == [
            (1, number) for number, _ in pairs
        ]
        if isinstance(rows[0], Composite):
            assert [row.value for row in rows] == [5, 8, 5, 8, 1]
