"""bulk_update in the place of Django's: what it takes, what it refuses, and what it leaves."""

from __future__ import annotations

import datetime
import decimal
import pickle

import django
import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import DataError, IntegrityError, NotSupportedError, connection, models
from django.db.models import Count, F, OuterRef, Q, Subquery, Sum, Value, Window
from django.db.models.functions import Coalesce, Concat, Lower, Now, RowNumber, Upper
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import (
    Excluded,
    OptionError,
    RowConstraintError,
    RowExpressionError,
    RowFieldsError,
    RowTypeError,
    RowValueError,
    UnknownFieldError,
    UnsavedRelatedError,
)

from .models import (
    NOON,
    City,
    Country,
    Custom,
    CustomPk,
    Elsewhere,
    Everything,
    Hostile,
    Legacy,
    Mayor,
    Odd,
    Partitioned,
    Product,
    ProductProxy,
    ShowroomProduct,
    StockProxy,
    Tagged,
    Word,
)

pytestmark = pytest.mark.django_db

#: Django's own method, over the same model.
DJANGOS = models.QuerySet(Product)


@pytest.fixture
def products() -> list[Product]:
    """Twelve stored products, as loaded."""
    Product.objects.bulk_create(
        Product(sku=f"{i:02}", name=f"name {i}", stock=i, price=i) for i in range(12)
    )
    return list(Product.objects.order_by("sku"))


def stored(*names: str, model=Product, by="sku") -> list:
    """Return stored values in order."""
    flat = len(names) == 1
    return list(model.objects.order_by(by).values_list(*names, flat=flat))


class TestTheCall:
    def test_updates_and_counts(self, products, strategy, shape):
        """The named fields are written, the others not; the int is the number of rows."""
        for product in products[:10]:
            product.stock += 100
            product.name = "changed"
            product.price = decimal.Decimal("1.5")
        found = Product.objects.bulk_update(
            shape(products[:10]), ["stock", "name"], strategy=strategy
        )
        assert found == 10
        assert stored("stock") == [*range(100, 110), 10, 11]
        assert stored("name") == ["changed"] * 10 + ["name 10", "name 11"]
        assert stored("price") == list(range(12))

    def test_positional(self, products):
        """Called as Django's is, batch_size third."""
        for product in products:
            product.stock = 7
        assert Product.objects.bulk_update(products, ["stock"], 5) == 12
        assert Product.objects.bulk_update(objs=products, fields=["stock"], batch_size=None) == 12
        assert stored("stock") == [7] * 12

    @pytest.mark.parametrize("size", [1, 3, 10**9])
    def test_batch_size(self, products, strategy, size):
        """However many rows travel at a time, all are updated."""
        for product in products:
            product.stock = -1
        assert Product.objects.bulk_update(products, ["stock"], size, strategy=strategy) == 12
        assert stored("stock") == [-1] * 12

    def test_result_is_an_int(self, products):
        """The result is an int for whoever takes it for one, and says more."""
        found = Product.objects.bulk_update(products[:3], ["stock"])
        assert isinstance(found, int)
        assert (found + 1, f"{found}", repr(found), bool(found)) == (4, "3", "3", True)
        assert (found.updated, found.unchanged, found.skipped, found.rows) == (3, 0, 0, [])
        again = pickle.loads(pickle.dumps(found))
        assert (again, again.updated, again.rows) == (3, 3, [])

    def test_no_rows(self, strategy, shape, django_assert_num_queries):
        """Nothing to update is no query; names are checked all the same."""
        with django_assert_num_queries(0):
            assert Product.objects.bulk_update(shape([]), ["stock"], strategy=strategy) == 0
            with pytest.raises(FieldDoesNotExist):
                Product.objects.bulk_update(shape([]), ["stok"], strategy=strategy)

    def test_rows_that_are_not_there(self, products, strategy):
        """What is not stored is not counted, and not created."""
        rows = [*products, Product(pk=10**9, sku="new", stock=1)]
        assert Product.objects.bulk_update(rows, ["stock"], strategy=strategy) == 12
        assert Product.objects.count() == 12

    def test_one_query(self, products, django_assert_num_queries):
        """A small input is one query; inside a transaction beside a savepoint, to be retried."""
        for retries, queries in ((0, 1), (1, 3)):
            with django_assert_num_queries(queries):
                Product.objects.bulk_update(products, ["stock", "name"], retries=retries)
            with django_assert_num_queries(queries):
                Product.objects.bulk_update(products[:1], ["stock"], retries=retries)
            with django_assert_num_queries(queries):
                Product.objects.filter(stock=3).bulk_update(
                    products, ["name"], skip_unchanged=True, returning=["name"], retries=retries
                )

    def test_many_rows_of_their_own_accord(self):
        """More rows than go by unnest are staged, and updated by one statement."""
        Product.objects.bulk_upsert({"sku": f"{i}", "stock": i} for i in range(6_000))
        products = Product.objects.order_by("pk")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            found = Product.objects.bulk_update(
                (_with(product, stock=-product.stock) for product in products.iterator()),
                ["stock"],
            )
        assert found == 6_000
        assert sum("UPDATE" in query["sql"] for query in queries) == 1
        assert any("COPY" in query["sql"] for query in queries)
        assert Product.objects.aggregate(Sum("stock"))["stock__sum"] == -sum(range(6_000))

    def test_queryset_as_input(self, products, strategy):
        """A queryset is an iterable of instances."""
        assert (
            Product.objects.bulk_update(Product.objects.all(), ["stock"], strategy=strategy) == 12
        )

    def test_related_manager(self, strategy):
        """A related manager's filter is its own: only its rows are updated."""
        here, there = Country.objects.create(code="it"), Country.objects.create(code="fr")
        City.objects.bulk_create(City(name=f"{i}", country=[here, there][i % 2]) for i in range(6))
        cities = list(City.objects.all())
        for city in cities:
            city.name += " new"
        assert here.city_set.bulk_update(cities, ["name"], strategy=strategy) == 3
        assert City.objects.filter(country=here, name__endswith="new").count() == 3
        assert City.objects.filter(name__endswith="new").count() == 3

    @pytest.mark.django_db(databases=["default", "other"], transaction=True)
    def test_other_database(self, products):
        """using() and _for_write choose the alias."""
        products[0].stock = 99
        assert Product.objects.using("other").bulk_update(products[:1], ["stock"]) == 1
        with pytest.raises(NotSupportedError, match="'lite'"):
            Product.objects.using("lite").bulk_update(products[:1], ["stock"])

    def test_write_router(self, products, settings):
        """Without using(), the router says where to write."""
        settings.DATABASE_ROUTERS = ["tests.test_backend.ToLite"]
        with pytest.raises(NotSupportedError, match="'lite'"):
            Product.objects.all().bulk_update(products, ["stock"])

    def test_instances_stay_as_they_are(self, products, strategy):
        """Attributes, expressions among them, are left alone, as Django leaves them."""
        products[0].stock = F("stock") + 1
        before = dict(products[0].__dict__)
        Product.objects.bulk_update(products, ["stock"], strategy=strategy)
        assert {**products[0].__dict__, "_state": 0} == {**before, "_state": 0}

    def test_async_twin(self, products, strategy, shape):
        """abulk_update does what bulk_update does."""
        for product in products:
            product.stock = 5

        async def work():
            with pytest.raises(RowTypeError):
                await Product.objects.abulk_update([1], ["stock"])
            queryset = Product.objects.filter(sku__gt="02")
            return await queryset.abulk_update(
                shape(products),
                ["stock"],
                100,
                where=Q(stock__gt=Excluded("stock")),
                returning=["stock"],
                skip_unchanged=True,
                strategy=strategy,
            )

        found = async_to_sync(work)()
        assert (found, found.skipped, [row["stock"] for row in found.rows]) == (6, 3, [5] * 6)


