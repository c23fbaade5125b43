"""update_fields with expressions, where, transform."""

from __future__ import annotations

import datetime

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import DataError, connection, models
from django.db.models import Case, Count, Exists, F, Func, OuterRef, Q, Subquery, Sum, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import (
    Cast,
    Coalesce,
    Concat,
    Greatest,
    Length,
    Lower,
    Now,
    RowNumber,
    Trim,
    Upper,
)
from django.db.models.lookups import GreaterThan, LessThan
from django.test.utils import CaptureQueriesContext

from django_bulkupsert import Excluded, OptionError, RowValueError, UnknownFieldError

from .conftest import counts
from .models import (
    NOON,
    PRICE,
    Account,
    City,
    Clocks,
    Code,
    Country,
    Everything,
    Lead,
    Mayor,
    Product,
)

pytestmark = pytest.mark.django_db
HOUR = datetime.timedelta(hours=1)


# update_fields -----------------------------------------------------------------------------


def test_counter(kind, shape, strategy):
    """What comes in is added to what is there; a new row starts with it."""
    Product.objects.create(sku="a", stock=10, name="kept")
    rows, words = kind(Product, [{"sku": "a", "stock": 5}, {"sku": "b", "stock": 7}])
    result = Product.objects.bulk_upsert(
        shape(rows),
        unique_fields=["sku"],
        update_fields={"stock": F("stock") + Excluded("stock")},
        strategy=strategy,
        **words,
    )
    assert counts(result) == (1, 1, 0, 0)
    assert dict(Product.objects.values_list("sku", "stock")) == {"a": 15, "b": 7}
    assert Product.objects.get(sku="a").name == "kept"


ASSIGNMENTS = {
    "literal": ({"name": "seen"}, {"name": "seen"}),
    "null": ({"seen": None}, {"seen": None}),
    "value": ({"visits": Value(5)}, {"visits": 5}),
    "now": ({"seen": Now()}, {}),
    "keep if null": ({"seen": Coalesce(Excluded("seen"), F("seen"))}, {"seen": NOON}),
    "fill if null": ({"seen": Coalesce(F("seen"), Excluded("seen"))}, {"seen": NOON}),
    "greatest": ({"visits": Greatest(F("visits"), Excluded("visits"))}, {"visits": 10}),
    "arithmetic": ({"visits": (F("visits") * 2 - Excluded("visits")) / 2}, {"visits": 8}),
    "case": (
        {
            "name": Case(
                When(Q(visits__gt=Excluded("visits")), then=Concat(F("name"), Value("!"))),
                default=Excluded("name"),
            )
        },
        {"name": "old!"},
    ),
    "condition": (
        {
            "name": Case(
                When(name=Lower(Excluded("name")), then=Value("same")), default=Value("other")
            )
        },
        {"name": "other"},
    ),
    "json merge": (
        {"data": Func(F("data"), Excluded("data"), template="%(expressions)s", arg_joiner=" || ")},
        {"data": {"a": 1, "b": 3, "c": 4}},
    ),
    "json literal": ({"data": {"x": [1]}}, {"data": {"x": [1]}}),
    "json key": ({"visits": Cast(Excluded("data__c"), models.IntegerField())}, {"visits": 4}),
    "array append": (
        {"tags": Func(F("tags"), Excluded("tags"), function="array_cat")},
        {"tags": ["one", "two"]},
    ),
    "array literal": ({"tags": ["x", "y"]}, {"tags": ["x", "y"]}),
    "plain": ({"name": Excluded("name")}, {"name": "new"}),
    "several": (
        {"name": Upper(Excluded("name")), "visits": F("visits") + 1, "email": Excluded("email")},
        {"name": "NEW", "visits": 11, "email": "A@x"},
    ),
    "nested": (
        {"visits": Greatest(Length(Excluded("name")) + F("visits"), Excluded("visits") - Value(1))},
        {"visits": 13},
    ),
    "subquery": (
        {"name": Subquery(Country.objects.order_by("code").values("name")[:1])},
        {"name": "Portugal"},
    ),
    "outer": (
        {
            "name": Coalesce(
                Subquery(Country.objects.filter(name=OuterRef("name")).values("name")[:1]),
                Value("none"),
            )
        },
        {"name": "none"},
    ),
}


