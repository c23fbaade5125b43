"""bulk_update of models that keep their fields in several tables, and beside triggers."""

from __future__ import annotations

import pytest
from django.db import connection, models
from django.db.models import F, Q, Value
from django.db.models.functions import Concat, Upper
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import Excluded, RowExpressionError

from .models import NOON, Country, Duck, Pizzeria, Place, Product, Restaurant

pytestmark = pytest.mark.django_db


@pytest.fixture
def pizzerias() -> list[Pizzeria]:
    """Six of them, among other places."""
    Place.objects.create(code="p", name="place")
    for i in range(6):
        Pizzeria.objects.create(code=f"c{i}", name=f"n{i}", stars=i)
    Restaurant.objects.create(code="r", name="restaurant")
    Place.objects.update(visited=NOON)
    return list(Pizzeria.objects.order_by("code"))


def changed(rows):
    for i, row in enumerate(rows):
        row.name, row.stars, row.oven = f"x{i}", i + 10, "gas"
    return rows


class TestThreeLevels:
    @pytest.mark.parametrize(
        "fields",
        [
            ["name"],
            ["stars"],
            ["oven"],
            ["name", "oven"],
            ["stars", "oven"],
            ["oven", "name", "stars"],
        ],
    )
    def test_like_django(self, pizzerias, strategy, shape, fields):
        """Fields of each level, in every combination, as Django writes them."""
        names = ["name", "stars", "oven", "code"]

        def image():
            return [
                list(Pizzeria.objects.order_by("code").values_list(*names)),
                list(Place.objects.order_by("code").values_list("name", "code")),
                list(Restaurant.objects.order_by("code").values_list("stars", "name")),
            ]

        before = image()
        rows = changed(pizzerias[:4])
        assert models.QuerySet(Pizzeria).bulk_update(rows, fields) == 4
        expected = image()
        assert expected != before
        for row, old in zip(rows, before[0], strict=False):
            row.name, row.stars, row.oven, _ = old
        models.QuerySet(Pizzeria).bulk_update(rows, names[:3])
        assert image() == before
        found = Pizzeria.objects.bulk_update(shape(changed(rows)), fields, strategy=strategy)
        assert found == 4
        assert image() == expected

    def test_one_statement(self, pizzerias):
        """All tables are locked and written by one statement."""
        with CaptureQueriesContext(connection) as queries:
            Pizzeria.objects.bulk_update(changed(pizzerias), ["name", "stars", "oven"])
        assert len(queries) == 3  # and a savepoint
        assert queries[1]["sql"].count("FOR NO KEY UPDATE OF") == 1

    def test_clock_of_a_parent(self, pizzerias, strategy):
        """A parent's auto_now is refreshed though only the child's field is named."""
        assert Pizzeria.objects.bulk_update(pizzerias[:2], ["oven"], strategy=strategy) == 2
        visited = list(Place.objects.order_by("code").values_list("visited", flat=True))
        assert [moment > NOON for moment in visited] == [True, True] + [False] * 6

    def test_filter(self, pizzerias, strategy):
        """The queryset's filter over fields of every level."""
        rows = changed(pizzerias)
        queryset = Pizzeria.objects.filter(name__gt="n1", stars__lt=5).exclude(oven="gas")
        assert queryset.bulk_update(rows, ["name", "oven"], strategy=strategy) == 3
        found = Pizzeria.objects.order_by("code").values_list("name", "oven")
        assert list(found)[1:3] == [("n1", "wood"), ("x2", "gas")]

    def test_options(self, pizzerias, strategy, shape):
        """Matched by a parent's field, under a condition of both rows, unchanged ones left."""
        rows = [Pizzeria(code=f"c{i}", name=f"n{i}", stars=3, oven="wood") for i in range(8)]
        found = Pizzeria.objects.bulk_update(
            shape(rows),
            ["name", "stars", "oven"],
            match_fields=["code"],
            where=Q(stars__lte=Excluded("stars"), name=Excluded("name")),
            skip_unchanged=True,
            returning=["pk", "name", "stars", "oven", "code", "visited"],
            strategy=strategy,
        )
        assert (found, found.updated, found.unchanged, found.skipped) == (4, 3, 1, 2)
        assert [row["code"] for row in found.rows] == ["c0", "c1", "c2"]
        assert {row["stars"] for row in found.rows} == {3}
        assert all(row["visited"] > NOON for row in found.rows)
        assert found.rows[1]["pk"] == pizzerias[1].pk

    def test_returning_of_tables_that_are_not_written(self, strategy):
        """Values of a table that the call only reads."""
        duck = Duck.objects.create(name="a", draught=4, wheels=2)
        duck.wheels = 6
        found = Duck.objects.bulk_update(
            [duck], ["wheels"], returning=["name", "draught", "wheels"], strategy=strategy
        )
        assert [row.values for row in found.rows] == [{"name": "a", "draught": 4, "wheels": 6}]

    def test_expressions(self, pizzerias, strategy):
        """Each level's expressions read that level's table, as in Django."""
        rows = pizzerias[:3]
        rows[0].stars = F("stars") + 5
        rows[1].name, rows[1].oven = Upper("name"), Concat(F("oven"), Value("!"))
        rows[2].oven = "x"
        fields = ["stars", "name", "oven"]
        assert Pizzeria.objects.bulk_update(rows, fields, strategy=strategy) == 3
        found = Pizzeria.objects.order_by("code").values_list(*fields)[:3]
        assert list(found) == [(5, "n0", "wood"), (1, "N1", "wood!"), (2, "n2", "x")]
        rows[0].stars, rows[0].oven = 1, F("name")
        with pytest.raises(RowExpressionError, match="Joined field references are not permitted"):
            Pizzeria.objects.bulk_update(rows, fields, strategy=strategy)

    def test_primary_keys_of_parents(self, pizzerias):
        """Any level's primary key is none to update."""
        for name in ("id", "place_ptr", "restaurant_ptr"):
            with pytest.raises(ValueError, match="cannot be used with primary key fields"):
                Pizzeria.objects.bulk_update(pizzerias, [name])

    def test_middle_level(self, pizzerias, strategy):
        """The middle one's manager, with instances of the last."""
        assert Restaurant.objects.bulk_update(changed(pizzerias), ["stars"], strategy=strategy) == 6
        assert Place.objects.bulk_update(pizzerias, ["name"], strategy=strategy) == 6
        assert Pizzeria.objects.filter(stars__gte=10, name__startswith="x").count() == 6

    def test_relation_of_a_parent(self, pizzerias, strategy):
        """A foreign key that a parent holds."""
        country = Country.objects.create(code="it")
        for row in pizzerias:
            row.country = country
        assert Pizzeria.objects.bulk_update(pizzerias, ["country"], strategy=strategy) == 6
        assert country.restaurant_set.count() == 6


