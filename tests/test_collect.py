"""on_error="collect": the good rows are written, and the bad ones are told of."""

from __future__ import annotations

import io

import pytest
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import CsvRows, OptionError, RowError, RowValueError
from tests.models import City, Country, Everything, Product

pytestmark = pytest.mark.django_db


def upsert(rows, model=Product, by=("sku",), **words):
    return model.objects.bulk_upsert(rows, unique_fields=list(by), on_error="collect", **words)


def skus():
    return list(Product.objects.order_by("sku").values_list("sku", flat=True))


def told(result):
    return [(each.index, each.field, each.value) for each in result.rejected]


def test_nothing_is_wrong(shape, kind):
    """Without bad rows, all is as ever."""
    rows, words = kind(Product, [{"sku": "A", "stock": 1}, {"sku": "B", "stock": 2}])
    result = upsert(shape(rows), **words)
    assert (result.created, result.rejected, result.total) == (2, [], 2)
    result = upsert(shape(rows), **words)
    assert (result.unchanged, result.total) == (2, 2)


def test_values(shape, kind):
    """Values that can't be stored, in any column, any number of them."""
    rows, words = kind(
        Product,
        [
            {"sku": "A", "name": "x", "stock": 1},
            {"sku": "B", "name": "x", "stock": "one"},
            {"sku": "C", "name": "x" * 21, "stock": 3},
            {"sku": "D\0", "name": "x", "stock": 4},
            {"sku": "E", "name": "x", "stock": 2**31},
            {"sku": "F", "name": "x", "stock": 6},
        ],
    )
    result = upsert(shape(rows), **words)
    assert skus() == ["A", "F"]
    assert told(result) == [
        (1, "stock", "one"), (2, "name", "x" * 21), (3, "sku", "D\0"), (4, "stock", 2**31),
    ]  # fmt: skip
    assert result.created == 2
    assert result.total == 6
    assert str(result) == "2 created, 0 updated, 0 unchanged, 0 skipped, 4 rejected"
    assert {each.sqlstate for each in result.rejected} == {None}


def test_instances_keep_their_keys():
    """Instances of good rows get their primary keys; those of bad ones stay as they are."""
    rows = [Product(sku="A"), Product(sku="B", stock="x"), Product(sku="C")]
    result = upsert(rows, returning=["sku"])
    assert [row.pk is not None for row in rows] == [True, False, True]
    assert rows[2].pk == Product.objects.get(sku="C").pk
    assert [(row.index, row["sku"]) for row in result.rows] == [(0, "A"), (2, "C")]


def test_rows_that_are_none(shape):
    """Rows that lack a key, give one too many, or are of another kind."""
    rows = [{"sku": "A", "stock": 1}, {"sku": "B"}, 5, {"sku": "C", "stock": 1, "x": 1},
            {"sku": "D", "stock": 1}]  # fmt: skip
    result = upsert(shape(rows))
    assert skus() == ["A", "D"]
    assert [each.index for each in result.rejected] == [1, 2, 3]
    assert "lacks 'stock'" in result.rejected[0].message


def test_files():
    """Rows of a file come back with their lines and texts; ragged and broken ones too."""
    file = 'sku,name,stock,price\nA,x,1,1\nB,x\nC,x,three,3\nD,"x"y,4,4\n\nE,x,5,5,5\nF,x,6,6\n'
    result = upsert(CsvRows(io.StringIO(file)))
    assert skus() == ["A", "F"]
    assert [(each.line, each.index, each.field, each.value) for each in result.rejected] == [
        (3, 1, None, None), (4, 2, "stock", "three"), (5, 3, None, None), (7, 4, None, None),
    ]  # fmt: skip


def test_related_values():
    """Unknown codes are rows' errors."""
    Country.objects.create(code="DE")
    file = "name,country__code\nBerlin,DE\nOslo,NO\nRome,IT\nBonn,DE\n"
    result = upsert(CsvRows(io.StringIO(file)), City, ["name"])
    assert told(result) == [(1, "country__code", "NO"), (2, "country__code", "IT")]
    assert City.objects.count() == 2