@pytest.mark.parametrize("name", ASSIGNMENTS)
@pytest.mark.parametrize("skip_unchanged", [True, False])
def test_expressions(name, kind, strategy, skip_unchanged):
    """Expressions of every kind read the stored row and the incoming one."""
    Country.objects.create(code="pt", name="Portugal")
    stored = Account.objects.create(
        email="a@x", name="old", visits=10, seen=NOON, data={"a": 1, "b": 2}, tags=["one"]
    )
    update, expected = ASSIGNMENTS[name]
    before = {field: getattr(stored, field) for field in ("name", "visits", "seen", "data", "tags")}
    rows, words = kind(
        Account,
        [
            {"email": "A@x", "name": "new", "visits": 4, "seen": None,
             "data": {"b": 3, "c": 4}, "tags": ["two"]},
            {"email": "new@x", "name": "n", "visits": 1, "seen": NOON, "data": {}, "tags": []},
        ],
    )  # fmt: skip
    result = Account.objects.bulk_upsert(
        rows,
        constraint="account_email",
        update_fields=update,
        strategy=strategy,
        skip_unchanged=skip_unchanged,
        **words,
    )
    assert result.created == 1
    stored.refresh_from_db()
    for field, value in {**before, **expected}.items():
        if not (name == "now" and field == "seen"):
            assert getattr(stored, field) == value, field
    assert (stored.email == "A@x") == ("email" in update)
    same = all(expected.get(field, value) == value for field, value in before.items())
    left = skip_unchanged and same and name != "now"
    assert counts(result)[1:] == ((0, 1, 0) if left else (1, 0, 0))


VALUES = {
    "big": 5, "binary": b"x", "boolean": True, "char": "a", "date": NOON.date(), "datetime": NOON,
    "decimal": PRICE, "duration": HOUR, "float": 1.5, "ip": "10.0.0.1", "json": {"a": [1]},
    "small": 2, "text": "t", "time": NOON.time(), "integers": [1, 2], "decimals": [PRICE],
    "moment_range": (NOON, NOON + HOUR), "uuid": "12345678-1234-5678-1234-567812345678",
}  # fmt: skip


@pytest.mark.parametrize("field", VALUES)
def test_unchanged_by_expression(field, strategy):
    """An expression that gives what is stored is no change, whatever its type."""
    rows = [{"key": 1, field: VALUES[field]}]
    words = {
        "unique_fields": ["key"],
        "update_fields": {field: Coalesce(F(field), Excluded(field))},
        "strategy": strategy,
    }
    assert counts(Everything.objects.bulk_upsert(rows, **words)) == (1, 0, 0, 0)
    assert counts(Everything.objects.bulk_upsert(rows, **words)) == (0, 0, 1, 0)
    Everything.objects.update(**{field: None})
    assert counts(Everything.objects.bulk_upsert(rows, **words)) == (0, 1, 0, 0)


def test_scale_of_an_expression(strategy):
    """A number has the column's scale before it is compared."""
    Product.objects.create(sku="a", price="9.50")
    result = Product.objects.bulk_upsert(
        [{"sku": "a", "price": "9.5"}],
        unique_fields=["sku"],
        update_fields={"price": Excluded("price") * 1},
        strategy=strategy,
    )
    assert counts(result) == (0, 0, 1, 0)


def test_a_field_that_the_rows_do_not_give(strategy):
    """An expression may set what no row brings; a new row gets the default."""
    Product.objects.create(sku="a", stock=3)
    for stock in (4, 5):
        Product.objects.bulk_upsert(
            [{"sku": "a", "name": "n"}, {"sku": f"new{stock}", "name": "n"}],
            unique_fields=["sku"],
            update_fields={"stock": F("stock") + 1},
            strategy=strategy,
        )
        assert Product.objects.get(sku="a").stock == stock
        assert Product.objects.get(sku=f"new{stock}").stock == 0


