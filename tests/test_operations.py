"""The operation of migrations, and the function for models whose manager is not ours."""

from __future__ import annotations

import inspect
import io
from importlib import import_module
from pathlib import Path

import pytest
from django.db import connection, migrations
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import MigrationWriter, OperationWriter
from django.db.models import F, Q
from django.db.models.functions import Upper

from django_bulkupsert import (
    BulkUpsertManager,
    BulkUpsertQuerySet,
    CsvRows,
    Excluded,
    OptionError,
    bulk_upsert,
)
from django_bulkupsert.operations import BulkUpsert
from tests.conftest import counts
from tests.models import City, Country, Place, PlainManager, Product, Restaurant
from tests.shop import models as shop
from tests.test_docs import blocks

pytestmark = pytest.mark.django_db

ROWS = [{"sku": "A", "name": "Panel"}, {"sku": "B", "name": "Cable"}]

STOCK = [{**row, "stock": 1} for row in ROWS]


def state() -> ProjectState:
    """Return the models as a migration knows them."""
    made = ProjectState()
    for model in (Product, Country, City):
        made.add_model(ModelState.from_model(model))
    return made


def run(operation: BulkUpsert, *, backwards: bool = False) -> None:
    known = state()
    with connection.schema_editor() as editor:
        if backwards:
            operation.database_backwards("tests", editor, known, known)
        else:
            operation.state_forwards("tests", known)
            operation.database_forwards("tests", editor, known, known)


def skus() -> list[str]:
    return list(Product.objects.order_by("sku").values_list("sku", flat=True))


def file(tmp_path, text="sku,name\nA,Panel\nB,Cable\n") -> CsvRows:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    return CsvRows(str(path))


@pytest.mark.parametrize("kind", ["mappings", "sequences", "file", "function"])
def test_forwards_and_backwards(kind, tmp_path):
    """Rows are written through the historical model, and deleted by their keys."""
    words = {"unique_fields": ["sku"]}
    rows = ROWS
    if kind == "sequences":
        rows, words["fields"] = [("A", "Panel"), ("B", "Cable")], ["sku", "name"]
    elif kind == "file":
        rows = file(tmp_path)
    elif kind == "function":

        def rows(apps):
            assert apps.get_model("tests", "Product") is not Product
            return ROWS

    Product.objects.create(sku="C")
    operation = BulkUpsert("tests", "Product", rows, reverse="delete", **words)
    assert operation.reversible
    for _ in range(2):
        run(operation)
        assert skus() == ["A", "B", "C"]
    run(operation, backwards=True)
    assert skus() == ["C"]


def test_many_rows_are_deleted():
    """Keys are named in several statements."""
    rows = [{"sku": f"S{number}"} for number in range(1_001)]
    operation = BulkUpsert("tests", "Product", rows, unique_fields=["sku"], reverse="delete")
    run(operation)
    assert Product.objects.count() == 1_001
    run(operation, backwards=True)
    assert not Product.objects.exists()


def test_by_primary_key_and_by_related_fields():
    """Without unique_fields rows are deleted by primary key; keys may be of related objects."""
    run(BulkUpsert("tests", "Product", [{"id": 7, "sku": "A"}], reverse="delete"))
    run(BulkUpsert("tests", "Product", [{"id": 7, "sku": "A"}], reverse="delete"), backwards=True)
    assert not Product.objects.exists()
    Country.objects.create(code="DE")
    rows = [{"name": "Berlin", "country__code": "DE"}]
    operation = BulkUpsert(
        "tests", "City", rows, match_fields=["name", "country"], reverse="delete"
    )
    City.objects.create(name="Rome")
    run(operation)
    run(operation, backwards=True)
    assert list(City.objects.values_list("name", flat=True)) == ["Rome"]


@pytest.mark.parametrize("kind", ["mappings", "file"])
def test_a_row_without_its_key_is_no_row_to_delete(kind, tmp_path):
    """A NULL in a key finds nothing again: undoing says so, and deletes nothing."""
    Country.objects.create(code="DE")
    rows = [{"name": "Berlin", "country__code": "DE"}, {"name": "Rome", "country__code": None}]
    which = "row 1"
    if kind == "file":
        rows = file(tmp_path, "name,country__code\nBerlin,DE\n\nRome,\n")
        which = f"line 4 of {rows.file}"
    operation = BulkUpsert(
        "tests", "City", rows, match_fields=["name", "country"], reverse="delete"
    )
    run(operation)
    with pytest.raises(IrreversibleError, match=f"{which} gives no 'country'"):
        run(operation, backwards=True)
    assert City.objects.count() == 2


@pytest.mark.parametrize("kind", ["mappings", "sequences", "file", "function"])
def test_rows_without_any_key(kind, tmp_path):
    """Rows that undoing could not find again are refused before they are written."""
    rows, words = ROWS, {}
    if kind == "sequences":
        rows, words = [("A", "Panel")], {"fields": ["sku", "name"]}
    elif kind == "file":
        rows = file(tmp_path)
    elif kind == "function":

        def rows(apps):
            return ROWS

    operation = BulkUpsert("tests", "Product", rows, reverse="delete", **words)
    for backwards in (False, True):
        with pytest.raises(OptionError, match="finds rows by 'id', but the rows don't give 'id'"):
            run(operation, backwards=backwards)
    assert skus() == []


