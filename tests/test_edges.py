"""Models and values at the edges: each of these went wrong once, here or in a package like it."""

from __future__ import annotations

import collections
import datetime
import decimal
import uuid

import django
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Value
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from django_bulkupsert import (
    DuplicateKeysError,
    MatchError,
    OptionError,
    RowConstraintError,
    RowFieldsError,
    RowValueError,
    UnknownFieldError,
    UnsupportedModel,
    UpsertResult,
)

from .models import (
    Always,
    BadDefault,
    ByClock,
    Checked,
    City,
    Code,
    Constrained,
    Country,
    Custom,
    CustomChild,
    CustomPk,
    Daily,
    DailyAmount,
    Everything,
    Legacy,
    NullableKey,
    Odd,
    OnePerDay,
    PresetUpper,
    Product,
    Required,
    Reserved,
    StockProxy,
    Tagged,
    Token,
    UnknownTypes,
)

pytestmark = pytest.mark.django_db

# Types -------------------------------------------------------------------------------------


@pytest.fixture
def unknown_types(tables):
    """The table with a fixed-length text and a domain."""
    tables(
        "CREATE DOMAIN three AS varchar(3);"
        "CREATE TABLE tests_unknown"
        " (id int PRIMARY KEY, fixed char(5), domain three, preset char(5))"
    )


@pytest.mark.parametrize("strategy", [None, "copy"])
def test_types_that_no_cast_is_safe_for(kind, strategy, unknown_types):
    """A value of a type that Django has no field for is whole, and unchanged the second time."""
    rows, words = kind(UnknownTypes, [{"id": 1, "fixed": "abcde", "domain": "abc"}])
    for status in ("created", "unchanged"):
        result = UnknownTypes.objects.bulk_upsert(rows, strategy=strategy, **words)
        assert getattr(result, status) == 1
    assert UnknownTypes.objects.values_list("fixed", "domain", "preset").get() == (
        "abcde",
        "abc",
        "ab   ",
    )


@pytest.mark.parametrize("field", ["fixed", "domain"])
def test_too_long_for_an_unknown_type(field, unknown_types):
    """It is refused by the server, not cut, and the row is named."""
    rows = [{"id": 1, field: "abc"}, {"id": 2, field: "abcdef"}]
    with pytest.raises(RowValueError, match="value too long") as caught:
        UnknownTypes.objects.bulk_upsert(rows)
    assert (caught.value.index, caught.value.field) == (1, field)
    for strategy in ("values", "unnest"):
        with pytest.raises(OptionError, match=f"can't carry '{field}', whose type is"):
            UnknownTypes.objects.bulk_upsert(rows, strategy=strategy)


@pytest.mark.parametrize("key", ["int", "bigint", "numeric"])
def test_table_whose_types_are_not_the_models(tables, key):
    """An unmanaged table's own types count, for the key too."""
    tables(
        "CREATE TYPE mood AS ENUM ('ok', 'sad');"
        f"CREATE TABLE tests_legacy (id {key} PRIMARY KEY, mood mood)"
    )
    for status in ("created", "unchanged"):
        result = Legacy.objects.bulk_upsert([{"id": 1, "mood": "ok"}])
        assert getattr(result, status) == 1
    with pytest.raises(RowValueError, match="invalid input value for enum") as caught:
        Legacy.objects.bulk_upsert([{"id": 1, "mood": "merry"}])
    assert "merry" not in str(caught.value)


class Stateless(datetime.tzinfo):
    """A zone that can't be hashed, as those of a well-known parser of dates."""

    __hash__ = None

    def utcoffset(self, moment):
        return datetime.timedelta(hours=2)

    def dst(self, moment):
        return None


def test_zone_that_cannot_be_hashed(kind, strategy):
    """Any tzinfo will do."""
    moment = datetime.datetime(2026, 5, 1, 12, tzinfo=Stateless())
    rows, words = kind(Everything, [{"key": 1, "datetime": moment}])
    Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
    assert Everything.objects.get().datetime.hour == 10