def _with(instance, **values):
    for name, value in values.items():
        setattr(instance, name, value)
    return instance


class TestRefused:
    @pytest.mark.parametrize(
        ("rows", "fields", "words"),
        [
            (1, [], {}),
            (1, ["nope"], {}),
            (1, ["stok"], {}),
            (1, ["id"], {}),
            (1, ["pk"], {}),
            (1, ["stock"], {"batch_size": 0}),
            (1, ["stock"], {"batch_size": -1}),
            (0, [], {}),
            (0, ["stock"], {"batch_size": 0}),
            (0, ["id"], {}),
        ],
    )
    def test_as_django(self, products, rows, fields, words):
        """What Django refuses is refused, by an exception of that class and in those words."""
        with pytest.raises(Exception) as djangos:  # noqa: PT011
            DJANGOS.bulk_update(products[:rows], fields, **words)
        with pytest.raises(type(djangos.value)) as ours:
            Product.objects.bulk_update(products[:rows], fields, **words)
        assert isinstance(ours.value, OptionError)
        assert str(djangos.value) in str(ours.value)

    def test_hint(self, products):
        """A name that is wrong by a letter is told the right one."""
        with pytest.raises(UnknownFieldError, match="no field named 'stok'; did you mean stock"):
            Product.objects.bulk_update(products, ["stok"])

    def test_swapped(self, products):
        """Who mixes the first two arguments up is told."""
        with pytest.raises(UnknownFieldError, match=r"of type Product, .* objs comes first"):
            Product.objects.bulk_update(["stock"], products)

    def test_names_are_a_list(self, products):
        """A string is not taken for a list of letters."""
        with pytest.raises(OptionError, match="got the string 'stock'; pass \\['stock'\\]"):
            Product.objects.bulk_update(products, "stock")

    @pytest.mark.parametrize("name", ["tags"])
    def test_many_to_many(self, name):
        """No column, no update."""
        tagged = Tagged.objects.create(label="a")
        with pytest.raises(ValueError, match="can only be used with concrete fields"):
            Tagged.objects.bulk_update([tagged], [name])

    def test_reverse_relation(self):
        """The other end of a foreign key is no column either."""
        country = Country.objects.create(code="it")
        with pytest.raises(ValueError, match="can only be used with concrete fields"):
            Country.objects.bulk_update([country], ["city"])

    def test_no_primary_key(self, products, strategy, shape):
        """The first object without a primary key is named."""
        rows = shape([*products[:3], Product(sku="x"), Product(sku="y")])
        words = "All bulk_update\\(\\) objects must have a primary key set."
        with pytest.raises(ValueError, match=f"row 3: {words}") as error:
            Product.objects.bulk_update(rows, ["stock"], strategy=strategy)
        assert isinstance(error.value, RowFieldsError)
        with pytest.raises(ValueError, match=words):
            DJANGOS.bulk_update([Product(sku="x")], ["stock"])

    def test_slice(self, products):
        """A slice can't be filtered, and so not updated."""
        with pytest.raises(TypeError) as djangos:
            DJANGOS.all()[:3].bulk_update(products, ["stock"])
        with pytest.raises(TypeError, match=str(djangos.value)):
            Product.objects.all()[:3].bulk_update(products, ["stock"])

    def test_union(self, products):
        """Nor can a union."""
        union = Product.objects.filter(stock=1).union(Product.objects.filter(stock=2))
        with pytest.raises(NotSupportedError, match="union"):
            union.bulk_update(products, ["stock"])

    @pytest.mark.parametrize("size", ["5", 2.5])
    def test_batch_size_is_a_number(self, products, size):
        """A batch size that is no integer."""
        with pytest.raises(ValueError, match="Batch size must be a positive integer"):
            Product.objects.bulk_update(products, ["stock"], size)

    @pytest.mark.parametrize("objs", [None, 5, Product(pk=1, sku="x")])
    def test_objs_are_iterable(self, objs):
        """One instance is no iterable of instances."""
        with pytest.raises(OptionError, match="objs is an iterable of model instances, not"):
            Product.objects.bulk_update(objs, ["stock"])

    @pytest.mark.parametrize("wrong", [{"pk": 1, "stock": 2}, (1, 2), Country(pk=1), None])
    def test_other_objects(self, products, strategy, wrong):
        """What is no instance of the model is named."""
        with pytest.raises(
            RowTypeError, match=r"row 2: .* bulk_update\(\) takes tests.Product inst"
        ):
            Product.objects.bulk_update([*products[:2], wrong], ["stock"], strategy=strategy)

    def test_unsaved_related_object(self):
        """A related object without a key is refused, in Django's words."""
        city = City.objects.create(name="a", country=Country.objects.create(code="it"))
        city.country = Country(code="fr")
        with pytest.raises(ValueError, match="unsaved related") as djangos:
            models.QuerySet(City).bulk_update([city], ["country"])
        with pytest.raises(UnsavedRelatedError, match="row 0, field 'country'") as ours:
            City.objects.bulk_update([city], ["country"])
        assert str(djangos.value) in str(ours.value)
        assert City.objects.bulk_update([city], ["name"]) == 1  # it plays no part

    def test_strategy(self, products):
        with pytest.raises(OptionError, match="strategy is None or one of"):
            Product.objects.bulk_update(products, ["stock"], strategy="fast")

    def test_unknown_keyword(self, products):
        with pytest.raises(TypeError):
            Product.objects.bulk_update(products, ["stock"], nope=1)