def test_rows_of_a_generator_without_any_key():
    """Of rows that can't be looked at twice it is told when they are looked for."""

    def rows(apps):
        yield from ROWS

    operation = BulkUpsert("tests", "Product", rows, reverse="delete")
    run(operation)
    with pytest.raises(IrreversibleError, match="row 0 gives no 'id'"):
        run(operation, backwards=True)
    assert skus() == ["A", "B"]


@pytest.mark.parametrize("words", [{"unique_fields": ["sku"]}, {}])
def test_instances_are_deleted(words):
    """A function may return instances of the model as it was then."""

    def rows(apps):
        model = apps.get_model("tests", "Product")
        return [model(id=number, sku=f"S{number}") for number in (7, 8)]

    operation = BulkUpsert("tests", "Product", rows, reverse="delete", **words)
    run(operation)
    assert skus() == ["S7", "S8"]
    run(operation, backwards=True)
    assert skus() == []


def test_instances_without_a_key():
    """An instance has no primary key before it is stored."""

    def rows(apps):
        return [apps.get_model("tests", "Product")(sku="A")]

    operation = BulkUpsert("tests", "Product", rows, reverse="delete")
    run(operation)
    with pytest.raises(IrreversibleError, match="row 0 gives no 'id'"):
        run(operation, backwards=True)


def test_empty_keys_of_a_file(tmp_path):
    """An empty text is a key like others, where the field takes no NULL."""
    rows = file(tmp_path, "sku,name\n,Panel\nB,Cable\n")
    operation = BulkUpsert("tests", "Product", rows, unique_fields=["sku"], reverse="delete")
    run(operation)
    assert skus() == ["", "B"]
    run(operation, backwards=True)
    assert skus() == []


def test_keys_that_are_changed_on_their_way():
    """A key that a transform makes is not the one that the rows give."""
    words = {"reverse": "delete", "transform": {"sku": Upper("sku")}}
    with pytest.raises(OptionError, match="finds rows by 'sku', which transform changes"):
        BulkUpsert("tests", "Product", ROWS, unique_fields=["sku"], **words)
    Country.objects.create(code="DE", id=5)
    rows = [{"name": "Berlin", "country_id": 4}]
    words["transform"] = {"country_id": F("country_id") + 1}
    operation = BulkUpsert("tests", "City", rows, match_fields=["name", "country"], **words)
    with pytest.raises(OptionError, match="finds rows by 'country', which transform changes"):
        run(operation)
    words["transform"] = {"name": Upper("name")}
    operation = BulkUpsert("tests", "Product", ROWS, unique_fields=["sku"], **words)
    run(operation)
    assert Product.objects.filter(name="PANEL").exists()
    run(operation, backwards=True)
    assert skus() == []


def test_data_frames_have_no_keys():
    """A table of columns is not walked row by row."""

    class Table(list):
        def __arrow_c_stream__(self, requested=None):
            raise AssertionError

    operation = BulkUpsert(
        "tests", "Product", lambda apps: Table(), unique_fields=["sku"], reverse="delete"
    )
    with pytest.raises(OptionError, match="can't tell the keys of a data frame"):
        run(operation)


def test_instances_of_a_child():
    """A child's key is the link to its parent."""
    made = ProjectState()
    for model in (Country, Place, Restaurant):
        made.add_model(ModelState.from_model(model))

    def rows(apps):
        return [apps.get_model("tests", "Restaurant")(pk=7, name="Da Mario")]

    operation = BulkUpsert("tests", "Restaurant", rows, reverse="delete")
    with connection.schema_editor() as editor:
        operation.database_forwards("tests", editor, made, made)
        assert Restaurant.objects.get().pk == 7
        operation.database_backwards("tests", editor, made, made)
    assert not Place.objects.exists()


def test_keep_and_irreversible():
    """Undoing may keep the rows, and is refused if nothing is said of it."""
    operation = BulkUpsert("tests", "Product", ROWS, unique_fields=["sku"], reverse="keep")
    run(operation)
    run(operation, backwards=True)
    assert skus() == ["A", "B"]
    operation = BulkUpsert("tests", "Product", ROWS, unique_fields=["sku"])
    assert not operation.reversible
    with pytest.raises(IrreversibleError, match=r"2 rows into tests\.Product can't be undone"):
        run(operation, backwards=True)


def test_routers(settings):
    """A database that is not to have the model gets no rows."""
    settings.DATABASE_ROUTERS = ["tests.test_operations.Nowhere"]
    operation = BulkUpsert("tests", "Product", ROWS, unique_fields=["sku"], reverse="delete")
    run(operation)
    assert skus() == []
    settings.DATABASE_ROUTERS = []
    run(operation)
    settings.DATABASE_ROUTERS = ["tests.test_operations.Nowhere"]
    run(operation, backwards=True)
    assert skus() == ["A", "B"]