def test_clocks_tick_beside_expressions(strategy):
    """auto_now fields are refreshed with what an expression sets, unless named."""
    Product.objects.create(sku="a")
    Product.objects.update(updated=NOON)
    Product.objects.bulk_upsert(
        [{"sku": "a"}], unique_fields=["sku"], update_fields={"stock": 5}, strategy=strategy
    )
    assert Product.objects.get().updated > NOON
    Product.objects.bulk_upsert(
        [{"sku": "a"}],
        unique_fields=["sku"],
        update_fields={"stock": 6, "updated": NOON - HOUR},
        strategy=strategy,
    )
    assert Product.objects.get().updated == NOON - HOUR


def test_empty_dict_leaves_stored_rows(strategy):
    """Nothing to update leaves stored rows alone."""
    Product.objects.create(sku="a", stock=3)
    result = Product.objects.bulk_upsert(
        [{"sku": "a", "stock": 4}], unique_fields=["sku"], update_fields={}, strategy=strategy
    )
    assert counts(result) == (0, 0, 1, 0)


@pytest.mark.parametrize(
    ("update", "error", "reason"),
    [
        ({"stock": Sum("stock")}, OptionError, "Aggregate functions are not allowed"),
        ({"stock": Count("*")}, OptionError, "Aggregate functions are not allowed"),
        ({"stock": Func(function="row_number", output_field=models.IntegerField()) * F("x")},
         OptionError, "Cannot resolve keyword 'x'"),
        ({"name": F("category__name")}, OptionError, "update_fields, 'name': "),
        ({"stock": Excluded("stok")}, UnknownFieldError, "'stock', Excluded.*did you mean stock"),
        ({"stock": Excluded("price")}, OptionError, "'price', which the rows don't give"),
        ({"stok": 1}, UnknownFieldError, "did you mean stock"),
        ({"id": 1}, OptionError, "the primary key, which an update keeps"),
        ({"sku": Upper("sku")}, OptionError, "by which rows are matched"),
        ({"stock": F}, OptionError, "the class F, where an instance is wanted"),
        ({"stock": "many"}, OptionError, "'stock': this str can't be read as an integer"),
        ({"name": Excluded("name__upper2")}, OptionError, "update_fields, 'name': Unsupported"),
        ({"stock": Subquery(Product.objects.values("stock")[:1])}, OptionError,
         "a subquery reads tests.Product itself"),
        ({"stock": Case(When(Exists(Product.objects.filter(sku="a")), then=1), default=0)},
         OptionError, "a subquery reads tests.Product itself"),
        ({"stock": Subquery(City.objects.filter(name__in=Product.objects.values("name"))
                            .values("pk")[:1])},
         OptionError, "a subquery reads tests.Product itself"),
        ({Excluded("stock"): 1}, UnknownFieldError, "a name of type Excluded"),
    ],
)  # fmt: skip
def test_expressions_that_cannot_be(update, error, reason):
    """What can't be compiled there is refused before any SQL, with the reason."""
    with (
        CaptureQueriesContext(connection) as queries,
        pytest.raises(error, match=reason),
    ):
        Product.objects.bulk_upsert(
            [{"sku": "a", "stock": 1, "name": "x"}], unique_fields=["sku"], update_fields=update
        )
    assert len(queries) == 0


def test_window_expression():
    """A window is over many rows."""
    window = models.Window(RowNumber())
    with pytest.raises(OptionError, match="Window expressions are not allowed"):
        Product.objects.bulk_upsert(
            [{"sku": "a"}], unique_fields=["sku"], update_fields={"stock": window}
        )


def test_joined_field():
    """A field of a related object is a join."""
    with pytest.raises(OptionError, match="Joined field references are not permitted"):
        City.objects.bulk_upsert(
            [{"name": "a", "id": 1}], update_fields={"name": F("country__name")}
        )