class TestBadValues:
    def test_over_long_text(self, products, strategy, shape):
        """Text that Django's bulk_update cuts to fit is an error, with row and field."""
        products[3].name = "x" * 21
        with pytest.raises(RowValueError, match="row 3, field 'name': text of 21 characters"):
            Product.objects.bulk_update(shape(products), ["name"], strategy=strategy)
        assert "x" not in "".join(stored("name"))

    def test_over_long_expression(self, products, strategy):
        """One that the server computes is refused by the server."""
        products[3].name = Concat(F("name"), Value("x" * 20))
        with pytest.raises(DataError, match="too long"):
            Product.objects.bulk_update(products, ["name"], strategy=strategy)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("stock", "many"), ("stock", 2**31), ("price", decimal.Decimal("1e9")), ("name", "\0")],
    )
    def test_wrong_values(self, products, strategy, name, value):
        """A value that the column can't hold is named by row and field."""
        setattr(products[2], name, value)
        with pytest.raises(RowValueError, match=f"row 2, field '{name}'"):
            Product.objects.bulk_update(products, [name], strategy=strategy)
        assert stored("stock") == list(range(12))

    def test_null(self, products, strategy):
        """A None where the column takes none is named by row and field."""
        products[2].stock = None
        with pytest.raises(RowConstraintError, match="row 2, field 'stock': None, where"):
            Product.objects.bulk_update(products, ["stock"], strategy=strategy)

    def test_unique(self, products, strategy):
        """A constraint is the server's to check."""
        products[2].sku = products[3].sku
        with pytest.raises(IntegrityError):
            Product.objects.bulk_update(products[:3], ["sku"], strategy=strategy)

    @pytest.mark.django_db(transaction=True)
    def test_nothing_is_half_written(self, products, strategy):
        """A row that fails takes the whole call with it."""
        for product in products:
            product.stock = 1
        products[-1].sku = products[0].sku
        with pytest.raises(IntegrityError):
            Product.objects.bulk_update(products, ["stock", "sku"], strategy=strategy)
        assert stored("stock") == list(range(12))
        products[-1].sku = "11"
        assert Product.objects.bulk_update(products, ["stock", "sku"], strategy=strategy) == 12


