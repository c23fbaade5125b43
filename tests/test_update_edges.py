"""What once went wrong with bulk_update, and must not again."""

from __future__ import annotations

import datetime
import threading
from decimal import Decimal

import pytest
from django.db import models, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Case, Count, F, Q, TextField, Value, When
from django.db.models.functions import Cast, Concat, Lower
from django.db.models.lookups import IsNull
from django.utils.functional import lazy

from django_bulkupsert import Excluded, OptionError, RowValueError, UnsavedRelatedError

from .conftest import run_threads
from .models import City, Country, Everything, Legacy, Product, ShowroomProduct


def stored(*names: str, model=Product, by="pk") -> list:
    """Return stored values in order."""
    return list(model.objects.order_by(by).values_list(*names, flat=len(names) == 1))


@pytest.mark.django_db
class TestRelationsOfTheMatch:
    """A related object stands for its key, wherever the key is asked for."""

    def test_saved_later(self, strategy):
        """An object that was saved after it was set is matched by its key, not by NULL."""
        City.objects.create(name="untouched")
        row = City(name="new", country=Country(code="yy"))
        row.country.save()
        words = {"match_fields": ["country"], "strategy": strategy}
        assert City.objects.bulk_update([row], ["name"], **words) == 0
        City.objects.create(name="old", country=row.country)
        assert City.objects.bulk_update([row], ["name"], **words) == 1
        assert stored("name", model=City) == ["untouched", "new"]

    def test_unsaved(self, strategy):
        """One that is not saved is refused."""
        City.objects.create(name="untouched")
        row = City(name="new", country=Country(code="yy"))
        with pytest.raises(UnsavedRelatedError, match="row 0, field 'country'"):
            City.objects.bulk_update([row], ["name"], match_fields=["country"], strategy=strategy)

    def test_excluded(self, strategy):
        """So it is in a condition."""
        city = City.objects.create(name="a")
        city.country = Country(code="yy")
        city.country.save()
        where = Q(IsNull(Excluded("country"), True))
        assert City.objects.bulk_update([city], ["name"], where=where, strategy=strategy) == 0


@pytest.mark.django_db
class TestExpressions:
    def test_parameters_that_python_holds_for_equal(self, strategy):
        """1.0 and 1.00, 0.0 and -0.0: each row has its own."""
        numbers = [Decimal("1.0"), Decimal("1.00"), 0.0, -0.0, True, 1]
        Everything.objects.bulk_create(Everything(key=i) for i in range(len(numbers)))
        rows = list(Everything.objects.order_by("key"))
        for row, number in zip(rows, numbers, strict=True):
            row.text = Cast(Value(number), TextField())
        models.QuerySet(Everything).bulk_update(rows, ["text"])
        expected = stored("text", model=Everything, by="key")
        assert len(set(expected)) > 4
        Everything.objects.bulk_update(rows, ["text"], strategy=strategy)
        assert stored("text", model=Everything, by="key") == expected

    def test_moments_of_other_zones(self, strategy):
        """The same moment at another offset is another text."""
        moments = [
            datetime.time(3, tzinfo=datetime.timezone(datetime.timedelta(hours=hours)))
            for hours in (2, 0)
        ]
        Everything.objects.bulk_create(Everything(key=i) for i in range(2))
        rows = list(Everything.objects.order_by("key"))
        for row, moment in zip(rows, moments, strict=True):
            row.text = Concat(Value(moment.isoformat()), Value(""))
        assert Everything.objects.bulk_update(rows, ["text"], strategy=strategy) == 2
        assert stored("text", model=Everything, by="key") == ["03:00:00+02:00", "03:00:00+00:00"]

    def test_value_without_a_type(self, strategy):
        """Value(None) is NULL, as in Django, and Value(x) of the field's type."""
        Everything.objects.bulk_create(Everything(key=i, json={}, text="x") for i in range(3))
        rows = list(Everything.objects.order_by("key"))
        rows[0].json, rows[1].json, rows[2].json = Value(None), Value({"a": 1}), {"b": 2}
        rows[0].text = Value("v")
        assert Everything.objects.bulk_update(rows, ["json", "text"], strategy=strategy) == 3
        assert Everything.objects.filter(json__isnull=True).count() == 1
        assert stored("json", model=Everything, by="key")[1:] == [{"a": 1}, {"b": 2}]
        assert stored("text", model=Everything, by="key") == ["v", "x", "x"]

    @pytest.mark.parametrize("count", [1, 3])
    def test_enum(self, tables, count):
        """An expression for a column of an enum, in some rows or in all."""
        tables(
            "CREATE TYPE mood AS ENUM ('ok', 'sad', 'glad');"
            "CREATE TABLE tests_legacy (id int PRIMARY KEY, mood mood)"
        )
        Legacy.objects.bulk_upsert([Legacy(i, "ok") for i in range(3)])
        rows = [Legacy(i, "sad") for i in range(3)][:count]
        rows[0].mood = Lower(Value("GLAD"))
        field = Legacy._meta.get_field("mood")
        kind, field.db_type = field.db_type, lambda _connection: "mood"
        try:
            assert Legacy.objects.bulk_update(rows, ["mood"]) == count
            rows[0].mood = Case(When(id=0, then=Value("sad")), default=Value("ok"))
            assert Legacy.objects.bulk_update(rows, ["mood"]) == count
        finally:
            field.db_type = kind
        assert stored("mood", model=Legacy)[:count] == ["sad"] * count