def test_hostile_literals(strategy):
    """A literal is a value, whatever it holds."""
    Product.objects.create(sku="a")
    for name in ["%s", "%(x)s", "it's", '"', "{x}", "\\", "100%"]:
        Product.objects.bulk_upsert(
            [{"sku": "a"}], unique_fields=["sku"], update_fields={"name": name}, strategy=strategy
        )
        assert Product.objects.get().name == name
        Product.objects.bulk_upsert(
            [{"sku": "a", "name": name}],
            unique_fields=["sku"],
            update_fields={"name": Concat(Excluded("name"), Value("%"))},
            strategy=strategy,
        )
        assert Product.objects.get().name == f"{name}%"


def test_raw_sql(strategy):
    """RawSQL stands where any expression does."""
    Product.objects.create(sku="a", stock=2)
    Product.objects.bulk_upsert(
        [{"sku": "a", "stock": 1}],
        unique_fields=["sku"],
        update_fields={"stock": RawSQL("%s + 1", [41])},
        strategy=strategy,
    )
    assert Product.objects.get().stock == 42


# where -------------------------------------------------------------------------------------


def test_last_writer_wins(kind, shape, strategy):
    """Only newer rows are written; the others are skipped."""
    for name, seen in (("older", NOON + HOUR), ("same", NOON), ("newer", NOON - HOUR)):
        Account.objects.create(email=name, seen=seen, visits=1)
    given = [
        {"email": name, "seen": NOON, "visits": 2} for name in ("older", "same", "newer", "new")
    ]
    rows, words = kind(Account, given)
    result = Account.objects.bulk_upsert(
        shape(rows),
        constraint="account_email",
        where=Q(seen__lt=Excluded("seen")),
        strategy=strategy,
        **words,
    )
    assert counts(result) == (1, 1, 0, 2)
    assert dict(Account.objects.values_list("email", "visits")) == {
        "older": 1, "same": 1, "newer": 2, "new": 2,
    }  # fmt: skip


@pytest.mark.parametrize("skip_unchanged", [True, False])
@pytest.mark.parametrize(
    ("where", "written"),
    [
        (Q(stock__gt=5), 1),
        (Q(stock__gt=50), 0),
        (~Q(name=Excluded("name")), 1),
        (Q(price__isnull=True) | Q(price__lt=Excluded("price")), 1),
        (Q(price__lt=5), 0),  # NULL: not true
        (Q(stock__gte=F("stock") + Excluded("stock") - 3), 1),
        (Q(pk__in=[]), 0),
        (Q(), 1),
        (~Q(pk__in=[]), 1),
        (Q(sku__in=City.objects.values("name")), 0),
        (Exists(City.objects.filter(name=OuterRef("sku"))), 0),
        (Q(name__startswith="o") & Q(sku="a"), 1),
    ],
)
def test_where(where, written, strategy, skip_unchanged):
    """A condition over both rows; where it isn't true, the stored row is left alone."""
    Product.objects.create(sku="a", stock=10, name="old")
    result = Product.objects.bulk_upsert(
        [{"sku": "a", "stock": 3, "name": "new", "price": PRICE}],
        unique_fields=["sku"],
        where=where,
        strategy=strategy,
        skip_unchanged=skip_unchanged,
    )
    assert counts(result) == (0, written, 0, 1 - written)
    assert Product.objects.get().stock == (3 if written else 10)


def test_where_and_unchanged(strategy):
    """A row that the condition lets through, and that is the same, is unchanged."""
    Product.objects.create(sku="a", stock=1)
    Product.objects.create(sku="b", stock=1)
    result = Product.objects.bulk_upsert(
        [{"sku": "a", "stock": 1}, {"sku": "b", "stock": 2}, {"sku": "c", "stock": 3}],
        unique_fields=["sku"],
        where=Q(stock=1),
        strategy=strategy,
    )
    assert counts(result) == (1, 1, 1, 0)