class TestValues:
    def test_all_null_columns(self, strategy, shape):
        """NULLs of every type, in columns that hold nothing else."""
        names = [f.name for f in Everything._meta.concrete_fields if f.null and f.name != "file"]
        Everything.objects.bulk_create(Everything(key=i, text="x", integer=1) for i in range(3))
        rows = list(Everything.objects.all())
        for row in rows:
            row.text = row.integer = None
        found = Everything.objects.bulk_update(shape(rows), names, strategy=strategy)
        assert found == 3
        nothing = {f"{name}__isnull": True for name in names}
        assert Everything.objects.filter(**nothing).count() == 3

    def test_foreign_keys(self, strategy):
        """By object or by attname, saved after it was set or not."""
        here, there = Country(code="it"), Country.objects.create(code="fr")
        cities = [City.objects.create(name=name, country=there) for name in ("a", "b", "c")]
        cities[0].country = here
        here.save()  # only now it has a key
        cities[1].country_id = here.pk
        assert City.objects.bulk_update(cities, ["country"], strategy=strategy) == 3
        assert stored("country_id", model=City, by="name") == [here.pk, here.pk, there.pk]
        cities[1].country_id = there.pk
        assert City.objects.bulk_update(cities, ["country_id"], strategy=strategy) == 3
        assert stored("country_id", model=City, by="name") == [here.pk, there.pk, there.pk]

    def test_primary_key_that_is_a_relation(self, strategy):
        """Rows are matched by the related object's key."""
        country = Country.objects.create(code="it")
        city = City.objects.create(name="a", country=country)
        names = [f.name for f in Mayor._meta.concrete_fields]
        mayor = Mayor(**{names[0]: city})
        mayor.name = "old"
        mayor.save()
        mayor.name = "new"
        assert Mayor.objects.bulk_update([mayor], ["name"], strategy=strategy) == 1
        assert Mayor.objects.get().name == "new"

    def test_falsy_primary_keys(self, strategy):
        """0 and the empty string are keys."""
        Product.objects.create(pk=0, sku="zero")
        Word.objects.create(word="")
        assert (
            Product.objects.bulk_update([Product(pk=0, stock=9)], ["stock"], strategy=strategy) == 1
        )
        assert Word.objects.bulk_update([Word("", 9)], ["count"], strategy=strategy) == 1
        assert (Product.objects.get().stock, Word.objects.get().count) == (9, 9)

    def test_custom_primary_key(self, strategy):
        """A key with a form of its own in Python."""
        CustomPk.objects.bulk_create([CustomPk("#1", "a"), CustomPk("#2", "b")])
        rows = [CustomPk("#1", "x"), CustomPk("#2", "y")]
        found = CustomPk.objects.bulk_update(
            rows, ["name"], strategy=strategy, returning=["pk", "name"]
        )
        assert [row["pk"] for row in found.rows] == ["#1", "#2"]
        assert stored("name", model=CustomPk, by="pk") == ["x", "y"]

    def test_fields_with_a_form_of_their_own(self, strategy):
        """get_prep_value and a custom placeholder are heeded, for values and for expressions."""
        Custom.objects.bulk_create(Custom(key=i, spaced="ab", upper="ab") for i in range(4))
        rows = list(Custom.objects.order_by("key"))
        rows[0].spaced, rows[0].upper = "cd", "cd"
        rows[1].spaced, rows[1].upper = None, None
        rows[2].upper = Concat(F("stamp"), Value("%s%%"))
        fields = ["spaced", "upper"]
        if strategy == "unnest":
            with pytest.raises(OptionError, match="row 0, field 'upper', which is SQL"):
                Custom.objects.bulk_update(rows, fields, strategy=strategy)
            strategy = None
        assert Custom.objects.bulk_update(rows, fields, strategy=strategy) == 4
        assert stored("spaced", "upper", model=Custom, by="key") == [
            ("cd", "CD"),
            (None, None),
            ("ab", "STAMP 2%S%%"),
            ("ab", "AB"),
        ]

    def test_files_are_names(self, strategy):
        """As in Django's, a file field's name is written, and no file saved."""
        row = Custom.objects.create(key=1)
        row.document = "a/b.txt"
        assert Custom.objects.bulk_update([row], ["document"], strategy=strategy) == 1
        assert Custom.objects.get().document.name == "a/b.txt"

    def test_json_null(self, strategy):
        """None is SQL's NULL; JSON's own null is asked for."""
        Everything.objects.bulk_create(Everything(key=i, json={"a": 1}) for i in range(3))
        rows = list(Everything.objects.order_by("key"))
        rows[0].json = None
        rows[1].json = Value(None, models.JSONField())
        rows[2].json = {"null": None, "list": [1, "é"]}
        assert Everything.objects.bulk_update(rows, ["json"], strategy=strategy) == 3
        with connection.cursor() as cursor:
            cursor.execute("SELECT json::text FROM tests_everything ORDER BY key")
            found = [row[0] for row in cursor.fetchall()]
        assert found == [None, "null", '{"list": [1, "é"], "null": null}']

    def test_odd_names(self, strategy, image):
        """db_column, capitals, blanks, braces and percent signs, at which Django's own fails."""
        Odd.objects.bulk_upsert(
            [{"key": i, "percent": "old"} for i in range(3)], unique_fields=["key"]
        )
        rows = [Odd(key=0, percent="100% %s"), Odd(key=1, percent="{x}"), Odd(key=2, percent="old")]
        rows[2].select = Value(5)
        found = Odd.objects.bulk_update(
            rows,
            ["percent", "select"],
            match_fields=["key"],
            skip_unchanged=True,
            strategy=strategy,
            returning=["percent"],
        )
        assert [row["percent"] for row in found.rows] == ["100% %s", "{x}", "old"]
        assert image(Odd) == ['(0,"100% %s",1)', "(1,{x},1)", "(2,old,5)"]

    def test_hostile_names(self, tables):
        """Quotes, semicolons and line ends in the names of a table that Django did not make."""
        tables(
            'CREATE TABLE "wei""rd; %s\n' + "é" * 10 + '" '
            '("a""; --" int PRIMARY KEY, "é""%s""%%\n\'x" text)'
        )
        Hostile.objects.bulk_upsert([Hostile(id=1, text="a"), Hostile(id=2, text="b")])
        rows = [Hostile(id=1, text="x%s"), Hostile(id=2, text=Lower(Value("%S")))]
        assert Hostile.objects.bulk_update(rows, ["text"]) == 2
        with connection.cursor() as cursor:
            cursor.execute('SELECT t::text FROM "wei""rd; %s\n' + "é" * 10 + '" t ORDER BY 1')
            assert cursor.fetchall() == [("(1,x%s)",), ("(2,%s)",)]

    @pytest.mark.parametrize("count", [1, 2])
    def test_table_in_a_schema(self, tables, strategy, count):
        """A table that is named with its schema is locked and written under both names."""
        tables(
            'CREATE SCHEMA "else where"; CREATE TABLE "else where"."Table" (id bigint PRIMARY KEY '
            "GENERATED BY DEFAULT AS IDENTITY, key varchar(10) UNIQUE, value int)"
        )
        Elsewhere.objects.bulk_create(Elsewhere(key=key) for key in "ab")
        rows = list(Elsewhere.objects.order_by("key"))[:count]
        for row in rows:
            row.value = F("value") + 5
        queryset = Elsewhere.objects.filter(value__lt=4)
        assert queryset.bulk_update(rows, ["value"], strategy=strategy) == count
        assert stored("value", model=Elsewhere, by="key") == [5, 5][:count] + [0] * (2 - count)

    def test_partitions(self, tables, strategy):
        """The rows of a partitioned table, of its partitions."""
        tables(
            "CREATE TABLE tests_partitioned (id int PRIMARY KEY, value int)"
            " PARTITION BY RANGE (id);"
            "CREATE TABLE part_a PARTITION OF tests_partitioned FOR VALUES FROM (0) TO (9);"
            "CREATE TABLE part_b PARTITION OF tests_partitioned FOR VALUES FROM (9) TO (99)"
        )
        Partitioned.objects.bulk_create(Partitioned(id=i) for i in range(20))
        rows = [Partitioned(id=i, value=i) for i in range(20)]
        assert Partitioned.objects.bulk_update(rows, ["value"], strategy=strategy) == 20
        assert stored("value", model=Partitioned, by="id") == list(range(20))

    def test_types_that_are_not_the_models(self, tables):
        """Rows of a table with an enum go by the staging table, which has its types."""
        tables(
            "CREATE TYPE mood AS ENUM ('ok', 'sad');"
            "CREATE TABLE tests_legacy (id int PRIMARY KEY, mood mood)"
        )
        Legacy.objects.bulk_upsert([Legacy(1, "ok"), Legacy(2, "ok")])
        assert Legacy.objects.bulk_update([Legacy(2, "sad")], ["mood"]) == 1
        assert stored("mood", model=Legacy, by="id") == ["ok", "sad"]
        with pytest.raises(RowValueError, match="row 0, field 'mood': invalid input value"):
            Legacy.objects.bulk_update([Legacy(2, "glad")], ["mood"])

    def test_proxies_and_children(self, products, strategy):
        """A proxy's instance, and a child's, have the model's fields."""
        proxy = ProductProxy.objects.get(sku="01")
        child = ShowroomProduct.objects.create(sku="child", shelf=1)
        proxy.stock = child.stock = 77
        assert Product.objects.bulk_update([proxy, child], ["stock"], strategy=strategy) == 2
        assert Product.objects.filter(stock=77).count() == 2
        assert ProductProxy.objects.bulk_update([products[2]], ["stock"], strategy=strategy) == 1

    def test_attribute_that_is_not_what_is_held(self, products, strategy):
        """A property in the place of a field is asked, as Django asks it."""
        proxy = StockProxy.objects.get(sku="01")
        assert StockProxy.objects.bulk_update([proxy], ["name"], strategy=strategy) == 1
        assert Product.objects.get(sku="01").name == "NAME 1"

    def test_deferred_fields(self, products, strategy):
        """A field that was deferred is loaded, and keeps its value."""
        rows = list(Product.objects.only("sku").order_by("sku"))
        rows[0].stock = 50
        assert Product.objects.bulk_update(rows, ["stock"], strategy=strategy) == 12
        assert stored("stock") == [50, *range(1, 12)]

    @pytest.mark.skipif(django.VERSION < (5, 2), reason="Django has no composite keys before 5.2")
    def test_composite_primary_key(self, strategy, shape):
        """Matched by all of its parts."""
        from .models import Composite

        Composite.objects.bulk_create(
            Composite(tenant=i, number=j) for i in range(3) for j in range(3)
        )
        rows = [Composite(tenant=1, number=j, value=10 + j, code="a%") for j in range(2)]
        rows[1].code = F("tenant")
        found = Composite.objects.bulk_update(
            shape(rows), ["value", "code"], strategy=strategy, returning=["pk", "value"]
        )
        assert found == 2
        assert [row.values for row in found.rows] == [
            {"tenant": 1, "number": 0, "value": 10},
            {"tenant": 1, "number": 1, "value": 11},
        ]
        assert Composite.objects.filter(value=0).count() == 7
        with pytest.raises(ValueError, match="must have a primary key set"):
            Composite.objects.bulk_update([Composite(tenant=1)], ["value"], strategy=strategy)
        with pytest.raises(ValueError, match="cannot be used with primary key fields"):
            Composite.objects.bulk_update(rows, ["tenant"], strategy=strategy)
        with pytest.raises(ValueError, match="can only be used with concrete fields"):
            Composite.objects.bulk_update(rows, ["pk"], strategy=strategy)

    @pytest.mark.skipif(django.VERSION < (5, 0), reason="Django has no db_default before 5.0")
    def test_database_defaults_and_generated_fields(self, strategy):
        """An unset db_default is the default; a generated field is left out, as Django does."""
        from .models import DatabaseDefaults

        row = DatabaseDefaults.objects.create(key=1, number=3)
        fresh = DatabaseDefaults(pk=row.pk, key=1)
        names = ["number", "moment", "doubled"]
        assert DatabaseDefaults.objects.bulk_update([fresh], names, strategy=strategy) == 1
        row.refresh_from_db()
        assert (row.number, row.doubled) == (7, 14)
        assert DatabaseDefaults.objects.bulk_update([row], ["doubled"], strategy=strategy) == 0


