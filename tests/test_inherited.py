"""Models that keep their fields in several tables."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, NotSupportedError, connection
from django.db.models import F, Q
from django.db.models.functions import Length, Lower
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import (
    DuplicateKeysError,
    Excluded,
    MatchError,
    OptionError,
    RowTypeError,
    RowValueError,
    UnsupportedModel,
)

from .conftest import counts
from .models import (
    NOON,
    Boat,
    Country,
    Duck,
    Keyed,
    Licensed,
    Pizzeria,
    Place,
    Product,
    Restaurant,
    ShowroomProduct,
    Van,
)

pytestmark = pytest.mark.django_db


def shown(model=Pizzeria) -> dict[str, tuple]:
    return {
        row.code: (row.name, row.stars, getattr(row, "ovens", None)) for row in model.objects.all()
    }


def pizzeria(code, name="n", stars=1, ovens=1, **more) -> Pizzeria:
    return Pizzeria(code=code, name=name, stars=stars, ovens=ovens, **more)


def test_three_tables_by_primary_key(shape, strategy):
    """Rows without a primary key are inserted in every table, the others are updated."""
    rows = [pizzeria("a"), pizzeria("b")]
    assert counts(Pizzeria.objects.bulk_upsert(shape(rows), strategy=strategy)) == (2, 0, 0, 0)
    for row in rows:
        stored = Pizzeria.objects.get(code=row.code)
        assert row.pk == row.id == row.place_ptr_id == row.restaurant_ptr_id == stored.pk
        assert not row._state.adding
        assert row._state.db == "default"
    assert counts(Pizzeria.objects.bulk_upsert(shape(rows), strategy=strategy)) == (0, 0, 2, 0)
    rows[0].ovens = 7
    rows[1].name = "new"
    more = [*rows, pizzeria("c")]
    assert counts(Pizzeria.objects.bulk_upsert(shape(more), strategy=strategy)) == (1, 2, 0, 0)
    assert shown() == {"a": ("n", 1, 7), "b": ("new", 1, 1), "c": ("n", 1, 1)}
    assert (Place.objects.count(), Restaurant.objects.count()) == (3, 3)


def test_like_saving(strategy):
    """The tables hold what save() puts there."""
    by_save, by_upsert = pizzeria("a", "x", 2, 3), pizzeria("b", "x", 2, 3)
    by_save.save()
    Pizzeria.objects.bulk_upsert([by_upsert], strategy=strategy)
    for field in Pizzeria._meta.concrete_fields:
        if field.name not in ("id", "code", "place_ptr", "restaurant_ptr", "visited"):
            assert getattr(by_save, field.attname) == getattr(by_upsert, field.attname), field.name
            stored = Pizzeria.objects.get(code="b")
            assert getattr(stored, field.attname) == getattr(by_upsert, field.attname), field.name
    by_save.stars = by_upsert.stars = 5
    by_save.save()
    Pizzeria.objects.bulk_upsert([by_upsert], strategy=strategy)
    assert Pizzeria.objects.get(code="b").stars == 5


def test_matched_by_a_field_of_the_first_table(shape, strategy):
    """The first table finds the rows, the others follow."""
    old = pizzeria("a", stars=1)
    old.save()
    only_place = Place.objects.create(code="p", name="old")
    rows = [pizzeria("a", stars=2), pizzeria("b"), pizzeria("p")]
    words = {"unique_fields": ["code"], "strategy": strategy}
    assert counts(Pizzeria.objects.bulk_upsert(shape(rows), **words)) == (2, 1, 0, 0)
    assert rows[0].pk == old.pk
    assert rows[2].pk == only_place.pk
    assert shown() == {"a": ("n", 2, 1), "b": ("n", 1, 1), "p": ("n", 1, 1)}
    assert Place.objects.count() == 3
    again = [pizzeria("a", stars=2), pizzeria("b"), pizzeria("p", ovens=2)]
    assert counts(Pizzeria.objects.bulk_upsert(shape(again), **words)) == (0, 1, 2, 0)
    assert [row.pk for row in again] == [row.pk for row in rows]


def test_matched_by_a_field_of_the_last_table(shape, strategy):
    """Rows are found in the table that has the field, and written from the first one on."""
    rows = [Licensed(code=c, name="n", number=c) for c in "ab"]
    words = {"unique_fields": ["number"], "strategy": strategy}
    assert counts(Licensed.objects.bulk_upsert(shape(rows), **words)) == (2, 0, 0, 0)
    again = [Licensed(code="a2", name="n", number="a"), Licensed(code="c", name="n", number="c")]
    again.append(Licensed(code="b", name="n", number="b"))
    assert counts(Licensed.objects.bulk_upsert(shape(again), **words)) == (1, 1, 1, 0)
    assert [again[0].pk, again[2].pk] == [row.pk for row in rows]
    stored = Licensed.objects.values_list("number", "code")
    assert set(stored) == {("a", "a2"), ("b", "b"), ("c", "c")}
    result = Licensed.objects.bulk_upsert(
        shape([Licensed(code="z", name="z", number="A")]),
        constraint="licensed_number",
        returning=["code"],
        strategy=strategy,
    )
    assert counts(result) == (0, 1, 0, 0)
    assert Licensed.objects.get(number="A").code == "z"


@pytest.mark.parametrize("unique", ["code", "number"])
@pytest.mark.parametrize("which", ["first", "last"])
def test_duplicates(unique, which, strategy):
    """Of one key's rows one is written in every table, and the others know it."""
    Licensed(code="old", name="0", number="old").save()
    rows = [
        Licensed(code=code, name=name, number=code)
        for code, name in [("a", "1"), ("old", "2"), ("a", "3"), ("old", "4")]
    ]
    with pytest.raises(DuplicateKeysError):
        Licensed.objects.bulk_upsert(rows, unique_fields=[unique], strategy=strategy)
    assert Place.objects.count() == 1
    assert all(row.pk is None for row in rows)
    result = Licensed.objects.bulk_upsert(
        rows, unique_fields=[unique], duplicates=which, returning=["name", "number"],
        strategy=strategy,
    )  # fmt: skip
    assert counts(result) == (1, 1, 0, 2)
    kept = {"a": "1", "old": "2"} if which == "first" else {"a": "3", "old": "4"}
    assert dict(Licensed.objects.values_list("code", "name")) == kept
    for row, returned in zip(rows, result.rows, strict=True):
        assert row.pk == Licensed.objects.get(code=row.code).pk
        assert returned.values == {"name": kept[row.code], "number": row.code}