def test_copy_refuses():
    """What only the server can read is told by it, with its code."""
    rows = [{"key": n, "json": "x", "int_range": f"[{n},{n + 2})"} for n in range(6)]
    rows[1]["int_range"] = "[5,1)"
    rows[4]["int_range"] = "nonsense"
    result = upsert(rows, Everything, ["key"])
    assert [(each.index, each.field, each.sqlstate) for each in result.rejected] == [
        (1, "int_range", "22000"), (4, "int_range", "22P02"),
    ]  # fmt: skip
    assert Everything.objects.count() == 4
    assert result.rejected[1].value == "nonsense"


def test_nulls():
    """NOT NULL, of a column that is given, and of one that is not."""
    rows = [{"sku": "A", "stock": 1}, {"sku": "B", "stock": None}, {"sku": None, "stock": 1}]
    result = upsert(rows)
    assert told(result) == [(1, "stock", None), (2, "sku", None)]
    assert {each.sqlstate for each in result.rejected} == {"23502"}
    assert skus() == ["A"]


def test_keys_that_stand_twice():
    """All rows of such a key are left out, unless one of them is to count."""
    rows = [{"sku": sku, "stock": n} for n, sku in enumerate("ABACDC")]
    result = upsert(rows)
    assert skus() == ["B", "D"]
    assert [each.index for each in result.rejected] == [0, 2, 3, 5]
    assert result.rejected[0].message == "the same (sku) in rows 0 and 2"
    result = upsert(rows, duplicates="last")
    assert (result.skipped, result.rejected) == (2, [])


def test_foreign_keys():
    """A key that no row has is told, though the constraint is checked at the end only."""
    there = Country.objects.create(code="DE")
    rows = [{"name": "A", "country_id": there.pk}, {"name": "B", "country_id": 0},
            {"name": "C", "country_id": None}]  # fmt: skip
    result = upsert(rows, City, ["name"])
    assert [(each.index, each.field, each.value, each.sqlstate) for each in result.rejected] == [
        (1, "country", "0", "23503")
    ]
    assert City.objects.count() == 2


def many(count=3_000, **bad):
    """Return rows, some of which are bad."""
    return [{"sku": f"S{n}", "stock": n, **bad.get(f"_{n}", {})} for n in range(count)]


def test_checks_and_triggers():
    """What a trigger, or a CHECK after one, refuses is found by halving."""
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE tests_product ADD CONSTRAINT few CHECK (stock < 2900 OR name = 'x%')"
        )
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF NEW.stock IN (17, 1800) THEN RAISE 'not %', NEW.stock; END IF; "
            "RETURN NEW; END $$; CREATE TRIGGER refuse BEFORE INSERT ON tests_product "
            "FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    result = upsert(row for row in many())
    assert result.created == 2_898
    assert [each.index for each in result.rejected] == [17, 1_800, *range(2_900, 3_000)]
    assert result.rejected[0].message == "not 17"
    assert result.rejected[0].sqlstate == "P0001"
    assert 'violates check constraint "few"' in result.rejected[-1].message


def test_checks():
    """What a CHECK refuses is asked for all rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE tests_product ADD CONSTRAINT few CHECK (stock < 2900 OR name = 'x%')"
        )
    with CaptureQueriesContext(connection) as queries:
        result = upsert(row for row in many())
    assert [each.index for each in result.rejected] == [*range(2_900, 3_000)]
    assert {each.message for each in result.rejected} == {"violates check constraint 'few'"}
    assert len(queries) < 40


def test_checks_of_all_kinds():
    """Those that are not validated count for new rows; those that are not enforced don't."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tests_product ADD CHECK (stock <> 1) NOT VALID")
        if connection.pg_version >= 180000:
            cursor.execute("ALTER TABLE tests_product ADD CHECK (stock <> 2) NOT ENFORCED")
    result = upsert([{"sku": f"S{n}", "stock": n} for n in range(4)])
    assert told(result) == [(1, "stock", "1")]
    assert result.created == 3