class TestExpressions:
    def test_of_every_kind(self, products, strategy, shape):
        """F(), functions, subqueries and plain values beside each other."""
        rows = products[:6]
        rows[0].stock = F("stock") + 100
        rows[1].stock = F("stock") * F("id") * 0 - 5
        rows[2].stock = Subquery(
            Product.objects.filter(pk=OuterRef("pk")).annotate(x=F("stock") + 40).values("x")
        )
        rows[3].stock = Value(33)
        rows[4].stock = Coalesce(None, F("stock"), Value(1))
        rows[5].stock = 55
        rows[0].name, rows[1].name = Upper("name"), Concat(F("sku"), Value("-%s"), F("name"))
        rows[2].name = Lower(Value("ABC"))
        found = Product.objects.bulk_update(shape(rows), ["stock", "name"], strategy=strategy)
        assert found == 6
        assert stored("stock")[:7] == [100, -5, 42, 33, 4, 55, 6]
        assert stored("name")[:4] == ["NAME 0", "01-%sname 1", "abc", "name 3"]

    def test_like_django(self, products, strategy):
        """What Django writes for the same expressions."""
        day = datetime.timedelta(days=1)
        created = stored("created")
        for i, product in enumerate(products):
            product.price = F("price") / (i + 1) if i % 2 else decimal.Decimal(i)
            product.sku = Concat(Value("n"), F("sku")) if i % 4 else f"k{i}"
            product.created = Coalesce(F("created") + day * i, Now()) if i % 3 else NOON
        fields = ["price", "created", "sku"]
        DJANGOS.bulk_update(products, fields)
        expected = stored("price", "created", "sku")
        for i, product in enumerate(products):
            product.sku = f"{i:02}"
            product.price = i
            product.created = created[i]
        DJANGOS.bulk_update(products, fields)
        for i, product in enumerate(products):
            product.price = F("price") / (i + 1) if i % 2 else decimal.Decimal(i)
            product.sku = Concat(Value("n"), F("sku")) if i % 4 else f"k{i}"
            product.created = Coalesce(F("created") + day * i, Now()) if i % 3 else NOON
        Product.objects.bulk_update(products, fields, strategy=strategy)
        assert stored("price", "created", "sku") == expected

    @pytest.mark.parametrize("count", [1, 2, 3, 50])
    def test_one_expression_for_all(self, strategy, count):
        """The same in every row is in the statement once, whoever made the objects."""
        Product.objects.bulk_create(Product(sku=f"{i:03}", stock=i) for i in range(count))
        rows = list(Product.objects.all())
        for row in rows:
            row.stock = F("stock") + 1
        with CaptureQueriesContext(connection) as queries:
            assert Product.objects.bulk_update(rows, ["stock"], strategy=strategy) == count
        update = next(query["sql"] for query in queries if "UPDATE" in query["sql"])
        assert update.count('"tests_product"."stock" + 1') == 1
        assert stored("stock") == list(range(1, count + 1))

    def test_another_for_each_row(self, strategy):
        """Many expressions are chosen among, each by its row."""
        Product.objects.bulk_create(Product(sku=f"{i:03}", stock=i) for i in range(100))
        rows = list(Product.objects.order_by("sku"))
        for i, row in enumerate(rows):
            row.stock = F("stock") + i if i % 3 else -i
            row.name = Concat(Value(f"{i}-"), F("sku")) if i % 2 else "plain"
        assert Product.objects.bulk_update(rows, ["stock", "name"], strategy=strategy) == 100
        assert stored("stock", "name") == [
            (2 * i if i % 3 else -i, f"{i}-{i:03}" if i % 2 else "plain") for i in range(100)
        ]

    def test_alike_but_for_the_type(self, products, strategy):
        """1, True and 1.0 are equal in Python, and not the same in SQL."""
        rows = products[:3]
        for row, number in zip(rows, (1, 1.0, decimal.Decimal(1)), strict=True):
            row.price = F("price") + Value(number, models.DecimalField()) / 3
        assert Product.objects.bulk_update(rows, ["price"], strategy=strategy) == 3

    def test_annotations(self, products, strategy):
        """An expression may read an annotation of the queryset, as in Django's."""
        products[1].stock = F("twice")
        queryset = Product.objects.annotate(twice=F("stock") * 2 + 5)
        assert queryset.bulk_update(products[:2], ["stock"], strategy=strategy) == 2
        assert stored("stock")[:2] == [0, 7]

    @pytest.mark.parametrize(
        ("expression", "message"),
        [
            (Sum("stock"), "Aggregate functions are not allowed"),
            (Window(RowNumber()), "Window expressions are not allowed"),
            (F("nme"), "Cannot resolve keyword 'nme'"),
        ],
    )
    def test_refused(self, products, strategy, expression, message):
        """An expression that no UPDATE takes is named by row and field."""
        products[1].stock = expression
        with pytest.raises(RowExpressionError, match=f"row 1, field 'stock': {message}") as error:
            Product.objects.bulk_update(products, ["stock"], strategy=strategy)
        assert isinstance(error.value, FieldError)
        with pytest.raises(FieldError, match=message):
            DJANGOS.bulk_update(products, ["stock"])

    def test_class(self, products, strategy):
        """The class of an expression is no expression."""
        products[1].name = Lower
        with pytest.raises(RowExpressionError, match="row 1, field 'name': the class Lower, where"):
            Product.objects.bulk_update(products, ["name"], strategy=strategy)

    def test_relations_are_refused(self, strategy):
        """Joins are for querysets."""
        city = City.objects.create(name="a", country=Country.objects.create(code="it"))
        city.name = F("country__name")
        with pytest.raises(RowExpressionError, match="Joined field references are not permitted"):
            City.objects.bulk_update([city], ["name"], strategy=strategy)

    def test_key_is_a_value(self, products, strategy):
        """Rows are matched by values."""
        products[1].pk = F("stock")
        with pytest.raises(RowExpressionError, match="row 1, field 'id': an SQL expression, where"):
            Product.objects.bulk_update(products, ["stock"], strategy=strategy)

    def test_more_parameters_than_can_be_bound(self, server_side_binding, strategy):
        """Values, and expressions each with one of its own, past 65,535 parameters."""
        Product.objects.bulk_upsert({"sku": f"{i}"} for i in range(14_000))
        rows = list(Product.objects.order_by("pk"))
        for i, row in enumerate(rows):
            row.stock = F("stock") + i
            row.name = Concat(Value("é%s"), Value(f"{i}", models.CharField()), Value("%"))
            row.price = i
            row.sku = f"#{i}"
        fields = ["stock", "name", "price", "sku"]
        assert Product.objects.bulk_update(rows, fields, strategy=strategy) == 14_000
        assert Product.objects.get(pk=rows[5].pk).name == "é%s5%"
        assert Product.objects.filter(stock=F("price")).count() == 14_000