def test_interval_style(strategy):
    """A duration's signs are each its own, whatever the session's IntervalStyle."""
    value = datetime.timedelta(days=-1, seconds=5)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL intervalstyle = 'sql_standard'")
    Everything.objects.bulk_upsert(
        [{"key": 1, "duration": value}], unique_fields=["key"], strategy=strategy
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM duration)::int FROM tests_everything")
        assert cursor.fetchone() == (-86395,)


def test_client_encoding():
    """COPY names its encoding, whatever the session's client_encoding says."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL client_encoding = 'LATIN1'")
    Everything.objects.bulk_upsert(
        [{"key": 1, "text": "é", "json": {"é": "ü"}}], unique_fields=["key"], strategy="copy"
    )
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL client_encoding = 'UTF8'")
    assert Everything.objects.values_list("text", "json").get() == ("é", {"é": "ü"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("binary", "abc"),
        ("binary", 5),
        ("duration", 5),
        ("duration", decimal.Decimal(5)),
        ("integers", {1, 2}),
        ("int_range", object()),
    ],
)
def test_values_that_would_be_stored_as_something_else(strategy, field, value):
    """What the field does not take is refused, not stored as what its text happens to mean."""
    with pytest.raises(RowValueError, match="can't be read as"):
        Everything.objects.bulk_upsert(
            [{"key": 1, field: value}], unique_fields=["key"], strategy=strategy
        )


def test_numbers_keep_their_scale(strategy):
    """A number is the same number with fewer digits after the point."""
    data = [{"sku": "a", "price": decimal.Decimal("9.5")}]
    Product.objects.bulk_upsert(data, unique_fields=["sku"])
    assert Product.objects.bulk_upsert(data, unique_fields=["sku"], strategy=strategy).unchanged


def test_bad_value_beside_an_expression():
    """A row with an expression does not hide which value is bad."""
    rows = [{"key": 1, "text": Value("x"), "json": 1}, {"key": 2, "text": "y", "json": {"a": "\0"}}]
    for strategy in (None, "values", "copy"):
        with pytest.raises(RowValueError) as caught:
            Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
        assert (caught.value.index, caught.value.field) == (1, "json")


# Primary keys ------------------------------------------------------------------------------


def test_primary_key_as_an_expression(strategy):
    """Whether it is NULL only the server knows, so it is refused."""
    with pytest.raises(RowValueError, match="a primary key has to be a value"):
        Code.objects.bulk_upsert([{"code": "b"}, {"code": Value("a")}], strategy=strategy)


def test_relation_as_primary_key_is_converted(strategy):
    """The key set on an instance is as the target's field has it."""
    CustomPk.objects.create(id="#5", name="a")
    child = CustomChild(parent_id="#5")
    assert CustomChild.objects.bulk_upsert([child], strategy=strategy).created == 1
    assert child.pk == "#5"


def test_generated_always(kind, strategy, tables):
    """An identity column that wants to be generated takes a chosen key, and draws others."""
    tables(
        'CREATE TABLE tests_always ("Number" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, '
        "name varchar(10) UNIQUE)"
    )
    rows, words = kind(Always, [{"id": 500, "name": "a"}])
    assert Always.objects.bulk_upsert(rows, strategy=strategy, **words).created == 1
    rows, words = kind(Always, [{"name": "b"}, {"name": "c"}])
    for unique in (None, ["name"]):
        Always.objects.exclude(name="a").delete()
        rows, words = kind(Always, [{"name": "b"}, {"name": "c"}])
        result = Always.objects.bulk_upsert(rows, unique_fields=unique, strategy=strategy, **words)
        assert result.created == 2
    if isinstance(rows[0], Always):
        assert [row.pk for row in rows] == [Always.objects.get(name=n).pk for n in "bc"]


