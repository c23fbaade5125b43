"""What bulk_update has beyond Django's: clocks, any match, conditions, what changed, rows back."""

from __future__ import annotations

import datetime
import pickle

import pytest
from django.core.exceptions import FieldError
from django.db import connection
from django.db.models import Count, Exists, F, OuterRef, Q, Value
from django.db.models.functions import Coalesce, Greatest, Lower
from django.db.models.lookups import GreaterThan
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import (
    Excluded,
    MatchError,
    OptionError,
    RowExpressionError,
    UnknownFieldError,
)

from .models import NOON, City, Country, Measure, Product, Ticking

pytestmark = pytest.mark.django_db


@pytest.fixture
def products() -> list[Product]:
    """Ten stored products, as loaded."""
    Product.objects.bulk_create(Product(sku=f"{i}", stock=i, name=f"n{i}") for i in range(10))
    return list(Product.objects.order_by("sku"))


def stored(*names: str, model=Product, by="sku") -> list:
    """Return stored values in order."""
    return list(model.objects.order_by(by).values_list(*names, flat=len(names) == 1))


class TestClocks:
    def test_refreshed_though_not_named(self, strategy, shape):
        """auto_now fields are set to the time of the call; auto_now_add stays."""
        old = NOON - datetime.timedelta(days=900)
        Ticking.objects.bulk_create(Ticking() for _ in range(3))
        Ticking.objects.update(updated=old, created=old, day=old.date())
        rows = list(Ticking.objects.order_by("pk"))
        assert Ticking.objects.bulk_update(shape(rows[:2]), ["value"], strategy=strategy) == 2
        first, second, third = Ticking.objects.order_by("pk")
        assert first.updated == second.updated > NOON
        assert first.day > old.date()
        assert third.updated == old
        assert first.created == old

    def test_named_by_the_caller(self, strategy):
        """What the caller names is what the caller gives."""
        row = Ticking.objects.create()
        row.updated = row.created = NOON
        assert Ticking.objects.bulk_update([row], ["updated", "created"], strategy=strategy) == 1
        row.refresh_from_db()
        assert (row.updated, row.created) == (NOON, NOON)
        assert row.day > NOON.date()
        row.updated = F("created") + datetime.timedelta(days=1)
        assert Ticking.objects.bulk_update([row], ["updated"], strategy=strategy) == 1
        assert Ticking.objects.get().updated == NOON + datetime.timedelta(days=1)

    def test_clock_alone_is_no_change(self, strategy):
        """skip_unchanged leaves a row alone that only the clock would change."""
        rows = [Ticking.objects.create(value=i) for i in range(2)]
        Ticking.objects.update(updated=NOON)
        rows[0].value = 5
        found = Ticking.objects.bulk_update(rows, ["value"], skip_unchanged=True, strategy=strategy)
        assert (found.updated, found.unchanged) == (1, 1)
        assert stored("updated", model=Ticking, by="pk")[1] == NOON
        assert stored("updated", model=Ticking, by="pk")[0] > NOON

    def test_named_clock_is_a_change(self, strategy):
        """One that is named is compared like any field."""
        row = Ticking.objects.create()
        row.updated = NOON
        words = {"skip_unchanged": True, "strategy": strategy}
        assert Ticking.objects.bulk_update([row], ["updated"], **words).updated == 1
        assert Ticking.objects.bulk_update([row], ["updated"], **words).unchanged == 1

    @pytest.mark.parametrize(
        "how", [{"match_fields": ["pk", "updated"]}, {"where": Q(updated=Excluded("updated"))}]
    )
    def test_optimistic_lock(self, strategy, shape, how):
        """Who comes second with what was read before is turned away, by either spelling."""
        Ticking.objects.bulk_create(Ticking(value=i) for i in range(3))
        first, second = (list(Ticking.objects.order_by("pk")) for _ in range(2))
        for row in first[:2]:
            row.value = 50
        for row in second:
            row.value = 99
        assert (
            Ticking.objects.bulk_update(shape(first[:2]), ["value"], strategy=strategy, **how) == 2
        )
        assert Ticking.objects.bulk_update(shape(second), ["value"], strategy=strategy, **how) == 1
        assert stored("value", model=Ticking, by="pk") == [50, 50, 99]