class TestTheSameRowTwice:
    """Of several instances for one row the first counts, whatever the batch size."""

    def test_first_counts(self, products, strategy, shape):
        rows = [Product(pk=products[0].pk, stock=i) for i in range(5, 8)]
        rows = [*rows, *products[1:3], Product(pk=products[1].pk, stock=70)]
        assert DJANGOS.bulk_update(rows, ["stock"]) == 3
        expected = stored("stock")
        Product.objects.update(stock=0)
        assert Product.objects.bulk_update(shape(rows), ["stock"], strategy=strategy) == 3
        assert stored("stock")[:3] == expected[:3] == [5, 1, 2]

    def test_same_object(self, products, strategy):
        products[0].stock = 9
        rows = [products[0]] * 4
        assert Product.objects.bulk_update(rows, ["stock"], strategy=strategy) == 1
        assert stored("stock")[0] == 9

    def test_first_counts_before_anything_is_judged(self, products, strategy):
        """A later instance does not get its turn because the first changes nothing."""
        rows = [Product(pk=products[1].pk, stock=i) for i in (1, 2)]
        found = Product.objects.bulk_update(rows, ["stock"], skip_unchanged=True, strategy=strategy)
        assert (found, found.updated, found.unchanged) == (1, 0, 1)

    def test_over_chunks(self, strategy):
        """In an input of several chunks too."""
        Product.objects.bulk_create(Product(sku=f"{i}") for i in range(5))
        keys = stored("pk")
        rows = (Product(pk=keys[i % 5], stock=i) for i in range(11_000))
        assert Product.objects.bulk_update(rows, ["stock"], 1_000) == 5
        assert stored("stock") == [0, 1, 2, 3, 4]