@pytest.mark.parametrize(
    ("where", "error", "reason"),
    [
        (Q(country__name="x"), OptionError, "spans a relation"),
        (Q(nmae="x"), OptionError, "Cannot resolve keyword 'nmae'"),
        ("stock > 1", OptionError, "takes a Q or another condition, not str"),
        (Q(name=Excluded("nmae")), UnknownFieldError, "did you mean name"),
        (
            Q(name=Excluded("population")),
            OptionError,
            "the rows don't give|did you mean|is no field",
        ),
        (Q(pk__in=City.objects.filter(name="x")), OptionError, "subquery reads tests.City itself"),
    ],
)
def test_where_that_cannot_be(where, error, reason):
    """A condition that can't stand there is refused before any SQL."""
    with CaptureQueriesContext(connection) as queries, pytest.raises(error, match=reason):
        City.objects.bulk_upsert([{"id": 1, "name": "a"}], where=where)
    assert len(queries) == 0


@pytest.mark.parametrize("word", ["where", "update_fields"])
def test_nothing_goes_with_ignore_conflicts(word):
    """What is said of an update has no place where none is made."""
    words = {"where": Q(stock=1), "update_fields": {"stock": 1}}
    with pytest.raises(OptionError, match=f"ignore_conflicts and {word} are mutually exclusive"):
        Product.objects.bulk_upsert(
            [{"sku": "a"}], unique_fields=["sku"], ignore_conflicts=True, **{word: words[word]}
        )


# transform ---------------------------------------------------------------------------------


def test_transform(kind, shape, strategy):
    """The incoming row is transformed before it is matched, compared and written."""
    Product.objects.create(sku="abc", name="old", stock=1)
    rows, words = kind(
        Product,
        [{"sku": " ABC ", "name": "new ", "stock": 5}, {"sku": "DEF", "name": "x", "stock": 1}],
    )
    words |= {
        "unique_fields": ["sku"],
        "transform": {"sku": Lower(Trim("sku")), "name": Trim("name"), "stock": F("stock") * 2},
        "strategy": strategy,
    }
    assert counts(Product.objects.bulk_upsert(shape(rows), **words)) == (1, 1, 0, 0)
    assert set(Product.objects.values_list("sku", "name", "stock")) == {
        ("abc", "new", 10),
        ("def", "x", 2),
    }
    if isinstance(rows[0], Product):
        assert rows[0].pk == Product.objects.get(sku="abc").pk
    assert counts(Product.objects.bulk_upsert(shape(rows), **words)) == (0, 0, 2, 0)


def test_transform_reads_the_row_as_it_came(strategy):
    """Each transform reads the row before any of them."""
    Product.objects.bulk_upsert(
        [{"sku": "a", "name": "b"}],
        unique_fields=["sku"],
        transform={"sku": F("name"), "name": Excluded("sku")},
        strategy=strategy,
    )
    assert Product.objects.values_list("sku", "name").get() == ("b", "a")


def test_transform_makes_duplicates(strategy):
    """Keys are judged as they are after the transform."""
    rows = [{"sku": "a"}, {"sku": "A"}]
    words = {"unique_fields": ["sku"], "transform": {"sku": Lower("sku")}, "strategy": strategy}
    with pytest.raises(Exception, match=r"\(sku\) = \(a\) in rows 0 and 1"):
        Product.objects.bulk_upsert(rows, **words)
    assert counts(Product.objects.bulk_upsert(rows, duplicates="last", **words)) == (1, 0, 0, 1)


def test_transform_makes_a_text_fit(strategy):
    """What is too long before its transform may fit after it; what doesn't is named."""
    long = " " * 20 + "abc"
    words = {"unique_fields": ["sku"], "transform": {"sku": Trim("sku")}, "strategy": strategy}
    assert Product.objects.bulk_upsert([{"sku": long}], **words).created == 1
    assert Product.objects.get().sku == "abc"
    with pytest.raises(
        RowValueError, match="row 1, field 'sku': more than 12 characters"
    ) as caught:
        Product.objects.bulk_upsert([{"sku": "x"}, {"sku": "abcd" * 4}], **words)
    assert isinstance(caught.value, DataError)
    assert Product.objects.count() == 1