class Nowhere:
    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return not (app_label == "tests" and model_name == "product")


def test_it_can_be_written(tmp_path):
    """The operation stands in a migration's file as it was made; CsvRows do, too."""
    for rows in (ROWS, STOCK, file(tmp_path)):
        operation = BulkUpsert(
            "tests",
            "Product",
            rows,
            unique_fields=["sku"],
            reverse="keep",
            update_fields={"stock": F("stock") + Excluded("stock")} if rows is STOCK else None,
            where=Q(stock__gte=0),
        )
        name, args, words = operation.deconstruct()
        assert (name, *args[:2], words["reverse"]) == ("BulkUpsert", "tests", "Product", "keep")
        text, imports = OperationWriter(operation, indentation=0).serialize()
        names = {}
        exec("\n".join(imports) + "\nmade = [\n" + text + "\n]", names)
        again = names["made"][0]
        assert again.deconstruct()[2]["unique_fields"] == ["sku"]
        run(again)
        run(again)
        assert skus() == ["A", "B"]
        stock = set(Product.objects.values_list("stock", flat=True))
        assert stock == ({2} if rows is STOCK else {0})
        Product.objects.all().delete()


def test_sqlmigrate():
    """SQL can't say what it does, and sqlmigrate says so, without writing a row."""
    migration = type("Migration", (migrations.Migration,), {})("0001", "tests")
    migration.operations = [BulkUpsert("tests", "Product", ROWS, unique_fields=["sku"])]
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        migration.apply(state(), editor, collect_sql=True)
    text = "\n".join(editor.collected_sql)
    assert "Upsert 2 rows into tests.Product" in text
    assert "CANNOT BE WRITTEN AS SQL" in text
    assert skus() == []


def test_names(tmp_path):
    """What migrate and makemigrations say of it."""
    operation = BulkUpsert("tests", "Product", file(tmp_path))
    assert operation.describe() == f"Upsert the rows of {operation.rows.file} into tests.Product"
    assert operation.migration_name_fragment == "upsert_product"
    assert MigrationWriter.serialize(operation.rows)[0].startswith("django_bulkupsert.CsvRows(")


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        (iter(ROWS), {}, "rows can be walked only once"),
        (CsvRows(io.StringIO("sku\n")), {}, "CsvRows of an open file can be read only once"),
        (ROWS, {"reverse": "undo"}, "reverse is None, 'delete' or 'keep', not 'undo'"),
        (ROWS, {"reverse": "delete", "constraint": "x"}, "finds rows by unique_fields"),
    ],
)
def test_refusals(rows, words, message):
    """What can't work is refused when the migration is read."""
    with pytest.raises(OptionError, match=message):
        BulkUpsert("tests", "Product", rows, **words)


def test_managers_in_migrations():
    """A historical model has our manager, by use_in_migrations."""
    model = state().apps.get_model("tests", "Product")
    assert isinstance(model.objects, BulkUpsertManager)
    assert model.objects.bulk_upsert(ROWS, unique_fields=["sku"]).created == 2


def test_function():
    """Any model's rows can be upserted, by its class, a queryset or a manager."""
    assert not hasattr(PlainManager._default_manager, "bulk_upsert")
    rows = [{"key": 1}]
    assert bulk_upsert(PlainManager, rows, unique_fields=["key"]).created == 1
    for target in (PlainManager._default_manager, PlainManager._default_manager.using("default")):
        assert counts(bulk_upsert(target, rows, unique_fields=["key"])) == (0, 0, 1, 0)
    with pytest.raises(TypeError, match="a model or a queryset is wanted, not str"):
        bulk_upsert("Product", rows)


def test_function_is_documented():
    """It says what it is, and stands where it is said to stand."""
    module = import_module("django_bulkupsert")
    assert module.bulk_upsert.__name__ == "bulk_upsert"
    assert "for any model" in module.bulk_upsert.__doc__


def test_it_has_the_keywords_of_the_method():
    """Each keyword that means something in a migration is there, with the same default."""
    own = inspect.signature(BulkUpsert).parameters
    method = inspect.signature(BulkUpsertQuerySet.bulk_upsert).parameters
    absent = {
        "self", "returning", "returning_old", "progress", "on_error", "validate", "batch_size",
        "retries",
    }  # fmt: skip
    assert set(method) - set(own) == absent
    for name in set(method) - absent - {"rows"}:
        assert own[name].default == method[name].default, name


def test_the_migration_of_the_docs(tmp_path):
    """What docs/files shows is a migration that runs."""
    path = Path(__file__).parent.parent / "docs" / "files.rst"
    code = next(block for block in blocks(path) if "class Migration" in block)
    (tmp_path / "products.csv").write_text("sku,name,price\nA,Panel,1.50\n")
    names = {"__file__": str(tmp_path / "0002_products.py"), "__name__": "shop"}
    exec(code, names)
    made = ProjectState()
    made.add_model(ModelState.from_model(shop.Product))
    with connection.schema_editor() as editor:
        names["Migration"]("0002", "shop").apply(made, editor)
    assert shop.Product.objects.get().name == "Panel"