@pytest.mark.django_db
class TestConditions:
    def test_negation_knows_null(self, strategy):
        """~Q(price=Excluded("price")): to NULL and from NULL is a difference."""
        Product.objects.bulk_create(
            Product(sku=f"{i}", price=price) for i, price in enumerate([5, None, None, 7])
        )
        rows = list(Product.objects.order_by("sku"))
        rows[0].price, rows[1].price = None, 6
        found = Product.objects.bulk_update(
            rows, ["price"], where=~Q(price=Excluded("price")), strategy=strategy
        )
        assert stored("price", by="sku") == [None, 6, None, 7]
        assert found.skipped >= 1

    def test_distinct(self, strategy):
        """distinct() of fields plays no part in an update, as in Django's."""
        Product.objects.bulk_create(Product(sku=f"{i}", name="n", stock=i) for i in range(3))
        rows = list(Product.objects.all())
        queryset = Product.objects.filter(name="n").order_by("name", "-stock").distinct("name")
        assert queryset.bulk_update(rows, ["stock"], strategy=strategy) == 3
        cities = [City.objects.create(name=f"{i}", country=None) for i in range(2)]
        queryset = (
            City.objects.filter(Q(country__code=None)).order_by("country").distinct("country")
        )
        assert queryset.bulk_update(cities, ["name"], strategy=strategy) == 2

    def test_groups(self):
        """Groups of rows are no rows."""
        product = Product.objects.create(sku="a")
        groups = Product.objects.values("name").annotate(n=Count("pk")).filter(n__gt=0)
        with pytest.raises(OptionError, match="groups of values"):
            groups.bulk_update([product], ["stock"])
        each = Product.objects.annotate(n=Count("pk")).values("name", "pk").filter(n=1)
        assert each.bulk_update([product], ["stock"]) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 3])
def test_rows_that_a_trigger_swallows_are_not_unchanged(tables, strategy, count):
    """The int is the same with and without skip_unchanged, whatever a trigger does."""
    rows = [Product.objects.create(sku=f"{i}", stock=i) for i in range(count)]
    tables(
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER swallow BEFORE UPDATE ON tests_product FOR EACH ROW "
        "EXECUTE FUNCTION swallow()"
    )
    for row in rows:
        row.stock = 50
    assert Product.objects.bulk_update(rows, ["stock"], strategy=strategy) == 0
    found = Product.objects.bulk_update(rows, ["stock"], skip_unchanged=True, strategy=strategy)
    assert (found, found.updated, found.unchanged, found.skipped) == (0, 0, 0, count)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("how", ["deleted", "raised"])
def test_rows_that_are_lost_while_waiting_are_not_unchanged(strategy, count, how):
    """A row that another call deletes, or moves past the condition, was not updated."""
    rows = [Product.objects.create(sku=f"{i}", stock=i) for i in range(count)]
    for row in rows:
        row.stock = 50
    locked, found = threading.Event(), []

    def first():
        with transaction.atomic():
            row = Product.objects.filter(sku="0")
            row.delete() if how == "deleted" else row.update(stock=100)
            locked.set()
            threading.Event().wait(0.4)

    def second():
        assert locked.wait(10)
        where = Q(stock__lt=Excluded("stock"))
        found.append(
            Product.objects.bulk_update(
                rows, ["stock"], where=where, skip_unchanged=True, strategy=strategy
            )
        )

    assert run_threads(first, second) == []
    (result,) = found
    assert (result, result.updated, result.unchanged) == (count - 1, count - 1, 0)