def test_primary_key_without_a_sequence(strategy, tables):
    """A column that owns no sequence to draw from is said to; by a match it is not needed."""
    tables(
        'CREATE SEQUENCE unowned; CREATE TABLE tests_always ("Number" bigint '
        "DEFAULT nextval('unowned') PRIMARY KEY, name varchar(10) NOT NULL UNIQUE)"
    )
    with pytest.raises(RowConstraintError, match="owns no sequence to draw one from"):
        Always.objects.bulk_upsert([Always(name="a")], strategy=strategy)
    row = Always(name="a")
    assert Always.objects.bulk_upsert([row], unique_fields=["name"], strategy=strategy).created
    assert row.pk == Always.objects.get().pk
    assert Always.objects.bulk_upsert([{"name": "b"}], strategy=strategy).created


def test_none_for_a_uuid_primary_key(kind, strategy):
    """None asks the field's default, whatever the kind of row."""
    rows, words = kind(Token, [{"id": None, "name": "a"}])
    assert Token.objects.bulk_upsert(rows, strategy=strategy, **words).created == 1
    assert Token.objects.get().pk


def test_rows_of_a_primary_key_alone(strategy):
    """A row that gives nothing but a missing key inserts defaults."""
    result = NullableKey.objects.bulk_upsert([{"id": None}, {"id": None}], strategy=strategy)
    assert result.created == 2


def test_the_same_primary_key_twice_with_any_constraint(kind, strategy):
    """Ignoring conflicts with any constraint, the same key twice is refused too."""
    rows, words = kind(Country, [{"id": 5, "code": "a"}, {"id": 5, "code": "b"}])
    with pytest.raises(DuplicateKeysError):
        Country.objects.bulk_upsert(rows, ignore_conflicts=True, strategy=strategy, **words)


@pytest.mark.skipif(django.VERSION < (5, 2), reason="composite keys are new in Django 5.2")
def test_composite_primary_key_in_parts():
    """A composite key is given whole, by its fields."""
    from .models import Composite

    with pytest.raises(OptionError, match="composite; name its fields, 'tenant' and 'number'"):
        Composite.objects.bulk_upsert([{"pk": (1, 2), "value": 3}])
    with pytest.raises(MatchError, match="don't give 'number' of the primary key"):
        Composite.objects.bulk_upsert([{"tenant": 1, "value": 3}])


# Instances ---------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_instances_are_marked_when_all_is_certain():
    """A failure at the very end leaves every instance as it was."""
    Product.objects.create(sku="taken")
    rows = [Product(pk=900, sku="a"), Product(sku="taken")]
    with pytest.raises(IntegrityError):
        Product.objects.bulk_upsert(rows)
    assert rows[0]._state.adding
    assert rows[0].updated is None
    cities = [City(name=f"{i}", country_id=999) for i in range(3_000)]
    with pytest.raises(IntegrityError):  # at the commit: the constraint is deferred
        City.objects.bulk_upsert(cities)
    assert all(city.pk is None and city._state.adding for city in cities)


@pytest.mark.skipif(django.VERSION < (5, 0), reason="db_default is new in Django 5.0")
def test_instances_are_told_what_the_database_filled_in(strategy):
    """An instance written twice does not set back what the database filled in at first."""
    from .models import DatabaseDefaults

    row = DatabaseDefaults(key=1)
    for words in ({}, {"unique_fields": ["key"]}):
        DatabaseDefaults.objects.all().delete()
        row = DatabaseDefaults(key=1)
        DatabaseDefaults.objects.bulk_upsert([row], strategy=strategy, **words)
        stored = DatabaseDefaults.objects.get()
        assert (row.number, row.moment) == (7, stored.moment)
        assert DatabaseDefaults.objects.bulk_upsert([row], strategy=strategy).unchanged == 1


def test_lazy_objects(strategy):
    """A lazy related object, such as request.user, is taken as the object."""
    country = Country.objects.create(code="de")
    City.objects.bulk_upsert(
        [{"name": "a", "country": SimpleLazyObject(lambda: country)}],
        unique_fields=["name"],
        strategy=strategy,
    )
    assert City.objects.get().country == country