@pytest.mark.parametrize("unique", ["code", "number"])
def test_ignore_conflicts(unique, strategy):
    """What is there is left alone in every table."""
    old = Licensed(code="a", name="old", number="a")
    old.save()
    rows = [Licensed(code=c, name="new", number=c) for c in "ab"]
    result = Licensed.objects.bulk_upsert(
        rows, unique_fields=[unique], ignore_conflicts=True, returning=["name"], strategy=strategy
    )
    assert counts(result) == (1, 0, 0, 1)
    assert dict(Licensed.objects.values_list("code", "name")) == {"a": "old", "b": "new"}
    assert [row["name"] for row in result.rows] == ["old", "new"]
    assert rows[0].pk == old.pk


def test_options_reach_the_table_that_they_are_about(strategy):
    """update_fields, expressions, transforms and returning are said of any table's fields."""
    pizzeria("a", "old", stars=3, ovens=2).save()
    words = {
        "unique_fields": ["code"],
        "transform": {"code": Lower("code"), "ovens": F("ovens") * 10},
        "returning": ["pk", "id", "name", "stars", "ovens", "country"],
        "returning_old": True,
        "strategy": strategy,
    }
    rows = [pizzeria("A", "new", stars=4, ovens=5), pizzeria("B", "new", stars=1, ovens=1)]
    result = Pizzeria.objects.bulk_upsert(
        rows,
        update_fields={"stars": F("stars") + Excluded("stars"), "ovens": Excluded("ovens")},
        **words,
    )
    assert counts(result) == (1, 1, 0, 0)
    stored = {row.code: row for row in Pizzeria.objects.all()}
    assert [row.values for row in result.rows] == [
        {
            "pk": stored[code].pk, "id": stored[code].pk, "name": name, "stars": stars,
            "ovens": ovens, "country": None,
        }
        for code, name, stars, ovens in [("a", "old", 7, 50), ("b", "new", 1, 10)]
    ]  # fmt: skip
    assert result.rows[0].old["stars"] == 3
    assert result.rows[0].old["ovens"] == 2
    assert result.rows[1].old is None
    assert (rows[0].stars, rows[0].name) == (7, "old")
    result = Pizzeria.objects.bulk_upsert([pizzeria("a", "x")], update_fields=["name"], **words)
    assert counts(result) == (0, 1, 0, 0)
    assert shown()["a"] == ("x", 7, 50)