class TestMatch:
    def test_by_a_unique_field(self, products, strategy, shape):
        """Instances without a primary key are matched by what they have."""
        rows = [Product(sku=f"{i}", stock=50 + i) for i in range(5, 15)]
        found = Product.objects.bulk_update(
            shape(rows), ["stock"], match_fields=["sku"], strategy=strategy
        )
        assert found == 5
        assert stored("stock") == [0, 1, 2, 3, 4, 55, 56, 57, 58, 59]

    def test_one_row_for_many(self, strategy, shape):
        """By fields that are not unique, all stored rows that match are updated."""
        Measure.objects.bulk_create(
            Measure(device=device, channel=i % 2) for device in "ab" for i in range(6)
        )
        rows = [Measure(device="a", channel=0, value=1), Measure(device="b", channel=1, value=2)]
        found = Measure.objects.bulk_update(
            shape(rows), ["value"], match_fields=["device", "channel"], strategy=strategy
        )
        assert found == 6
        assert Measure.objects.filter(device="a", channel=0, value=1).count() == 3
        assert Measure.objects.filter(device="b", channel=1, value=2).count() == 3
        assert Measure.objects.filter(value=None).count() == 6
        again = Measure.objects.bulk_update(
            shape(rows[:1]),
            ["value"],
            match_fields=["device", "channel"],
            returning=["pk", "value"],
            strategy=strategy,
        )
        assert [row.index for row in again.rows] == [0, 0, 0]

    def test_null_matches_null(self, strategy, shape):
        """None stands for the stored NULL, in one part of the match or in all."""
        pairs = [(a, b) for a in ("x", None) for b in (1, None)]
        Measure.objects.bulk_create(Measure(device=a, channel=b) for a, b in pairs)
        rows = [Measure(device=a, channel=b, value=i) for i, (a, b) in enumerate(pairs)]
        for some in (rows, rows[3:], rows[1:3], rows[:1]):
            Measure.objects.update(value=None)
            found = Measure.objects.bulk_update(
                shape(some), ["value"], match_fields=["device", "channel"], strategy=strategy
            )
            assert found == len(some)
            for row in some:
                assert (
                    Measure.objects.get(device=row.device, channel=row.channel).value == row.value
                )
        assert (
            Measure.objects.bulk_update(
                [Measure(value=7)], ["value"], match_fields=["device"], strategy=strategy
            )
            == 2
        )

    def test_first_of_a_key_counts(self, strategy):
        """Of several rows of a key, a NULL key among them, the first counts."""
        Measure.objects.bulk_create([Measure(device=None), Measure(device="a")])
        rows = [Measure(device=d, value=i) for i, d in enumerate([None, "a", None, "a"])]
        found = Measure.objects.bulk_update(
            rows, ["value"], match_fields=["device"], strategy=strategy
        )
        assert found == 2
        assert stored("value", model=Measure, by="pk") == [0, 1]

    def test_primary_key_and_more(self, products, strategy):
        """The primary key with a version: only rows that are as they were read."""
        Product.objects.filter(stock=3).update(name="meanwhile")
        for product in products:
            product.stock += 10
        found = Product.objects.bulk_update(
            products, ["stock"], match_fields=["pk", "name"], strategy=strategy
        )
        assert found == 9
        assert stored("stock") == [10, 11, 12, 3, 14, 15, 16, 17, 18, 19]

    def test_foreign_key(self, strategy):
        """By a relation."""
        countries = [Country.objects.create(code=code) for code in ("it", "fr")]
        City.objects.bulk_create(City(name=f"{i}", country=countries[i % 2]) for i in range(4))
        rows = [City(country=countries[0], by_code_id="fr")]
        for names in (["country"], ["country_id"]):
            assert (
                City.objects.bulk_update(rows, ["by_code"], match_fields=names, strategy=strategy)
                == 2
            )
        assert City.objects.filter(by_code="fr", country=countries[0]).count() == 2

    @pytest.mark.parametrize(
        ("names", "error", "message"),
        [
            ([], MatchError, "match_fields is empty"),
            (["stock"], MatchError, "match_fields and fields both name 'stock'"),
            (["skuu"], UnknownFieldError, "match_fields: 'skuu' is no field .* did you mean sku"),
            ("sku", OptionError, "got the string 'sku'"),
            (["sku", "sku"], OptionError, "names 'sku' twice"),
            (5, OptionError, "takes a list of names, not int"),
        ],
    )
    def test_refused(self, products, names, error, message):
        """A match that can't be is refused before any SQL."""
        with CaptureQueriesContext(connection) as queries, pytest.raises(error, match=message):
            Product.objects.bulk_update(products, ["stock"], match_fields=names)
        assert len(queries) == 0

    def test_expression(self, products):
        """Rows are matched by values."""
        rows = [Product(sku=Lower(Value("A")))]
        with pytest.raises(RowExpressionError, match="row 0, field 'sku': an SQL expression"):
            Product.objects.bulk_update(rows, ["stock"], match_fields=["sku"])