def test_deferred_fields_are_refused():
    """An instance that was loaded in part would cost a query per field; it is refused."""
    Product.objects.create(sku="a")
    rows = list(Product.objects.only("sku"))
    with (
        CaptureQueriesContext(connection) as queries,
        pytest.raises(RowFieldsError, match=r"row 0: 'name'.* deferred"),
    ):
        Product.objects.bulk_upsert(rows)
    assert len(queries) == 0


def test_a_deferred_field_among_many():
    """Of many instances too, wherever it is; and it is not loaded."""
    rows = [Product(sku=f"{i}") for i in range(1_200)]
    Product.objects.bulk_upsert(rows, unique_fields=["sku"])
    (rows[700],) = Product.objects.only("sku").filter(pk=rows[700].pk)
    with pytest.raises(RowFieldsError, match=r"row 700: 'name'.* deferred"):
        Product.objects.bulk_upsert(iter(rows))
    assert "name" in rows[700].get_deferred_fields()


# Keys --------------------------------------------------------------------------------------


@pytest.mark.skipif(django.VERSION < (5, 0), reason="nulls_distinct is new in Django 5.0")
def test_null_keys_that_stand_twice(kind, strategy):
    """Where NULLs are one key, they may not stand twice either."""
    from .models import NullsTogether

    rows, words = kind(NullsTogether, [{"a": 1, "b": None}, {"a": 1, "b": None}])
    with pytest.raises(DuplicateKeysError, match=r"\(a, b\) = \(1, NULL\) in rows 0 and 1"):
        NullsTogether.objects.bulk_upsert(
            rows, unique_fields=["a", "b"], strategy=strategy, **words
        )


def test_clock_in_the_key(kind, strategy):
    """A day that auto_now_add sets can be a part of the match."""
    rows, words = kind(Daily, [{"user": 1, "count": 1}, {"user": 2, "count": 1}])
    for status in ("created", "unchanged"):
        result = Daily.objects.bulk_upsert(
            rows, unique_fields=["user", "day"], strategy=strategy, **words
        )
        assert getattr(result, status) == 2


def test_trigger_that_changes_the_key(kind, strategy, tables):
    """A row that a trigger stores under another key was written, and counts as that."""
    tables(
        "CREATE FUNCTION lowered() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.sku = lower(NEW.sku); RETURN NEW; END $$;"
        "CREATE TRIGGER lowered BEFORE INSERT ON tests_product FOR EACH ROW "
        "EXECUTE FUNCTION lowered()"
    )
    rows, words = kind(Product, [{"sku": "ABC"}, {"sku": "def"}])
    result = Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy, **words)
    assert result == UpsertResult(created=2)


def test_table_with_the_name_of_a_part(kind, strategy):
    """No table's name collides with the statement's own."""
    rows, words = kind(Reserved, [{"key": 1}])
    assert Reserved.objects.bulk_upsert(
        rows, unique_fields=["key"], strategy=strategy, **words
    ).created


# Mappings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("left_out", ["amount", "day", "country"])
def test_required_columns_can_be_left_out_of_an_update(strategy, left_out):
    """A stored row lends what its row doesn't give; only a new row needs it."""
    country = Country.objects.create(code="de")
    whole = {"key": 1, "amount": 1, "day": "2026-05-01", "country": country, "note": "a"}
    Required.objects.create(**whole)
    row = {**{name: value for name, value in whole.items() if name != left_out}, "note": "b"}
    for words in ({}, {"skip_unchanged": False}):
        result = Required.objects.bulk_upsert(
            [row], unique_fields=["key"], strategy=strategy, **words
        )
        assert result.updated == 1
        Required.objects.update(note="a")
    rows = [row, {**row, "key": 2}]
    with pytest.raises(RowConstraintError, match=f"row 1, field '{left_out}': not given"):
        Required.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)