@pytest.mark.django_db
def test_lazy_text_that_queries():
    """What an encoder of JSON calls may query, while rows are on their way."""
    count = lazy(lambda: str(Country.objects.count()), str)
    Everything.objects.bulk_upsert(({"key": i} for i in range(11_000)), unique_fields=["key"])
    rows = list(Everything.objects.order_by("key"))
    for row in rows[::100]:
        row.json_encoded = {"x": count()}
    assert Everything.objects.bulk_update(rows, ["json_encoded"]) == 11_000
    assert Everything.objects.filter(json_encoded={"x": "0"}).count() == 110


@pytest.mark.django_db
def test_view_that_can_not_be_locked(tables):
    """A view of groups, written by a trigger, is updated without a lock."""
    tables(
        "CREATE TABLE moods (id int, mood text); INSERT INTO moods VALUES (1, 'a'), (2, 'b');"
        "CREATE VIEW tests_legacy AS SELECT id, max(mood) AS mood FROM moods GROUP BY id;"
        "CREATE FUNCTION write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE moods SET mood = NEW.mood WHERE id = NEW.id; RETURN NEW; END $$;"
        "CREATE TRIGGER write INSTEAD OF UPDATE ON tests_legacy FOR EACH ROW "
        "EXECUTE FUNCTION write()"
    )
    rows = [Legacy(1, "x"), Legacy(2, "y")]
    assert Legacy.objects.bulk_update(rows, ["mood"]) == 2
    assert stored("mood", model=Legacy) == ["x", "y"]
    assert Product.objects.bulk_update([Product.objects.create(sku="a")] * 2, ["stock"]) == 1


@pytest.mark.django_db(transaction=True)
def test_autocommit_off(strategy):
    """Without autocommit too, the row is found that only the server can refuse."""
    Everything.objects.bulk_create(Everything(key=i) for i in range(3))
    rows = list(Everything.objects.order_by("key"))
    rows[2].texts = ["x" * 21]
    transaction.set_autocommit(False)
    try:
        with pytest.raises(RowValueError, match="row 2, field 'texts'"):
            Everything.objects.bulk_update(rows, ["texts"], strategy=strategy)
        assert Everything.objects.bulk_update(rows[:2], ["texts"], strategy=strategy) == 2
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


@pytest.mark.django_db
def test_models_of_migrations(strategy):
    """A historical model takes the instances of the real one, and they those of the other."""
    state = ProjectState()
    for model in (Product, ShowroomProduct):
        state.add_model(ModelState.from_model(model))
    historical = state.apps.get_model("tests", "ShowroomProduct")
    real = ShowroomProduct.objects.create(sku="a", shelf=1)
    real.shelf, real.name = 5, "new"
    assert historical.objects.bulk_update([real], ["shelf", "name"], strategy=strategy) == 1
    old = historical.objects.get()
    assert (old.shelf, old.name) == (5, "new")
    old.shelf = F("shelf") + 1
    assert ShowroomProduct.objects.bulk_update([old], ["shelf"], strategy=strategy) == 1
    assert stored("shelf", model=ShowroomProduct) == [6]


class Secret(str):
    """A text that doesn't show itself."""

    __slots__ = ()

    def __repr__(self):
        return "Secret(..)"


@pytest.mark.django_db
def test_values_that_look_the_same(strategy):
    """Expressions are told apart by what they hold, not by what that shows of itself."""
    rows = [Product(sku=f"{i}") for i in range(3)]
    Product.objects.bulk_upsert(rows, unique_fields=["sku"])
    for number, row in enumerate(rows):
        row.name = Concat("sku", Value(Secret(f"-{number}")))
    assert Product.objects.bulk_update(rows, ["name"], strategy=strategy) == 3
    names = Product.objects.order_by("sku").values_list("name", flat=True)
    assert list(names) == ["0-0", "1-1", "2-2"]