def test_clocks(strategy):
    """A parent's auto_now is refreshed where any of the tables is written."""
    row = pizzeria("a")
    row.save()
    Place.objects.update(visited=NOON)
    Pizzeria.objects.bulk_upsert([row], strategy=strategy)
    assert Place.objects.get().visited == NOON
    for name, value in (("name", "new"), ("ovens", 9)):
        Place.objects.update(visited=NOON)
        setattr(row, name, value)
        result = Pizzeria.objects.bulk_upsert([row], returning=["visited"], strategy=strategy)
        assert counts(result) == (0, 1, 0, 0)
        stored = Place.objects.get().visited
        assert stored > NOON
        assert row.visited == stored == result.rows[0]["visited"]


def test_several_parents(shape, strategy):
    """A model with two parents is matched by primary key."""
    rows = [Duck(draught=1, wheels=6) for _ in range(2)]
    assert counts(Duck.objects.bulk_upsert(shape(rows), strategy=strategy)) == (2, 0, 0, 0)
    assert (Boat.objects.count(), Van.objects.count()) == (2, 2)
    rows[0].wheels = 8
    assert counts(Duck.objects.bulk_upsert(shape(rows), strategy=strategy)) == (0, 1, 1, 0)
    assert Van.objects.get(pk=rows[0].van_ptr_id).wheels == 8
    loaded = list(Duck.objects.all())
    assert counts(Duck.objects.bulk_upsert(shape(loaded), strategy=strategy)) == (0, 0, 2, 0)


def test_pk_given(strategy):
    """A primary key that is chosen is that of every table, under whichever name it is given."""
    rows = [
        Restaurant(pk=501, code="a", name="n"),
        Restaurant(id=502, code="b", name="n"),
        Restaurant(place_ptr_id=503, code="c", name="n"),
    ]
    for expected in [(3, 0, 0, 0), (0, 0, 3, 0)]:
        result = Restaurant.objects.bulk_upsert(rows, strategy=strategy)
        assert counts(result) == expected
    assert dict(Restaurant.objects.values_list("code", "pk")) == {"a": 501, "b": 502, "c": 503}
    assert Restaurant.objects.bulk_upsert(
        rows, unique_fields=["pk"], strategy=strategy
    ).unchanged == 3  # fmt: skip


def test_many_rows(shape):
    """Enough rows to be staged."""
    rows = [ShowroomProduct(sku=f"{n}", shelf=n) for n in range(2500)]
    assert ShowroomProduct.objects.bulk_upsert(shape(rows), unique_fields=["sku"]).created == 2500
    rows = [ShowroomProduct(sku=f"{n}", shelf=n + (n % 5 == 0)) for n in range(2500)]
    result = ShowroomProduct.objects.bulk_upsert(shape(rows), unique_fields=["sku"])
    assert counts(result) == (0, 500, 2000, 0)
    assert Product.objects.count() == 2500


def test_all_or_nothing(strategy):
    """An error in the last table leaves the first as it was, and instances as they were."""
    rows = [pizzeria("a"), pizzeria("b", ovens=10**12)]
    with pytest.raises(RowValueError, match="row 1, field 'ovens'"):
        Pizzeria.objects.bulk_upsert(rows, strategy=strategy)
    assert Place.objects.count() == 0
    assert [(row.pk, row.id, row._state.adding) for row in rows] == [(None, None, True)] * 2
    Licensed(code="a", name="n", number="1").save()
    with pytest.raises(IntegrityError):
        Licensed.objects.bulk_upsert([Licensed(code="b", name="n", number="1")], strategy=strategy)
    assert Place.objects.count() == 1