def test_another_unique_constraint():
    """Rows that another unique index refuses, of stored rows or of one another."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX by_stock ON tests_product (stock) WHERE stock > 5")
    Product.objects.create(sku="old", stock=7)
    rows = [{"sku": f"S{n}", "stock": stock} for n, stock in enumerate([7, 8, 1, 1, 8, 9])]
    result = upsert(rows)
    assert skus() == ["S1", "S2", "S3", "S5", "old"]
    assert [(each.index, each.sqlstate) for each in result.rejected] == [(0, "23505"), (4, "23505")]


def test_all_are_bad():
    """A call all of whose rows are bad writes none."""
    result = upsert([{"sku": f"S{n}", "stock": "x"} for n in range(3)])
    assert (result.created, len(result.rejected), result.total) == (0, 3, 3)
    result = upsert(CsvRows(io.StringIO("sku,stock\nA\nB\n")))
    assert len(result.rejected) == 2


def test_many_bad_rows_over_chunks(shape):
    """Positions are right over several chunks."""
    bad = {f"_{n}": {"stock": "x"} for n in range(0, 12_000, 7)}
    result = upsert(shape(many(12_000, **bad)))
    assert [each.index for each in result.rejected] == list(range(0, 12_000, 7))
    assert result.created == 12_000 - len(bad)
    assert not Product.objects.filter(sku="S7").exists()
    assert Product.objects.get(sku="S8").stock == 8


def test_mixed_keys():
    """Positions are those of the whole input."""
    rows = [{"sku": "A"}, {"sku": "B", "stock": "x"}, {"sku": "C"}, {"sku": "D", "stock": 1}]
    result = upsert(rows, mixed_keys=True)
    assert told(result) == [(1, "stock", "x")]
    assert skus() == ["A", "C", "D"]


def test_a_transaction_stays_usable(temporary_tables):
    """What was refused leaves nothing behind."""
    upsert(many(10, _3={"stock": None}))
    assert temporary_tables() == []
    assert Product.objects.count() == 9


def test_other_errors_come_up():
    """What is no row's fault is raised, and nothing is written."""

    def rows():
        yield {"sku": "A"}
        raise KeyError("source")

    with pytest.raises(KeyError):
        upsert(rows())
    assert skus() == []


@pytest.mark.parametrize(
    "words", [{"on_error": "ignore"}, {"on_error": "collect", "strategy": "values"}]
)
def test_refusals(words):
    """What is no way to go on is refused."""
    with pytest.raises(OptionError, match="on_error"):
        Product.objects.bulk_upsert([{"sku": "A"}], unique_fields=["sku"], **words)


# validate ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sequences", [False, True])
def test_validate(shape, sequences):
    """Fields look at their values: blanks, choices, validators; those that rows give."""
    mood = Everything._meta.get_field("mood").choices[0][0]
    rows = [
        {"key": 1, "email": "a@example.com", "mood": mood},
        {"key": 2, "email": "nobody", "mood": mood},
        {"key": 3, "email": "b@example.com", "mood": "puzzled"},
        {"key": 4, "email": "c@example.com", "mood": ""},
    ]
    words = {"validate": True}
    if sequences:
        words["fields"] = list(rows[0])
        rows = [tuple(row.values()) for row in rows]
    result = upsert(shape(rows), Everything, ["key"], **words)
    assert told(result) == [(1, "email", "nobody"), (2, "mood", "puzzled"), (3, "mood", "")]
    assert result.rejected[0].message == "Enter a valid email address."
    assert Everything.objects.get().key == 1
    with pytest.raises(RowValueError, match=r"row 1, field 'email': Enter a valid email address\."):
        Everything.objects.bulk_upsert(shape(rows), unique_fields=["key"], **words)


def test_validate_instances():
    """All fields of instances are looked at, as full_clean() does; keys are not queried for."""
    rows = [Country(code="DE", name="x"), Country(code="FR"), Country(code="IT", name="x")]
    with CaptureQueriesContext(connection) as queries:
        result = upsert(rows, Country, ["code"], validate=True)
    assert told(result) == [(1, "name", "")]
    assert result.rejected[0].message == "This field cannot be blank."
    assert not any("SELECT 1 AS" in each["sql"] for each in queries.captured_queries)
    cities = [{"name": "Berlin", "country": 0}]
    result = upsert(cities, City, ["name"], validate=True)
    assert result.rejected[0].message == "no row of tests.Country has this key"


def test_validators_of_ones_own(monkeypatch):
    """A validator that a field was given is asked."""
    field = Product._meta.get_field("stock")
    monkeypatch.setattr(field, "_validators", [MinValueValidator(10)])
    field.__dict__.pop("validators", None)
    try:
        result = upsert([{"sku": "A", "stock": 5}, {"sku": "B", "stock": 15}], validate=True)
    finally:
        field.__dict__.pop("validators", None)
    assert told(result) == [(0, "stock", 5)]