class TestWhere:
    def test_the_later_one_wins(self, strategy, shape):
        """Q(updated__lt=Excluded("updated")): what is stored stays where it is newer."""
        hours = [NOON + datetime.timedelta(hours=i) for i in range(4)]
        Ticking.objects.bulk_create(Ticking(value=i) for i in range(4))
        rows = list(Ticking.objects.order_by("pk"))
        for row, hour in zip(rows, hours, strict=True):
            row.updated = hour
        Ticking.objects.bulk_update(rows, ["updated"])
        for row in rows:
            row.updated, row.value = NOON + datetime.timedelta(hours=1, minutes=30), 50
        found = Ticking.objects.bulk_update(
            shape(rows),
            ["value", "updated"],
            where=Q(updated__lt=Excluded("updated")),
            strategy=strategy,
        )
        assert (found, found.updated, found.skipped) == (2, 2, 2)
        assert stored("value", model=Ticking, by="pk") == [50, 50, 2, 3]

    def test_expressions_of_both_rows(self, products, strategy, shape):
        """Arithmetic, functions, lookups, negation, beside a filter and unchanged rows."""
        for product in products:
            product.stock = 5
        found = Product.objects.filter(stock__gt=0).bulk_update(
            shape(products),
            ["stock"],
            where=Q(stock__lt=Greatest(Excluded("stock") + 2, Value(1))) & ~Q(name="n3"),
            skip_unchanged=True,
            strategy=strategy,
        )
        # 1, 2, 4 and 6 are written, 5 is unchanged; 3, 7, 8 and 9 are held back; 0 is no match.
        assert (found, found.updated, found.unchanged, found.skipped) == (5, 4, 1, 4)
        assert stored("stock") == [0, 5, 5, 3, 5, 5, 5, 7, 8, 9]

    def test_condition_that_is_no_q(self, products, strategy):
        """Whatever Django's filter() takes for a condition."""
        for product in products:
            product.stock = 5
        found = Product.objects.bulk_update(
            products,
            ["stock"],
            where=GreaterThan(Excluded("stock"), F("stock") + 1),
            strategy=strategy,
        )
        assert (found, found.skipped) == (4, 6)

    def test_of_the_stored_row_alone(self, products, strategy):
        """No Excluded at all."""
        where = Q(Q(stock__gte=8) | Q(name__in=["n1", "%s", "100%"]))
        found = Product.objects.bulk_update(products, ["name"], where=where, strategy=strategy)
        assert (found, found.skipped) == (3, 7)

    def test_of_a_subquery(self, products, strategy):
        """A subquery may look at the stored row."""
        Country.objects.create(code="1", name="n1")
        where = Exists(Country.objects.filter(code=OuterRef("sku")))
        found = Product.objects.bulk_update(products, ["stock"], where=where, strategy=strategy)
        assert (found, found.skipped) == (1, 9)

    def test_fields_that_are_not_updated(self, products, strategy):
        """Excluded may name any field of the instances, and fields that are None."""
        for product in products:
            product.stock = 100
            product.name = "n3" if product.sku < "5" else None
        found = Product.objects.bulk_update(
            products, ["stock"], where=Q(name=Excluded("name")), strategy=strategy
        )
        assert (found, found.skipped) == (1, 9)
        assert Product.objects.get(stock=100).sku == "3"

    def test_rows_that_hold_expressions(self, products, strategy):
        """Excluded is the value that the row's expression would have."""
        for product in products:
            product.stock = F("stock") * 2 if product.stock % 2 else 4
        found = Product.objects.bulk_update(
            products,
            ["stock"],
            where=Q(stock__lt=Excluded("stock")),
            skip_unchanged=True,
            strategy=strategy,
        )
        # even: 0 and 2 become 4; odd ones are doubled; 4, 6 and 8 are held back
        assert (found, found.updated, found.unchanged, found.skipped) == (7, 7, 0, 3)
        assert stored("stock") == [4, 2, 4, 6, 4, 10, 6, 14, 8, 18]

    def test_a_clock(self, strategy):
        """Excluded of an auto_now field is what the instance holds, be the field named or not."""
        Ticking.objects.bulk_create(Ticking(value=i) for i in range(2))
        Ticking.objects.update(updated=NOON)
        rows = list(Ticking.objects.order_by("pk"))
        rows[0].updated += datetime.timedelta(hours=1)
        rows[1].updated -= datetime.timedelta(hours=1)
        found = Ticking.objects.bulk_update(
            rows, ["value"], where=Q(updated__lt=Excluded("updated")), strategy=strategy
        )
        assert (found, found.skipped) == (1, 1)
        assert stored("updated", model=Ticking, by="pk")[0] > rows[0].updated

    @pytest.mark.parametrize(
        ("where", "message"),
        [
            (5, "where takes a Q or another condition, not int"),
            (F("stock"), "where takes a Q or another condition, not F"),
            (True, "where takes a Q or another condition, not bool; a comparison is"),
            (Q(stok=1), "where: Cannot resolve keyword 'stok'"),
            (Q(stock=Excluded("stok")), r"where, Excluded\(\): 'stok' is no field .* mean stock"),
            (Q(stock="many"), "where: Field 'stock' expected a number"),
            (Q(price="much"), "where: .*must be a decimal number"),
            (Q(Excluded("price")), "where: Cannot filter against a non-conditional expression"),
            (Q(stock=F("stok")), "where: Cannot resolve keyword 'stok'"),
            (Q(stock=Count("pk")), "where holds an aggregate|Aggregate|aggregate"),
        ],
    )
    def test_refused(self, products, where, message):
        """A condition that can't be is refused before any SQL."""
        with (
            CaptureQueriesContext(connection) as queries,
            pytest.raises(OptionError, match=message),
        ):
            Product.objects.bulk_update(products, ["stock"], where=where)
        assert len(queries) == 0

    def test_relations_are_refused(self):
        """A condition over a related row belongs into the queryset's filter."""
        city = City.objects.create(name="a", country=Country.objects.create(code="it"))
        with pytest.raises(OptionError, match=r"spans a relation, .* filter\(\) the queryset"):
            City.objects.bulk_update([city], ["name"], where=Q(country__code="it"))
        assert City.objects.bulk_update([city], ["name"], where=Q(country_id=city.country_id)) == 1

    def test_excluded_elsewhere(self, products):
        """Outside of where= there is no incoming row."""
        with pytest.raises(FieldError, match="Excluded\\(stock\\) is the incoming row's value"):
            Product.objects.filter(stock=Excluded("stock"))
        products[0].stock = Excluded("stock")
        with pytest.raises(RowExpressionError, match="row 0, field 'stock': Excluded"):
            Product.objects.bulk_update(products, ["stock"])

    def test_excluded_is_a_value_object(self):
        """Equal names are equal, it prints itself, and it can be kept in a Q."""
        assert Excluded("a") == Excluded("a") != Excluded("b")
        assert Excluded("a") != F("a")
        assert len({Excluded("a"), Excluded("a")}) == 1
        assert repr(Excluded("a")) == "Excluded(a)"
        assert pickle.loads(pickle.dumps(Q(x=Excluded("a")))) == Q(x=Excluded("a"))