def test_transform_of_a_primary_key(strategy):
    """A key that is a text can be transformed too."""
    Code.objects.create(code="a", value=1)
    result = Code.objects.bulk_upsert(
        [{"code": "A", "value": 2}], transform={"code": Lower("code")}, strategy=strategy
    )
    assert counts(result) == (0, 1, 0, 0)


def test_transform_casts(strategy):
    """A cast, a literal, JSON, and a value that is computed are of the column's type."""
    result = Account.objects.bulk_upsert(
        [{"email": "a", "name": "x", "visits": 5, "data": {"n": 3}, "tags": []}],
        constraint="account_email",
        transform={
            "name": Cast("visits", models.CharField()),
            "visits": Cast(F("data__n"), models.IntegerField()),
            "data": {"literal": True},
            "tags": Func(Value("a"), Value("b"), template="ARRAY[%(expressions)s]",
                         output_field=ArrayField(models.CharField())),
        },
        returning=["name", "visits", "data", "tags"],
        strategy=strategy,
    )  # fmt: skip
    assert result.rows[0].values == {
        "name": "5", "visits": 3, "data": {"literal": True}, "tags": ["a", "b"],
    }  # fmt: skip


def test_transform_drawn_by_lot_is_drawn_once(strategy):
    """What is written is what was compared, though the expression is a lottery."""
    lot = Cast(Func(function="random") * 1_000_000, models.IntegerField())
    rows = [{"sku": f"{n}", "stock": 0} for n in range(5)]
    result = Product.objects.bulk_upsert(
        rows,
        unique_fields=["sku"],
        transform={"stock": lot},
        returning=["stock"],
        strategy=strategy,
    )
    assert [row["stock"] for row in result.rows] == [
        Product.objects.get(sku=f"{n}").stock for n in range(5)
    ]


@pytest.mark.parametrize(
    ("transform", "error", "reason"),
    [
        ({"nmae": Lower("name")}, UnknownFieldError, "did you mean name"),
        ({"name": Lower("nmae")}, OptionError, "transform, 'name': Cannot resolve keyword 'nmae'"),
        ({"price": F("stock")}, OptionError, "transform names 'price', which the rows don't give"),
        ({"name": F("price")}, OptionError, "transform, 'name', names 'price', which the rows"),
        ({"name": Sum("stock")}, OptionError, "Aggregate functions are not allowed"),
        ({"name": Subquery(City.objects.values("name")[:1])}, OptionError, "a subquery"),
        ({"updated": Now()}, OptionError, "'updated', which no row brings"),
        ({"name": Lower}, OptionError, "the class Lower, where an instance is wanted"),
        (["name"], OptionError, "transform takes a dict of names and expressions, not list"),
    ],
)
def test_transform_that_cannot_be(transform, error, reason):
    """A transform that can't be is refused before any SQL."""
    with CaptureQueriesContext(connection) as queries, pytest.raises(error, match=reason):
        Product.objects.bulk_upsert(
            [{"sku": "a", "name": "b", "stock": 1}], unique_fields=["sku"], transform=transform
        )
    assert len(queries) == 0


def test_transform_of_rows_without_a_match(strategy):
    """Rows that are only inserted are transformed too."""
    Lead.objects.bulk_upsert(
        [Lead(name=" a "), Lead(name=" b ")], transform={"name": Trim("name")}, strategy=strategy
    )
    assert set(Lead.objects.values_list("name", flat=True)) == {"a", "b"}


def test_clocks_are_not_lost_beside_a_transform(strategy):
    """Constants stay what they are."""
    Clocks.objects.bulk_upsert([{"key": 1}], unique_fields=["key"], transform={"key": F("key") + 1},
                               strategy=strategy)  # fmt: skip
    assert Clocks.objects.get().key == 2