def test_two_parents(strategy, shape):
    """A parent linked by another column than the primary key is found by the stored link."""
    for i in range(3):
        Duck.objects.create(name=f"{i}", draught=i, wheels=i, van_id=100 - i)
    ducks = list(Duck.objects.order_by("name"))
    for duck in ducks:
        duck.draught, duck.wheels, duck.name = 10 + duck.draught, 20 + duck.wheels, "d"
        duck.van_ptr_id = duck.van_id = None
    found = Duck.objects.bulk_update(shape(ducks), ["draught", "wheels", "name"], strategy=strategy)
    assert found == 3
    assert list(Duck.objects.order_by("pk").values_list("draught", "wheels", "name")) == [
        (10 + i, 20 + i, "d") for i in range(3)
    ]


def test_trigger_that_swallows_rows(tables, strategy):
    """A row that a trigger holds back is not counted; with a report, it was skipped."""
    Product.objects.bulk_create(Product(sku=f"{i}", stock=i) for i in range(4))
    tables(
        "CREATE FUNCTION odd_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF OLD.stock % 2 = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER odd BEFORE UPDATE ON tests_product FOR EACH ROW EXECUTE FUNCTION odd_only()"
    )
    rows = list(Product.objects.order_by("sku"))
    for row in rows:
        row.name = "new"
    rows[1].name = ""
    assert Product.objects.bulk_update(rows, ["name"], strategy=strategy) == 2
    found = Product.objects.bulk_update(rows, ["name"], where=Q(), strategy=strategy)
    assert (found, found.skipped) == (2, 2)
    found = Product.objects.bulk_update(
        rows, ["name"], skip_unchanged=True, strategy=strategy, returning=["sku"]
    )
    assert (found.updated, found.unchanged, found.skipped) == (0, 2, 2)


def test_trigger_that_changes_rows(tables, strategy):
    """What comes back is what a trigger has made of it."""
    Product.objects.create(sku="a")
    tables(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.name = upper(NEW.name); RETURN NEW; END $$;"
        "CREATE TRIGGER shout BEFORE UPDATE ON tests_product FOR EACH ROW EXECUTE FUNCTION shout()"
    )
    rows = [Product(sku="a", name="quiet")]
    found = Product.objects.bulk_update(
        rows, ["name"], match_fields=["sku"], returning=["name"], strategy=strategy
    )
    assert found.rows[0]["name"] == "QUIET"
