"""on_error="collect": what a constraint or a trigger refuses, and nothing else, is left out."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, IntegrityError, connection
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import Excluded, RowConstraintError
from tests.models import City, Constrained, Country, Product, Tree
from tests.test_collect import many, skus, told, upsert

pytestmark = pytest.mark.django_db


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def trigger(body: str, when: str = "BEFORE INSERT", table: str = "tests_product") -> None:
    run(
        f"CREATE OR REPLACE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"BEGIN {body} RETURN NEW; END $$",
        f"CREATE TRIGGER act {when} ON {table} FOR EACH ROW EXECUTE FUNCTION act()",
    )


def stock() -> dict[str, int]:
    return dict(Product.objects.values_list("sku", "stock"))


SEVEN = "IF NEW.stock = 7 THEN RAISE 'seven'; END IF;"


@pytest.mark.parametrize(("duplicates", "won"), [("first", 100), ("last", 200)])
@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("transform", [False, True])
def test_which_of_a_keys_rows_counts(duplicates, won, bad, transform):
    """The same row counts, whether or not other rows are bad."""
    trigger(SEVEN)
    rows = [("A", 100), ("B", 7 if bad else 0), ("C", 1), ("A" if not transform else "a", 200)]
    rows = [Product(sku=sku, stock=n) for sku, n in rows]
    words = {"transform": {"sku": Upper("sku")}} if transform else {}
    result = upsert(rows, duplicates=duplicates, returning=["stock"], **words)
    assert stock()["A"] == won
    assert (result.skipped, len(result.rejected), result.created) == (1, bad, 3 - bad)
    assert len(result.rows) == 4 - bad


def test_expressions_count_once():
    """An expression sees one row of each key."""
    trigger(SEVEN)
    Product.objects.create(sku="A", stock=1_000)
    rows = [{"sku": "A", "stock": 100}, {"sku": "B", "stock": 7}, {"sku": "A", "stock": 200}]
    add = {"stock": F("stock") + Excluded("stock")}
    result = upsert(rows, duplicates="last", update_fields=add)
    assert stock() == {"A": 1_200}
    assert (result.updated, result.skipped, len(result.rejected)) == (1, 1, 1)


def test_trees():
    """What points to a row that is left out is left out too, however that was."""

    def rows(*pairs):
        return [{"id": n, "code": code, "parent_id": parent} for n, code, parent in pairs]

    result = upsert(rows((2, "b", 99), (3, "c", 2), (4, "d", 3), (5, "e", None)), Tree, ["code"])
    assert [each.index for each in result.rejected] == [0, 1, 2]
    assert Tree.objects.get().code == "e"
    connection.check_constraints()
    result = upsert(rows((6, "f", None), (7, "f", None), (8, "g", 6)), Tree, ["code"])
    assert [each.index for each in result.rejected] == [0, 1, 2]
    # The row that would bring the parent updates another one.
    result = upsert(rows((10, "e", None), (11, "h", 10), (12, "i", 5)), Tree, ["code"])
    assert [(each.index, each.field) for each in result.rejected] == [(1, "parent")]
    assert sorted(Tree.objects.values_list("id", flat=True)) == [5, 12]
    connection.check_constraints()
    trigger("IF NEW.code = 'p' THEN RAISE 'no'; END IF;", table="tests_tree")
    result = upsert(rows((20, "p", None), (21, "q", 20), (22, "r", 5)), Tree, ["code"])
    assert [each.index for each in result.rejected] == [0, 1]
    connection.check_constraints()


def test_checks_that_fail():
    """A CHECK that can't be computed for a row is no error of the call."""
    run("ALTER TABLE tests_product ADD CONSTRAINT b CHECK (100 / stock > 1)",
        "ALTER TABLE tests_product ADD CONSTRAINT a CHECK (stock <> 0)")  # fmt: skip
    rows = [{"sku": f"S{n}", "stock": n} for n in (0, 5, 60)]
    result = upsert(rows)
    assert skus() == ["S5"]
    assert {each.index for each in result.rejected} == {0, 2}
    run("ALTER TABLE tests_product DROP CONSTRAINT a")
    result = upsert(rows)
    assert [(each.index, each.sqlstate) for each in result.rejected] == [(0, "22012"), (2, "23514")]