class TestTheQuerysetsFilter:
    def test_half_of_the_rows(self, products, strategy, shape):
        """Only rows that the filter lets through are updated, and counted."""
        for product in products:
            product.name = "new"
        half = Product.objects.filter(stock__lt=6).exclude(stock=2)
        assert half.bulk_update(shape(products), ["name"], strategy=strategy) == 5
        assert Product.objects.filter(name="new").count() == 5

    @pytest.mark.parametrize("which", range(8))
    def test_filters_of_every_kind(self, strategy, which):
        """Joins, aggregates, subqueries, annotations, distinct, extra: as Django counts them."""
        countries = [Country.objects.create(code=code, name=code) for code in ("it", "fr")]
        City.objects.bulk_create(City(name=f"{i}", country=countries[i % 2]) for i in range(6))
        cities = list(City.objects.order_by("pk"))

        def querysets(base):
            return [
                base.filter(country__name="it"),
                base.exclude(country__name="it"),
                base.filter(pk__in=base.filter(country=countries[0])),
                base.annotate(upper=Upper("name")).filter(upper__gt="2").order_by("-name"),
                base.filter(country__name="it").distinct().select_related("country"),
                base.none(),
                base.extra(where=["name > %s"], params=["2"]),
                base.filter(Q(country__code="fr") | Q(name="0")).only("name"),
            ][which]

        expected = querysets(models.QuerySet(City)).bulk_update(cities, ["name"])
        found = querysets(City.objects.all()).bulk_update(cities, ["name"], strategy=strategy)
        assert found == expected

    def test_filter_by_an_aggregate(self, strategy):
        """A filter that Django's own bulk_update fails on."""
        country = Country.objects.create(code="it")
        City.objects.bulk_create(City(name=f"{i}", country=country) for i in range(3))
        queryset = City.objects.annotate(n=Count("country__city")).filter(n=3, name__gt="0")
        assert queryset.bulk_update(City.objects.all(), ["name"], strategy=strategy) == 2

    def test_nothing_can_match(self, products, django_assert_num_queries):
        """An empty queryset is no query, but the rows are checked."""
        with django_assert_num_queries(0):
            assert Product.objects.none().bulk_update(products, ["stock"]) == 0
        with pytest.raises(ValueError, match="primary key"):
            Product.objects.none().bulk_update([Product()], ["stock"])