def test_a_row_that_the_last_table_swallows(strategy):
    """A trigger on any of the tables has the row skipped."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RETURN CASE WHEN NEW.stars = 9 THEN NULL ELSE NEW END; END';"
            "CREATE TRIGGER swallow BEFORE INSERT ON tests_restaurant FOR EACH ROW "
            "EXECUTE FUNCTION swallow()"
        )
    rows = [pizzeria("a", stars=9), pizzeria("b")]
    assert counts(Pizzeria.objects.bulk_upsert(rows, strategy=strategy)) == (1, 0, 0, 1)
    assert shown() == {"b": ("n", 1, 1)}


def test_related_objects(strategy):
    """Foreign keys of a child's table are read from their objects."""
    country = Country.objects.create(code="pt", name="Portugal")
    Restaurant.objects.bulk_upsert(
        [Restaurant(code="a", name="n", country=country)], strategy=strategy
    )
    assert Restaurant.objects.get().country == country


@pytest.mark.parametrize(
    ("words", "error", "reason"),
    [
        (
            {"where": Q(stars=1)},
            OptionError,
            "where can't be used with tests.Pizzeria, which keeps",
        ),
        ({"match_fields": ["name"]}, OptionError, "match_fields can't be used"),
        ({"mixed_keys": True}, OptionError, "several tables: tests_place, tests_restaurant and"),
        ({"unique_fields": ["code", "stars"]}, OptionError, "in several tables"),
        ({"unique_fields": ["stars"]}, MatchError, "covers exactly"),
        ({"unique_fields": ["cod"]}, OptionError, "did you mean code"),
        ({"constraint": "nope"}, MatchError, "named 'nope'"),
        ({"update_fields": {"ovens": F("stars")}}, OptionError, "Joined field references"),
        ({"update_fields": {"ovens": Excluded("stars")}}, OptionError, "is in another table"),
        ({"transform": {"stars": Length("name")}}, OptionError, "Joined field references"),
        ({"transform": {"pk": 5}}, OptionError, "a link to a parent, which stays"),
        ({"transform": {"place_ptr": 5}}, OptionError, "a link to a parent, which stays"),
        ({"update_fields": ["restaurant_ptr"]}, OptionError, "a link to a parent, which stays"),
        ({"transform": ["name"]}, OptionError, "transform takes a dict"),
        ({"returning": ["nope"]}, OptionError, "is no field"),
        ({"duplicates": "all"}, OptionError, "duplicates is"),
    ],
)
def test_refusals(words, error, reason):
    """What can't be said of several tables is refused before any SQL."""
    with CaptureQueriesContext(connection) as queries, pytest.raises(error, match=reason):
        Pizzeria.objects.bulk_upsert([pizzeria("a")], **words)
    assert len(queries) == 0


def test_rows_are_instances():
    """Mappings can't say which table's key is which."""
    with pytest.raises(RowTypeError, match="row 1: of type dict, where rows are instances of"):
        Pizzeria.objects.bulk_upsert([pizzeria("a"), {"code": "b"}])
    with pytest.raises(RowTypeError, match="row 0"):
        Pizzeria.objects.bulk_upsert([Place(code="a")])
    assert Pizzeria.objects.bulk_upsert([]).total == 0
    for rows in (None, 5, {"code": "a"}, "ab"):
        with pytest.raises(OptionError, match="rows is an iterable of model instances"):
            Pizzeria.objects.bulk_upsert(rows)


def test_a_link_that_is_not_the_primary_key():
    """A child with a primary key of its own is refused."""
    with pytest.raises(UnsupportedModel, match="a primary key beside its link") as caught:
        Keyed.objects.bulk_upsert([Keyed(name="a")])
    assert isinstance(caught.value, NotSupportedError)


def test_several_parents_and_a_match():
    """With two parents there is no one table to begin with."""
    with pytest.raises(UnsupportedModel, match="several parents"):
        Duck.objects.bulk_upsert([Duck()], unique_fields=["wheels"])