def test_a_row_twice_by_a_trigger():
    """A trigger that writes the same row is a row's error, and no endless search for duplicates."""
    Product.objects.create(sku="A")
    trigger("UPDATE tests_product SET name = 't' WHERE sku = NEW.sku;")
    result = upsert([{"sku": "A", "stock": 10}, {"sku": "B", "stock": 0}])
    assert [(each.index, each.sqlstate) for each in result.rejected] == [(0, "21000")]
    assert skus() == ["A", "B"]


@pytest.mark.parametrize("state", ["45000", "P0002", "BU001", "38000", "0A000", "42501", "54000"])
def test_any_state_of_a_trigger(state):
    """Whatever a trigger raises is the row's."""
    trigger(f"IF NEW.stock = 7 THEN RAISE 'seven' USING ERRCODE = '{state}'; END IF;")
    result = upsert([{"sku": f"S{n}", "stock": n} for n in (6, 7, 8)])
    assert [(each.index, each.sqlstate, each.message) for each in result.rejected] == [
        (1, state, "seven")
    ]
    assert len(skus()) == 2


def test_what_is_no_rows_comes_up():
    """What fails whatever the rows are, or is of the server, is raised."""
    run("CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'never'; END $$",
        "CREATE TRIGGER never BEFORE INSERT ON tests_product EXECUTE FUNCTION never()")  # fmt: skip
    with pytest.raises(DatabaseError, match="never"):
        upsert([{"sku": "A"}, {"sku": "B"}])
    run("DROP TRIGGER never ON tests_product")
    trigger("IF NEW.stock = 7 THEN RAISE 'late' USING ERRCODE = '57014'; END IF;")
    with pytest.raises(DatabaseError, match="late"):
        upsert([{"sku": "A", "stock": 7}, {"sku": "B", "stock": 0}])
    assert skus() == []


def test_deferred_constraints():
    """What is checked at the end is a row's error, too."""
    Constrained.objects.create(a=1, b=1, d=2)
    rows = [{"a": n, "b": n, "d": d} for n, d in enumerate([5, 2, 6, 5], 10)]
    result = upsert(rows, Constrained, ["a", "b"])
    assert {each.sqlstate for each in result.rejected} == {"23505"}
    assert [each.index for each in result.rejected] == [1, 3]
    connection.check_constraints()
    with connection.cursor() as cursor:  # still checked at the end
        cursor.execute("UPDATE tests_constrained SET d = 5 WHERE a = 12")
        cursor.execute("UPDATE tests_constrained SET d = 6 WHERE a = 12")


def test_triggers_that_mend():
    """What a trigger fills in, or puts right, is written."""
    trigger("NEW.stock = greatest(coalesce(NEW.stock, 1), 0);")
    run("ALTER TABLE tests_product ADD CHECK (stock >= 0)")
    result = upsert([{"sku": "A", "stock": None}, {"sku": "B", "stock": -7}])
    assert (result.created, result.rejected) == (2, [])
    assert stock() == {"A": 1, "B": 0}


def test_updates_that_mend():
    """A row that only updates by an expression is not judged as if it were new."""
    run("ALTER TABLE tests_product ADD CHECK (stock >= 0)")
    Product.objects.create(sku="A", stock=10)
    result = Product.objects.bulk_upsert(
        [{"sku": "A", "stock": -3}, {"sku": "B", "stock": -3}],
        match_fields=["sku"],
        update_fields={"stock": F("stock") + Excluded("stock")},
        on_error="collect",
    )
    assert stock() == {"A": 7}
    assert told(result) == [(1, None, None)]


def test_foreign_keys_that_are_not_written():
    """A key that no row has matters only where it is written, and where the table minds."""
    country = Country.objects.create(code="DE")
    City.objects.create(name="A", country=country)
    rows = [{"name": "A", "country_id": 0}, {"name": "B", "country_id": 0}]
    result = upsert(rows, City, ["name"], update_fields=[])
    assert [each.index for each in result.rejected] == [1]
    result = upsert(rows, City, ["name"], ignore_conflicts=True)
    assert (result.skipped, [each.index for each in result.rejected]) == (1, [1])
    connection.check_constraints()
    run("ALTER TABLE tests_city DROP CONSTRAINT " + foreign_key("tests_city", "country_id"))
    result = upsert(rows, City, ["name"])
    assert result.rejected == []
    City.objects.all().delete()