def test_null_in_a_row_that_is_ignored(kind, strategy):
    """The row that is named is the one that would have been written."""
    Product.objects.create(sku="a")
    rows, words = kind(Product, [{"sku": "a", "name": None}, {"sku": "b", "name": None}])
    with pytest.raises(RowConstraintError, match="row 1, field 'name'"):
        Product.objects.bulk_upsert(
            rows, unique_fields=["sku"], ignore_conflicts=True, strategy=strategy, **words
        )


def test_default_that_needs_sql(strategy):
    """A default of a field that wraps its placeholder is wrapped as well."""
    PresetUpper.objects.bulk_upsert([{"key": 1}], unique_fields=["key"], strategy=strategy)
    assert PresetUpper.objects.get().upper == "ABC"


def test_default_that_does_not_fit():
    """A default that the column can't hold is an error of the model, said as such."""
    with pytest.raises(OptionError, match="the default of 'short' can't be stored: text of 8"):
        BadDefault.objects.bulk_upsert([{"key": 1}], unique_fields=["key"])


@pytest.mark.skipif(django.VERSION < (5, 0), reason="db_default is new in Django 5.0")
def test_both_defaults(kind, strategy):
    """Python's default goes before the database's, as in Model()."""
    from .models import BothDefaults

    rows, words = kind(BothDefaults, [{"key": 1}])
    BothDefaults.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
    assert BothDefaults.objects.get().number == 5


def test_mapping_that_makes_up_its_values():
    """A misspelt key in a defaultdict is found, and the caller's dict is left alone."""
    row = collections.defaultdict(str, {"sku": "b", "nmae": "x"})
    with pytest.raises(RowFieldsError, match="row 1: lacks 'name'"):
        Product.objects.bulk_upsert([{"sku": "a", "name": "x"}, row], unique_fields=["sku"])
    assert set(row) == {"sku", "nmae"}


def test_other_mappings(strategy):
    """Any Mapping is a row."""
    rows = [collections.ChainMap({"sku": "a"}, {"name": "x"}), {"name": "y", "sku": "b"}]
    result = Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert result.created == 2
    assert dict(Product.objects.values_list("sku", "name")) == {"a": "x", "b": "y"}


def test_rows_of_a_queryset():
    """A queryset's .values() are rows, and so are its instances."""
    Odd.objects.bulk_upsert([{"key": 1, "percent": "x"}], unique_fields=["key"])
    Product.objects.create(sku="a")
    for rows in (Product.objects.values("sku", "name"), Product.objects.all()):
        assert Product.objects.bulk_upsert(rows, unique_fields=["sku"]).unchanged == 1


def test_error_in_the_rows_own_iterator():
    """What the caller's __iter__ raises comes up as it is."""

    class Broken:
        def __iter__(self):
            raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        Product.objects.bulk_upsert(Broken())


# Options -----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["fields", "unique_fields", "update_fields"])
@pytest.mark.parametrize("value", [1, True, {"sku": 1}])
def test_options_that_are_no_list(option, value):
    """An option that takes names takes nothing else."""
    if option == "update_fields" and isinstance(value, dict):
        value = 1.5  # takes a dict, of expressions
    with pytest.raises(OptionError, match=f"{option} takes a list of names, not "):
        Product.objects.bulk_upsert([{"sku": "a"}], **{option: value})


@pytest.mark.parametrize("words", [{}, {"unique_fields": ["tags"]}, {"update_fields": ["tags"]}])
def test_many_to_many(words):
    """A many-to-many field is no column."""
    rows = [{"label": "a", "tags": []}] if not words else [{"label": "a"}]
    with pytest.raises(UnknownFieldError, match="'tags' is no column of"):
        Tagged.objects.bulk_upsert(rows, **words)


@pytest.mark.parametrize("rows", [{"sku": "a"}, {}, "abc", "", b"abc"])
def test_one_row_is_not_rows(rows):
    """A single mapping or a text is not taken for an iterable of rows."""
    with pytest.raises(OptionError, match="rows is an iterable"):
        Product.objects.bulk_upsert(rows)