def test_clean_of_ones_own(monkeypatch):
    """A field's own clean() is asked, as full_clean() does."""
    field = Product._meta.get_field("name")

    def clean(value, instance):
        if value == "bad":
            raise ValidationError("Not this name.")
        return type(field).clean(field, value, instance)

    monkeypatch.setattr(field, "clean", clean)
    rows = [{"sku": "A", "name": "bad"}, {"sku": "B", "name": "good"}]
    result = upsert(rows, validate=True)
    assert told(result) == [(0, "name", "bad")]
    assert result.rejected[0].message == "Not this name."


def test_exclusion_constraints():
    """Rows that an exclusion constraint refuses, of stored rows or of one another."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tests_everything ADD EXCLUDE USING gist (int_range WITH &&)")
    rows = [{"key": n, "int_range": text} for n, text in enumerate(
        ["[1,3)", "[2,4)", "[5,6)", None, "[5,9)", "[9,10)"]
    )]  # fmt: skip
    result = upsert(rows, Everything, ["key"])
    assert [(each.index, each.sqlstate) for each in result.rejected] == [(1, "23P01"), (4, "23P01")]
    assert sorted(Everything.objects.values_list("key", flat=True)) == [0, 2, 3, 5]


def test_batch_size():
    """Rows go by COPYs of so many; positions stay right."""
    result = upsert(many(50, _20={"stock": "x"}), batch_size=7)
    assert told(result) == [(20, "stock", "x")]
    assert result.created == 49


def test_matched_by_any_fields():
    """match_fields goes the same way."""
    Product.objects.create(sku="A", name="x")
    rows = [{"sku": "B", "name": "x", "stock": 1}, {"sku": "C" * 13, "name": "y", "stock": 2},
            {"sku": "D", "name": "z", "stock": 3}]  # fmt: skip
    result = Product.objects.bulk_upsert(rows, match_fields=["name"], on_error="collect")
    assert (result.updated, result.created) == (1, 1)
    assert told(result) == [(1, "sku", "C" * 13)]


def test_by_primary_key():
    """Rows with a primary key and without are counted apart, and so are those left out."""
    there = Product.objects.create(sku="A")
    rows = [{"id": there.pk, "sku": "A", "stock": 5}, {"id": None, "sku": "B", "stock": 1},
            {"id": None, "sku": "C", "stock": "x"}, {"id": 10**6, "sku": "D", "stock": 2},
            {"id": None, "sku": "E", "stock": None}]  # fmt: skip
    result = Product.objects.bulk_upsert(rows, on_error="collect")
    assert (result.updated, result.created, result.total) == (1, 2, 5)
    assert told(result) == [(2, "stock", "x"), (4, "stock", None)]


@pytest.mark.parametrize("first", [5, None, {}, "text", object()])
def test_a_first_row_that_is_none(shape, first):
    """Rows that no kind can be told of are left out; the first of the others says how to read."""
    rows = [first, None, {"sku": "A", "stock": 1}, {"sku": "B"}, [1], {"sku": "C", "stock": "x"},
            {"sku": "D", "stock": 2}]  # fmt: skip
    result = upsert(shape(rows), returning=["sku"])
    assert [each.index for each in result.rejected] == [0, 1, 3, 4, 5]
    assert [(row.index, row["sku"]) for row in result.rows] == [(2, "A"), (6, "D")]
    assert result.total == 7
    assert result.rejected[2].message == "lacks 'stock', which row 2 gives"
    assert result.rejected[3].message == "of type list, where row 2 is a mapping"
    result = upsert(shape([first, Product(sku="E")]))
    assert ([each.index for each in result.rejected], result.created) == ([0], 1)
    with pytest.raises(RowError, match=r"^row 0: (of type|None|an empty mapping)"):
        upsert(shape([first] * 3))
    with pytest.raises(RowError, match="row 0"):
        Product.objects.bulk_upsert(shape(rows), unique_fields=["sku"])


def test_many_first_rows_that_are_none():
    """However many there are."""
    result = upsert(n if n < 50_000 else {"sku": "A"} for n in range(50_001))
    assert (result.created, len(result.rejected)) == (1, 50_000)


def test_a_source_in_pieces():
    """Where a whole pull is bad, the next ones are read all the same."""
    text = "sku,stock\n" + "x\n" * 6_000 + "A,1\n"
    result = upsert(CsvRows(io.StringIO(text)))
    assert (result.created, len(result.rejected)) == (1, 6_000)
    assert result.rejected[-1].line == 6_001