class TestSkipUnchanged:
    def test_counts(self, products, strategy, shape):
        """Rows that would not change are counted, and not written."""
        for product in products[:4]:
            product.name = "new"
        with connection.cursor() as cursor:
            cursor.execute("SELECT sku, xmin::text FROM tests_product ORDER BY sku")
            before = dict(cursor.fetchall())
        found = Product.objects.bulk_update(
            shape([*products, Product(pk=10**8)]),
            ["name", "stock", "price"],
            skip_unchanged=True,
            strategy=strategy,
        )
        assert (found, found.updated, found.unchanged, found.skipped) == (10, 4, 6, 0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT sku, ctid::text FROM tests_product ORDER BY sku")
            places = dict(cursor.fetchall())
        assert before.keys() == places.keys()
        again = Product.objects.bulk_update(
            shape(products), ["name", "stock"], skip_unchanged=True, strategy=strategy
        )
        assert (again.updated, again.unchanged) == (0, 10)
        with connection.cursor() as cursor:
            cursor.execute("SELECT sku, ctid::text FROM tests_product ORDER BY sku")
            assert dict(cursor.fetchall()) == places

    def test_expressions_are_compared(self, products, strategy):
        """What an expression makes of the stored row, against the stored row."""
        for product in products:
            product.stock = F("stock") + (product.stock % 2)
            product.name = Coalesce(None, "name")
        found = Product.objects.bulk_update(
            products, ["stock", "name"], skip_unchanged=True, strategy=strategy
        )
        assert (found.updated, found.unchanged) == (5, 5)

    def test_null_and_value(self, products, strategy):
        """To and from NULL is a change; NULL to NULL is none."""
        words = {"skip_unchanged": True, "strategy": strategy}
        products[0].price = 1
        assert Product.objects.bulk_update(products, ["price"], **words).updated == 1
        assert Product.objects.bulk_update(products, ["price"], **words).updated == 0
        products[0].price = None
        assert Product.objects.bulk_update(products, ["price"], **words).updated == 1

    def test_rows_are_still_matched(self, products, strategy):
        """The int is the same with and without."""
        rows = [*products[:5], Product(pk=10**8)]
        plain = Product.objects.bulk_update(rows, ["stock"], strategy=strategy)
        assert plain == Product.objects.bulk_update(
            rows, ["stock"], skip_unchanged=True, strategy=strategy
        )


class TestReturning:
    def test_rows_as_they_are_now(self, products, strategy, shape):
        """The stored values after the update, in the order of the input, with its positions."""
        for product in products:
            product.stock = F("stock") + 100
        rows = [Product(pk=10**8), *reversed(products)]
        found = Product.objects.bulk_update(
            shape(rows), ["stock"], returning=["pk", "stock", "updated", "price"], strategy=strategy
        )
        assert found == 10
        assert [row.index for row in found.rows] == list(range(1, 11))
        assert [row["stock"] for row in found.rows] == list(range(109, 99, -1))
        assert [row["pk"] for row in found.rows] == [product.pk for product in reversed(products)]
        assert list(found.rows[0].values) == ["pk", "stock", "updated", "price"]
        assert found.rows[0]["updated"].tzinfo is not None
        assert found.rows[0]["updated"] == Product.objects.get(sku="9").updated

    def test_only_rows_that_were_written(self, products, strategy):
        """Not those that were unchanged, held back, or are not there."""
        products[2].stock = 50
        words = {"returning": ["sku"], "strategy": strategy}
        found = Product.objects.bulk_update(products, ["stock"], skip_unchanged=True, **words)
        assert (found, [row["sku"] for row in found.rows]) == (10, ["2"])
        found = Product.objects.bulk_update(
            products, ["stock"], where=Q(sku__in=["4", "7"]), **words
        )
        assert (found.skipped, [row["sku"] for row in found.rows]) == (8, ["4", "7"])
        found = Product.objects.bulk_update(products, ["stock"], where=Q(sku="x"), **words)
        assert (found, found.skipped, found.rows) == (0, 10, [])
        assert Product.objects.bulk_update([], ["stock"], **words).rows == []
        assert Product.objects.none().bulk_update(products, ["stock"], **words).rows == []

    def test_all_fields(self, products, strategy):
        """True stands for every field."""
        found = Product.objects.bulk_update(
            products[:1], ["stock"], returning=True, strategy=strategy
        )
        expected = Product.objects.filter(sku="0").values().get()
        assert found.rows[0].values == expected

    def test_relations(self, strategy):
        """A relation's value is its key, under the name that was asked for."""
        country = Country.objects.create(code="it")
        city = City.objects.create(name="a", country=country)
        found = City.objects.bulk_update(
            [city], ["name"], returning=["country", "by_code_id"], strategy=strategy
        )
        assert found.rows[0].values == {"country": country.pk, "by_code_id": None}

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ([], "returning is empty"),
            ("sku", "got the string 'sku'"),
            (["skuu"], "returning: 'skuu' is no field .* did you mean sku"),
            (5, "returning takes a list of names, not int"),
        ],
    )
    def test_refused(self, products, names, message):
        """Names that can't be returned are refused before any SQL."""
        with pytest.raises(OptionError, match=message):
            Product.objects.bulk_update(products, ["stock"], returning=names)


@pytest.mark.parametrize("value", ["no", 1, None])
def test_skip_unchanged_is_so_or_not(value):
    """What is so or not is said by True or False."""
    with pytest.raises(OptionError, match="skip_unchanged is True or False, not"):
        Product.objects.bulk_update([Product(pk=1)], ["name"], skip_unchanged=value)