def test_two_unique_constraints(strategy):
    """A violation of another constraint than the match is an IntegrityError, and undone."""
    Constrained.objects.bulk_upsert([{"a": 1, "b": 1, "d": 5}], unique_fields=["a", "b"])
    with pytest.raises(IntegrityError), transaction.atomic():
        Constrained.objects.bulk_upsert(
            [{"a": 2, "b": 2, "d": 5}], unique_fields=["a", "b"], strategy=strategy
        )
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert Constrained.objects.count() == 1


# Of a second look ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["id", "pk"])
def test_primary_key_named_as_the_match(strategy, name):
    """Named or not, rows without a primary key are inserts, and never update another's row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('tests_product', 'id'))")
        last = cursor.fetchone()[0]
    Product.objects.create(pk=last + 1, sku="taken")
    with pytest.raises(IntegrityError):
        Product.objects.bulk_upsert(
            [{"id": None, "sku": "new"}], unique_fields=[name], strategy=strategy
        )
    rows = [Product(sku="a"), Product(pk=last + 1, sku="b"), Product(sku="c")]
    result = Product.objects.bulk_upsert(rows, unique_fields=[name], strategy=strategy)
    assert (result.created, result.updated) == (2, 1)
    assert {row.sku: row.pk for row in rows} == dict(Product.objects.values_list("sku", "pk"))


def test_clock_that_is_the_whole_key(kind, strategy):
    """One row a day: created, then updated."""
    for value, status in [(1, "created"), (1, "unchanged"), (2, "updated")]:
        rows, words = kind(OnePerDay, [{"value": value}])
        result = OnePerDay.objects.bulk_upsert(
            rows, unique_fields=["day"], strategy=strategy, **words
        )
        assert getattr(result, status) == 1


def test_clock_as_primary_key():
    """That is refused, as is what can't be."""
    with pytest.raises(UnsupportedModel, match="a clock, 'day', is in its primary key"):
        ByClock.objects.bulk_upsert([ByClock()])


@pytest.mark.skipif(django.VERSION < (5, 0), reason="db_default is new in Django 5.0")
def test_key_that_the_database_makes(strategy):
    """A default that differs each time is computed once for each row."""
    from .models import DefaultKey

    rows = [DefaultKey(), DefaultKey(token=uuid.UUID(int=5)), DefaultKey()]
    result = DefaultKey.objects.bulk_upsert(rows, unique_fields=["token"], strategy=strategy)
    assert result.created == 3
    stored = dict(DefaultKey.objects.values_list("pk", "token"))
    assert {row.pk: row.token for row in rows} == stored


@pytest.mark.skipif(django.VERSION < (5, 0), reason="db_default is new in Django 5.0")
def test_database_defaults_of_the_tables_own_types(kind, tables):
    """A default is of the column's type, whatever the model names."""
    from .models import LegacyDefaults

    tables(
        "CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE TABLE tests_legacy_defaults "
        "(id int PRIMARY KEY, mood mood DEFAULT 'ok', small smallint DEFAULT 7)"
    )
    for status in ("created", "unchanged"):
        rows, words = kind(LegacyDefaults, [{"id": 1}, {"id": 2}])
        result = LegacyDefaults.objects.bulk_upsert(rows, **words)
        assert getattr(result, status) == 2
    assert set(LegacyDefaults.objects.values_list("mood", "small")) == {("ok", 7)}


@pytest.mark.parametrize("strategy", [None, "copy"])
def test_expression_for_a_tables_own_type(strategy, tables):
    """An expression takes the column's type, not the model's."""
    tables(
        "CREATE TYPE mood AS ENUM ('ok', 'sad');"
        "CREATE TABLE tests_legacy (id int PRIMARY KEY, mood mood)"
    )
    rows = [{"id": 1, "mood": Value("ok")}, {"id": 2, "mood": "sad"}]
    for status in ("created", "unchanged"):
        result = Legacy.objects.bulk_upsert(rows, strategy=strategy)
        assert getattr(result, status) == 2