# Literals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("name", "x" * 50, "text of 50 characters"),
        ("name", "a\0b", "NUL"),
        ("visits", 10**20, "integer"),
        ("visits", float("inf"), "can't be read as an integer"),
        ("visits", None, "None, where the column takes no NULL"),
        ("data", object(), "this object can't be"),
        ("tags", ["x" * 20], "more than|too long|can't be read|text of 20"),
        ("name", Account(), "an instance of tests.Account, where the field is no relation"),
        ("visits", Q(visits=1), "a condition, where the column takes no boolean"),
        ("visits", Q(), "a condition"),
        ("visits", F("visits").asc(), "an order, where a value is wanted"),
    ],
)
@pytest.mark.parametrize("option", ["update_fields", "transform"])
def test_literals_are_checked(option, field, value, reason):
    """A literal is checked as a row's value is, and the option and the field are named."""
    if field == "tags":
        pytest.skip("Django's arrays don't check their elements")
    row = {"email": "a", "name": "n", "visits": 1, "data": {}, "tags": []}
    with (
        CaptureQueriesContext(connection) as queries,
        pytest.raises(OptionError, match=f"{option}, '{field}': .*{reason}"),
    ):
        Account.objects.bulk_upsert([row], constraint="account_email", **{option: {field: value}})
    assert len(queries) == 0


@pytest.mark.parametrize("option", ["update_fields", "transform"])
def test_null_of_json(option, strategy):
    """None is NULL, as in a row; Value(None, JSONField()) is JSON's own null."""
    for value, expected in [
        (None, True),
        (Value(None, output_field=models.JSONField()), None if option else True),
    ]:
        Everything.objects.all().delete()
        for _ in range(2):
            Everything.objects.bulk_upsert(
                [{"key": 1, "json": {"a": 1}}],
                unique_fields=["key"],
                strategy=strategy,
                **{option: {"json": value}},
            )
        if expected is not None:
            assert Everything.objects.filter(json__isnull=True).exists() == expected


@pytest.mark.parametrize("option", ["update_fields", "transform"])
def test_related_objects(option, strategy):
    """A related object stands for its key, as in a row; one that is not saved is refused."""
    one, other = (Country.objects.create(code=code, name=code) for code in ("aa", "bb"))
    row = {"name": "x", "country": one, "by_code": one}
    for _ in range(2):
        City.objects.bulk_upsert(
            [row],
            unique_fields=["name"],
            strategy=strategy,
            **{option: {"country": other, "by_code": other}},
        )
    city = City.objects.get()
    assert (city.country, city.by_code) == (other, other)
    with pytest.raises(OptionError, match="unsaved related object 'country'"):
        City.objects.bulk_upsert([row], unique_fields=["name"], **{option: {"country": Country()}})
    with pytest.raises(OptionError, match=r"an instance of tests.City, where the field takes"):
        City.objects.bulk_upsert([row], unique_fields=["name"], **{option: {"country": city}})


def test_an_expression_that_changes_the_key(kind, strategy):
    """A row whose key changes under an expression index is found all the same."""
    Account.objects.create(email="a@B", name="old")
    Account.objects.create(email="c@d", name="same")
    rows, words = kind(Account, [{"email": "A@b", "name": "new"}, {"email": "new", "name": "new"}])
    result = Account.objects.bulk_upsert(
        rows,
        constraint="account_email",
        update_fields={"email": Concat(F("email"), Value("!")), "name": Excluded("name")},
        returning=["email", "name"],
        returning_old=True,
        strategy=strategy,
        **words,
    )
    assert counts(result) == (1, 1, 0, 0)
    assert result.rows[0].values == {"email": "a@B!", "name": "new"}
    assert result.rows[0].old == {"email": "a@B", "name": "old"}


@pytest.mark.parametrize(
    "words",
    [
        {"where": Q(updated__lt=Excluded("updated"))},
        {"update_fields": {"updated": Greatest(F("updated"), Excluded("updated"))}},
        {"transform": {"name": Cast("updated", models.CharField())}},
    ],
)
def test_the_clock_of_a_row(words):
    """What a row gives for an auto_now field is not used, and can't be asked for."""
    with pytest.raises(OptionError, match="'updated', which saving sets to the time of the call"):
        Product.objects.bulk_upsert(
            [{"sku": "a", "name": "x", "updated": NOON}], unique_fields=["sku"], **words
        )


