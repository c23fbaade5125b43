"""More keys than are remembered: ON CONFLICT itself refuses those that stand twice."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import DuplicateKeysError, seen
from tests.conftest import counts
from tests.models import Product

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def few_are_remembered(monkeypatch):
    """No key is remembered, as if there were too many."""
    monkeypatch.setattr(seen, "MOST_SEEN", 0)


@pytest.fixture
def stored():
    """Three rows."""
    return Product.objects.bulk_upsert(map(row, "abc"), unique_fields=["sku"])


def row(sku, stock=1):
    return {"sku": sku, "name": "x", "stock": stock}


def upsert(shape, rows, **options):
    return Product.objects.bulk_upsert(
        shape(rows), unique_fields=["sku"], strategy="copy", **options
    )


def stocks():
    return dict(Product.objects.values_list("sku", "stock"))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([row("n"), row("m"), row("n", 2)], id="new"),
        pytest.param([row("a", 2), row("b", 2), row("a", 3)], id="changed"),
        pytest.param([row("a"), row("b"), row("a")], id="unchanged"),
        pytest.param([row("a"), row("b", 2), row("a", 2)], id="one is unchanged"),
        pytest.param([row("n"), row("a"), row("n"), row("b")], id="new beside unchanged"),
    ],
)
@pytest.mark.parametrize("skip", [True, False])
def test_keys_that_stand_twice_are_refused(shape, stored, rows, skip):
    with pytest.raises(DuplicateKeysError) as caught:
        upsert(shape, rows, skip_unchanged=skip)
    (indexes,) = caught.value.indexes
    first, second = indexes
    assert rows[first]["sku"] == rows[second]["sku"] == caught.value.keys[0][0]
    assert stocks() == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("skip", [True, False])
def test_counts(shape, stored, skip):
    rows = [row("a"), row("b", 2), row("n"), row("m"), row("c")]
    result = upsert(shape, rows, skip_unchanged=skip)
    assert counts(result) == ((2, 1, 2, 0) if skip else (2, 3, 0, 0))
    assert stocks() == {"a": 1, "b": 2, "c": 1, "n": 1, "m": 1}


@pytest.mark.parametrize("preserve", [True, False])
def test_counts_with_instances_and_sequences(shape, stored, preserve):
    rows = [Product(**row(sku, 2)) for sku in "abn"]
    result = upsert(shape, rows, preserve_sequence=preserve)
    assert counts(result) == (1, 2, 0, 0)
    assert [each.pk for each in rows] == [
        Product.objects.get(sku=each.sku).pk for each in rows
    ]  # fmt: skip
    again = upsert(shape, [row("a", 2), row("b"), row("z")], preserve_sequence=preserve)
    assert counts(again) == (1, 1, 1, 0)


@pytest.mark.parametrize(
    ("kept", "expected"), [("first", {"a": 2, "b": 2}), ("last", {"a": 3, "b": 2})]
)
def test_one_row_of_a_key_counts(shape, kept, expected):
    rows = [row("a", 2), row("b", 2), row("a", 3)]
    assert counts(upsert(shape, rows, duplicates=kept)) == (2, 0, 0, 1)
    assert stocks() == expected


def test_a_trigger_that_drops_rows(shape, stored):
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN IF NEW.stock = 13 THEN RETURN NULL; END IF; RETURN NEW; END$$;"
            "CREATE TRIGGER drops BEFORE INSERT ON tests_product "
            "FOR EACH ROW EXECUTE FUNCTION drops()"
        )
    result = upsert(shape, [row("a"), row("b", 2), row("n", 13), row("m"), row("c", 13)])
    assert counts(result) == (1, 1, 1, 2)
    with pytest.raises(DuplicateKeysError):  # though the server would take them
        upsert(shape, [row("k", 13), row("k"), row("l")])
    assert "k" not in stocks()


def test_a_rule_that_does_something_besides(shape, stored):
    """A rule may do as it likes, so it is asked beforehand."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE RULE also AS ON INSERT TO tests_product DO ALSO NOTHING")
    with CaptureQueriesContext(connection) as queries:
        result = upsert(shape, [row("a"), row("b", 2), row("n")])
    assert counts(result) == (1, 1, 1, 0)
    assert [asked for asked in asks(queries) if "INSERT" in asked]


def test_what_the_insert_tells_is_not_asked(shape, stored):
    with CaptureQueriesContext(connection) as queries:
        assert counts(upsert(shape, [row("a", 2), row("n"), row("m")])) == (2, 1, 0, 0)
    assert not asks(queries)
    with CaptureQueriesContext(connection) as queries:
        assert counts(upsert(shape, [row("a", 2), row("n", 2), row("o")])) == (1, 1, 1, 0)
    (asked,) = asks(queries)  # of what was left out
    assert "INSERT" not in asked


def asks(queries):
    """Return the statements that look for keys that stand twice."""
    return [query["sql"] for query in queries if "HAVING count(*) > 1" in query["sql"]]