def test_check_over_columns_that_are_not_given(strategy):
    """A CHECK sees the row as it will be, not defaults in the place of what is stored."""
    Checked.objects.create(key=1, low=5, high=9, name="x")
    for words in ({}, {"skip_unchanged": False}):
        result = Checked.objects.bulk_upsert(
            [{"key": 1, "low": 6}], unique_fields=["key"], strategy=strategy, **words
        )
        assert result.updated == 1
    assert Checked.objects.values_list("low", "high", "name").get() == (6, 9, "x")
    with pytest.raises(IntegrityError, match="low_high"):
        Checked.objects.bulk_upsert([{"key": 1, "low": 60}], unique_fields=["key"])


@pytest.mark.skipif(django.VERSION < (5, 0), reason="nulls_distinct is new in Django 5.0")
def test_null_and_empty_arrays_are_two_keys(kind, strategy):
    """NULL is a key like any other, and not the same as an empty array."""
    from .models import ArrayKey

    if connection.pg_version < 150000:
        pytest.skip("NULLS NOT DISTINCT is new in PostgreSQL 15")
    rows, words = kind(ArrayKey, [{"numbers": None}, {"numbers": []}, {"numbers": [1]}])
    for status in ("created", "unchanged"):
        result = ArrayKey.objects.bulk_upsert(
            rows, unique_fields=["numbers"], strategy=strategy, **words
        )
        assert getattr(result, status) == result.total == 3


@pytest.mark.parametrize("audit", ["audit", "product"])
def test_null_in_another_table(strategy, tables, audit):
    """A NOT NULL that a trigger meets in another table is not blamed on a row."""
    tables(
        f"CREATE TABLE {audit} (price int NOT NULL);"
        "CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN INSERT INTO {audit} VALUES (NEW.price); RETURN NEW; END $$;"
        "CREATE TRIGGER audited BEFORE INSERT ON tests_product FOR EACH ROW "
        "EXECUTE FUNCTION audited()"
    )
    with pytest.raises(IntegrityError) as caught:
        Product.objects.bulk_upsert(
            [{"sku": "a", "price": None}], unique_fields=["sku"], strategy=strategy
        )
    assert not isinstance(caught.value, RowConstraintError)


def test_blame_where_a_clock_is_in_the_key(strategy):
    """The first new row is named, not the first row."""
    DailyAmount.objects.create(user=1, amount=5)
    rows = [{"user": 1, "count": 2}, {"user": 2, "count": 2}]
    with pytest.raises(RowConstraintError, match="row 1, field 'amount': not given"):
        DailyAmount.objects.bulk_upsert(rows, unique_fields=["day", "user"], strategy=strategy)


def test_deferred_file_is_refused():
    """A deferred field with an attribute of its own is found as well."""
    Custom.objects.create(key=1)
    with pytest.raises(RowFieldsError, match="'document' deferred"):
        Custom.objects.bulk_upsert(list(Custom.objects.defer("document")))


def test_proxy_with_a_property(strategy):
    """What a proxy's own attribute says is written, whichever manager is asked."""
    rows = [StockProxy(sku="a", name="low"), Product(sku="b", name="low")]
    Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert dict(Product.objects.values_list("sku", "name")) == {"a": "LOW", "b": "low"}


def test_domain_with_a_check(tables):
    """A domain's own constraint names the row."""
    tables(
        "CREATE DOMAIN three AS varchar(3) CHECK (VALUE <> 'bad');"
        "CREATE TABLE tests_unknown"
        " (id int PRIMARY KEY, fixed char(5), domain three, preset char(5))"
    )
    rows = [{"id": 1, "domain": "ok"}, {"id": 2, "domain": "bad"}]
    with pytest.raises(RowConstraintError, match="row 1, field 'domain'"):
        UnknownTypes.objects.bulk_upsert(rows)