@pytest.mark.parametrize(
    "where",
    [
        Q, Exists, F, Q(stock=F), Q(stock__in=[F]), Q(stock__lt=Lower), Q(stock=Excluded),
        Value(None), Q(name=OuterRef("name")), Q(1), Q(stock__in=5),
        Case(When(stock=OuterRef("x"), then=True)),
    ],
)  # fmt: skip
def test_conditions_that_are_none(where):
    """Whatever is written in the place of a condition is refused before any SQL."""
    with CaptureQueriesContext(connection) as queries, pytest.raises(OptionError, match=r"where"):
        Product.objects.bulk_upsert([{"sku": "a"}], unique_fields=["sku"], where=where)
    assert len(queries) == 0


def test_subqueries_that_only_point_to_the_table(strategy):
    """A subquery that compares a key of the table doesn't read the table."""
    city = City.objects.create(name="a")
    free = City.objects.create(name="b")
    Mayor.objects.create(city=city, name="m")
    for where in (
        ~Exists(Mayor.objects.filter(city=OuterRef("pk"))),
        ~Q(pk__in=Mayor.objects.values("city_id")),
    ):
        result = City.objects.bulk_upsert(
            [{"id": city.pk, "name": "x"}, {"id": free.pk, "name": "b"}],
            where=where,
            strategy=strategy,
        )
        assert counts(result) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    "name",
    ["skip_unchanged", "ignore_conflicts", "returning_old", "mixed_keys", "preserve_sequence"],
)
@pytest.mark.parametrize("value", ["no", 1, None, ["x"]])
def test_switches(name, value):
    """What is so or not is said by True or False."""
    with pytest.raises(OptionError, match=f"{name} is True or False, not"):
        Product.objects.bulk_upsert([{"sku": "a"}], unique_fields=["sku"], **{name: value})


def test_options_from_generators(strategy):
    """Names may come from a generator, whoever walks it."""
    rows = [{"sku": "a", "stock": 1, "name": "new"}, {"sku": "b", "name": "x"}]
    Product.objects.create(sku="a")
    result = Product.objects.bulk_upsert(
        rows,
        unique_fields=(name for name in ["sku"]),
        update_fields=(name for name in ["stock", "name"]),
        returning=(name for name in ["stock", "name"]),
        mixed_keys=True,
        strategy=strategy,
    )
    assert [tuple(row.values.values()) for row in result.rows] == [(1, "new"), (0, "x")]


def test_words_that_need_a_match():
    """Without a match there is no key that could stand twice."""
    with pytest.raises(OptionError, match="duplicates needs to know what rows are matched by"):
        Product.objects.bulk_upsert([{"sku": "a"}], ignore_conflicts=True, duplicates="last")


@pytest.mark.parametrize(
    ("where", "written"),
    [
        (GreaterThan(Excluded("stock"), F("stock")), 1),
        (LessThan(Excluded("stock") * 2, F("stock")), 0),
        (Q(GreaterThan(Length(Excluded("name")), 3)) | Q(stock=9), 0),
        (Q(stock__lt=Greatest(Excluded("stock"), Value(0))), 1),
        (Q(name__in=[Excluded("name"), Value("old")]), 1),
        (Q(stock__range=(Excluded("stock") - 10, Excluded("stock"))), 1),
    ],
)
def test_excluded_is_an_expression(where, written, strategy):
    """Excluded stands on either side of a lookup, in lists, in arithmetic, inside functions."""
    Product.objects.create(sku="a", stock=1, name="old")
    result = Product.objects.bulk_upsert(
        [{"sku": "a", "stock": 3, "name": "new"}],
        unique_fields=["sku"],
        where=where,
        strategy=strategy,
    )
    assert counts(result) == (0, written, 0, 1 - written)