def foreign_key(table: str, column: str) -> str:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, table)
    return next(
        f'"{name}"' for name, each in found.items()
        if each["foreign_key"] and each["columns"] == [column]
    )  # fmt: skip


def test_a_second_unique_index_is_asked():
    """Bad rows of another unique index take a few queries, not a few for each."""
    run("CREATE UNIQUE INDEX by_stock ON tests_product (stock)")
    Product.objects.bulk_create([Product(sku=f"old{n}", stock=n) for n in range(20)])
    rows = many(3_000, _2000={"stock": 1_000})
    with CaptureQueriesContext(connection) as queries:
        result = upsert(rows)
    assert [each.index for each in result.rejected] == [*range(20), 2_000]
    assert {(each.field, each.sqlstate) for each in result.rejected} == {("stock", "23505")}
    assert len(queries) < 60
    assert result.created == 2_979
    # A row keeps what it has itself.
    assert upsert(many(100)[30:]).unchanged == 70


def test_where_holds_back(shape):
    """Rows that a condition holds back are skipped, beside bad ones."""
    Product.objects.create(sku="A", stock=10)
    rows = [{"sku": "A", "stock": 5}, {"sku": "B", "stock": "x"}, {"sku": "C", "stock": 1}]
    result = upsert(shape(rows), where=Q(stock__lt=Excluded("stock")))
    assert (result.skipped, result.created, len(result.rejected)) == (1, 1, 1)
    assert stock() == {"A": 10, "C": 1}


@pytest.mark.django_db(transaction=True)
def test_it_is_certain_when_it_returns():
    """Outside a transaction, nothing is left that the commit could refuse."""
    try:
        result = upsert([{"name": "A", "country_id": 0}, {"name": "B"}], City, ["name"],
                        mixed_keys=True)  # fmt: skip
    except IntegrityError:  # pragma: no cover
        pytest.fail("the commit refused what was said to be written")
    assert [each.index for each in result.rejected] == [0]
    assert City.objects.count() == 1


# And where the first one is raised --------------------------------------------------------


def raised(rows, model=Product, by=("sku",), **words):
    with pytest.raises(RowConstraintError) as caught:
        model.objects.bulk_upsert(rows, unique_fields=list(by), **words)
    return caught.value.index, caught.value.field, str(caught.value.__cause__)[:20] != ""


def test_the_first_row_that_a_check_refuses(strategy, shape):
    """The error of a CHECK names the row, and the field, if it is one."""
    run("ALTER TABLE tests_product ADD CONSTRAINT few CHECK (stock < 5)")
    rows = [{"sku": f"S{n}", "stock": stock} for n, stock in enumerate([1, 2, 9, 3, 8])]
    assert raised(shape(rows), strategy=strategy) == (2, "stock", True)
    assert skus() == []


def test_the_first_row_that_another_index_refuses(strategy, shape):
    """The error of another unique index names the row: beside stored rows, and one another."""
    run("CREATE UNIQUE INDEX by_stock ON tests_product (stock)")
    Product.objects.create(sku="old", stock=3)
    rows = [{"sku": f"S{n}", "stock": stock} for n, stock in enumerate([1, 2, 3, 4])]
    assert raised(shape(rows), strategy=strategy) == (2, "stock", True)
    rows = [{"sku": f"S{n}", "stock": stock} for n, stock in enumerate([1, 2, 1])]
    assert raised(shape(rows), strategy=strategy) == (2, "stock", True)
    assert skus() == ["old"]


def test_rows_without_a_key(strategy):
    """Rows that bring no primary key, which they are matched by, are told by what they hold."""
    Product.objects.create(sku="B")
    rows = [{"sku": "A"}, {"sku": "B"}, {"sku": "C"}]
    with pytest.raises(RowConstraintError, match="row 1, field 'sku': duplicate key value"):
        Product.objects.bulk_upsert(rows, strategy=strategy)
    result = Product.objects.bulk_upsert(rows, on_error="collect")
    assert [(each.index, each.field) for each in result.rejected] == [(1, "sku")]
    assert skus() == ["A", "B", "C"]
