"""What counts as a row, and how its values get to the columns."""

from __future__ import annotations

import datetime
import uuid

import django
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from django_bulkupsert import RowFieldsError, RowTypeError, UnsavedRelatedError
from django_bulkupsert.columns import Column
from django_bulkupsert.errors import OptionError, RowValueError, UnknownFieldError
from django_bulkupsert.names import named_all
from django_bulkupsert.readers import reader_of

from .models import (
    City,
    Clocks,
    Code,
    Country,
    Custom,
    CustomPk,
    Defaults,
    Elsewhere,
    Hostile,
    Mayor,
    Odd,
    Product,
    ProductProxy,
    Reading,
    Tag,
    Token,
)

pytestmark = pytest.mark.django_db


def test_every_kind_over_every_relation(kind, shape, strategy):
    """Rows of each kind are created, then unchanged, then updated, whatever carries them."""
    rows = [{"sku": f"s{i}", "name": f"n{i}", "stock": i} for i in range(25)]
    for change, expected in [(0, (25, 0, 0, 0)), (0, (0, 0, 25, 0)), (5, (0, 5, 20, 0))]:
        for row in rows[:change]:
            row["stock"] += 1000
        made, words = kind(Product, rows)
        result = Product.objects.bulk_upsert(
            shape(made), unique_fields=["sku"], strategy=strategy, **words
        )
        assert (result.created, result.updated, result.unchanged, result.skipped) == expected
    stored = Product.objects.order_by("id").values_list("sku", "name", "stock")
    assert sorted(stored) == sorted((r["sku"], r["name"], r["stock"]) for r in rows)


def test_empty_input_sends_nothing(shape, strategy):
    """No rows: an empty result, and not one query."""
    with CaptureQueriesContext(
        connection,
    ) as queries:
        result = Product.objects.bulk_upsert(shape([]), unique_fields=["sku"], strategy=strategy)
    assert result.total == 0
    assert len(queries) == 0


def test_rows_are_walked_once():
    """The iterator is asked for each row once, and never again after its end."""

    class Once:
        def __init__(self):
            self.asked = 0

        def __iter__(self):
            self.asked += 1
            return iter([{"sku": "a"}, {"sku": "b"}])

    rows = Once()
    assert Product.objects.bulk_upsert(rows, unique_fields=["sku"]).created == 2
    assert rows.asked == 1


@pytest.mark.parametrize("rows", [5, None, object()])
def test_rows_that_are_no_iterable(rows):
    """Something that can't be walked is refused by name."""
    with pytest.raises(OptionError, match="iterable of model instances"):
        Product.objects.bulk_upsert(rows)


@pytest.mark.parametrize("row", [5, None, "abc", b"abc", {1, 2}, object()])
def test_wrong_row_type(row):
    """A row of no kind that is taken is refused, with its position and type."""
    with pytest.raises(RowTypeError, match="row 0: ") as caught:
        Product.objects.bulk_upsert([row], unique_fields=["sku"])
    assert isinstance(caught.value, TypeError)
    assert caught.value.index == 0


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (Product(sku="a"), {"sku": "b"}),
        (Product(sku="a"), Country(code="de")),
        ({"sku": "a"}, Product(sku="b")),
        ({"sku": "a"}, ("b",)),
        ({"sku": "a"}, None),
    ],
)
def test_rows_of_two_kinds(first, then, strategy):
    """Every row is of the first one's kind; the first that isn't is named."""
    with pytest.raises(RowTypeError, match="row 1: "):
        Product.objects.bulk_upsert([first, then], unique_fields=["sku"], strategy=strategy)
    assert not Product.objects.exists()


def test_sequences_of_two_kinds():
    """A mapping among sequences is refused too."""
    with pytest.raises(RowTypeError, match="row 1: "):
        Product.objects.bulk_upsert([("a",), {"sku": "b"}], fields=["sku"], unique_fields=["sku"])


def test_instance_of_another_model():
    """An instance of another model is refused, naming both models."""
    with pytest.raises(RowTypeError, match=r"an instance of tests.Country.*tests.Product"):
        Product.objects.bulk_upsert([Country(code="de")])


def test_sequences_need_fields():
    """Sequences without fields= are refused, with the way out."""
    with pytest.raises(OptionError, match="fields= names what they hold"):
        Product.objects.bulk_upsert([("a", "b")], unique_fields=["sku"])


@pytest.mark.parametrize("row", [{"sku": "a"}, Product(sku="a")])
def test_fields_are_for_sequences(row):
    """fields= with rows that name their own fields is refused."""
    with pytest.raises(OptionError, match="fields= names what sequences hold"):
        Product.objects.bulk_upsert([row], fields=["sku"], unique_fields=["sku"])


@pytest.mark.parametrize("row", [("a",), ("a", "b", "c"), ()])
def test_sequence_of_another_length(row):
    """A sequence that is too short or too long is named."""
    with pytest.raises(RowFieldsError, match=r"row 1: holds \d values, where fields= names 2"):
        Product.objects.bulk_upsert(
            [("x", "y"), row], fields=["sku", "name"], unique_fields=["sku"]
        )


def test_one_column():
    """Rows of one column work for mappings and sequences alike."""
    assert Product.objects.bulk_upsert([{"sku": "a"}], unique_fields=["sku"]).created == 1
    assert Product.objects.bulk_upsert([["b"]], fields=["sku"], unique_fields=["sku"]).created == 1
    again = Product.objects.bulk_upsert([["b"], ["a"]], fields=["sku"], unique_fields=["sku"])
    assert again.unchanged == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"sku": "b"}, "lacks 'name', which row 0 gives"),
        ({"sku": "b", "name": "n", "stock": 1}, "gives 'stock', which row 0 does not"),
        ({"sku": "b", "stock": 1}, "lacks 'name', which row 0 gives, and gives 'stock'"),
    ],
)
def test_mappings_with_differing_keys(row, reason, strategy):
    """The first mapping whose keys differ is named, with the difference."""
    rows = [{"sku": "a", "name": "n"}, row]
    with pytest.raises(RowFieldsError, match=f"row 1: {reason}") as caught:
        Product.objects.bulk_upsert(rows, unique_fields=["sku"], strategy=strategy)
    assert isinstance(caught.value, ValueError)
    assert not Product.objects.exists()


def test_empty_mapping():
    """A mapping without keys gives nothing to write."""
    with pytest.raises(RowFieldsError, match="gives no field"):
        Product.objects.bulk_upsert([{}])


@pytest.mark.parametrize("key", ["nmae", "showroomproduct", 5])
def test_unknown_key(key):
    """A key that is no column is refused; a near one is offered."""
    with pytest.raises(UnknownFieldError):
        Product.objects.bulk_upsert([{"sku": "a", key: 1}], unique_fields=["sku"])


def test_unknown_key_offers_the_nearest():
    """The message names the field that was probably meant."""
    with pytest.raises(UnknownFieldError, match="did you mean name"):
        Product.objects.bulk_upsert([{"sku": "a", "nmae": 1}], unique_fields=["sku"])


def test_a_field_given_twice():
    """One field under two names is refused."""
    with pytest.raises(OptionError, match="'country' twice"):
        City.objects.bulk_upsert([{"name": "a", "country": None, "country_id": None}])


# Foreign keys ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["object", "attname", "pk"])
def test_foreign_key_forms(form, strategy):
    """A foreign key is given as the object, as x_id, or by the key's value."""
    country = Country.objects.create(code="de")
    row = {
        "object": {"name": "Berlin", "country": country},
        "attname": {"name": "Berlin", "country_id": country.pk},
        "pk": {"name": "Berlin", "country": country.pk},
    }[form]
    City.objects.bulk_upsert([row], unique_fields=["name"], strategy=strategy)
    assert City.objects.get().country == country


def test_foreign_key_to_another_field(strategy):
    """With to_field, the object's own field travels."""
    country = Country.objects.create(code="de")
    rows = [{"name": "Berlin", "by_code": country}, {"name": "Bonn", "by_code": "de"}]
    City.objects.bulk_upsert(rows, unique_fields=["name"], strategy=strategy)
    assert set(City.objects.values_list("by_code_id", flat=True)) == {"de"}
    assert City.objects.bulk_upsert(
        [City(name="Ulm", by_code=country)], unique_fields=["name"], strategy=strategy
    ).created
    assert City.objects.get(name="Ulm").by_code == country


def test_related_object_saved_after_it_was_assigned(strategy):
    """An object that got its key after the assignment counts, as in save()."""
    country = Country(code="de")
    city = City(name="Berlin", country=country)
    country.save()
    City.objects.bulk_upsert([city], unique_fields=["name"], strategy=strategy)
    assert City.objects.get().country == country


def test_unsaved_related_object(kind, strategy):
    """An unsaved related object is refused in Django's words, with the row and field."""
    rows, words = kind(
        City,
        [{"name": "Bonn", "country": None}, {"name": "Berlin", "country": Country(code="de")}],
    )
    with pytest.raises(UnsavedRelatedError, match="unsaved related object 'country'") as caught:
        City.objects.bulk_upsert(rows, unique_fields=["name"], strategy=strategy, **words)
    assert isinstance(caught.value, ValueError)
    assert (caught.value.index, caught.value.field) == (1, "country")
    assert not City.objects.exists()


def test_unsaved_object_with_the_key_that_counts(kind):
    """An object that has the field pointed to, but no primary key, is unsaved all the same."""
    rows, words = kind(City, [{"name": "Berlin", "by_code": Country(code="de")}])
    with pytest.raises(UnsavedRelatedError, match="unsaved related object 'by_code'"):
        City.objects.bulk_upsert(rows, unique_fields=["name"], **words)


def test_unsaved_generic_relation():
    """An unsaved object behind a generic relation is refused as well."""
    with pytest.raises(UnsavedRelatedError) as caught:
        Tag.objects.bulk_upsert([Tag(label="x", target=Country(code="de"))])
    assert caught.value.field == "target"


def test_generic_relation(strategy):
    """A saved object behind a generic relation is written as its two columns."""
    country = Country.objects.create(code="de")
    Tag.objects.bulk_upsert(
        [Tag(label="x", target=country)], unique_fields=["label"], strategy=strategy
    )
    assert Tag.objects.get().target == country


def test_related_object_of_another_model():
    """An object of the wrong model is refused, naming both."""
    with pytest.raises(RowValueError, match=r"tests.Product, where the field takes tests.Country"):
        City.objects.bulk_upsert([{"name": "x", "country": Product(pk=1)}])


def test_primary_key_that_is_a_relation(kind, strategy):
    """A one-to-one primary key works by object and by value."""
    city = City.objects.create(name="Berlin")
    rows, words = kind(Mayor, [{"city": city, "name": "A"}])
    assert Mayor.objects.bulk_upsert(rows, strategy=strategy, **words).created == 1
    again = Mayor.objects.bulk_upsert([{"city_id": city.pk, "name": "B"}], strategy=strategy)
    assert again.updated == 1
    assert Mayor.objects.get().name == "B"


# Names -------------------------------------------------------------------------------------


def test_odd_names(kind, strategy, image):
    """Names with spaces, percent signs, braces and key words are quoted."""
    rows, words = kind(Odd, [{"key": 1, "percent": "5%", "select": 2}])
    for status in ("created", "unchanged"):
        result = Odd.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
        assert getattr(result, status) == 1
    # Django's own SELECT can't say these names.
    assert image(Odd) == ["(1,5%,2)"]


def test_hostile_names(kind, strategy, tables):
    """Quotes, newlines and placeholders in names stay names."""
    tables(
        'CREATE TABLE "wei""rd; %s\n' + "é" * 10 + '" '
        '("a""; --" int PRIMARY KEY, "é""%s""%%\n\'x" text)'
    )
    rows, words = kind(Hostile, [{"id": 1, "text": "a"}, {"id": 2, "text": "%s %d {x}"}])
    for status in ("created", "unchanged"):
        result = Hostile.objects.bulk_upsert(rows, strategy=strategy, **words)
        assert getattr(result, status) == 2
    with connection.cursor() as cursor:
        cursor.execute('SELECT count(*) FROM "wei""rd; %s\n' + "é" * 10 + '"')
        assert cursor.fetchone() == (2,)


def test_table_in_another_schema(kind, strategy, tables):
    """db_table = '"schema"."table"', Django's way to name a schema, works."""
    tables(
        'CREATE SCHEMA "else where"; CREATE TABLE "else where"."Table" (id bigint PRIMARY KEY '
        "GENERATED BY DEFAULT AS IDENTITY, key varchar(10) UNIQUE, value int NOT NULL)"
    )
    rows, words = kind(Elsewhere, [{"key": "a", "value": 1}, {"key": "b", "value": 2}])
    for status in ("created", "unchanged"):
        result = Elsewhere.objects.bulk_upsert(
            rows, unique_fields=["key"], strategy=strategy, **words
        )
        assert getattr(result, status) == 2
    new = [Elsewhere(key="c"), Elsewhere(key="d")]
    assert Elsewhere.objects.bulk_upsert(new, strategy=strategy).created == 2
    assert [row.pk for row in new] == [
        Elsewhere.objects.get(key="c").pk,
        Elsewhere.objects.get(key="d").pk,
    ]


def test_proxy(kind, strategy):
    """A proxy model writes the model's table; its instances and the model's are both taken."""
    rows, words = kind(ProductProxy, [{"sku": "a", "stock": 1}])
    result = ProductProxy.objects.bulk_upsert(
        rows, unique_fields=["sku"], strategy=strategy, **words
    )
    assert result.created == 1
    assert ProductProxy.objects.bulk_upsert([Product(sku="b")], strategy=strategy).created == 1
    assert Product.objects.bulk_upsert([ProductProxy(sku="c")], strategy=strategy).created == 1


# Primary keys ------------------------------------------------------------------------------


def test_custom_primary_key(kind, strategy):
    """A primary key of the caller's own is matched by."""
    rows, words = kind(Code, [{"code": "a", "value": 1}, {"code": "b", "value": 2}])
    assert Code.objects.bulk_upsert(rows, strategy=strategy, **words).created == 2
    result = Code.objects.bulk_upsert([{"pk": "a", "value": 5}], strategy=strategy)
    assert result.updated == 1
    assert dict(Code.objects.values_list("code", "value")) == {"a": 5, "b": 2}


def test_falsy_primary_keys(kind, strategy):
    """An empty text is a primary key like any other."""
    rows, words = kind(Code, [{"code": "", "value": 1}])
    assert Code.objects.bulk_upsert(rows, strategy=strategy, **words).created == 1
    assert Code.objects.bulk_upsert(rows, strategy=strategy, **words).unchanged == 1


def test_uuid_primary_key_with_a_default(kind, strategy):
    """Rows that name no primary key get the default's; a stored row keeps its own."""
    rows, words = kind(Token, [{"name": "a"}, {"name": "b"}])
    result = Token.objects.bulk_upsert(rows, unique_fields=["name"], strategy=strategy, **words)
    assert result.created == 2
    stored = dict(Token.objects.values_list("name", "pk"))
    assert len(set(stored.values())) == 2
    again = [Token(name="a", uses=3), Token(name="c")]
    assert again[0].pk != stored["a"]
    result = Token.objects.bulk_upsert(again, unique_fields=["name"], strategy=strategy)
    assert (result.created, result.updated) == (1, 1)
    assert again[0].pk == stored["a"]
    assert Token.objects.get(name="c").pk == again[1].pk


def test_uuid_primary_key_by_itself(strategy):
    """Without a match, an instance's fresh UUID is a row to insert."""
    one = Token(name="a")
    given = one.pk
    assert Token.objects.bulk_upsert([one], strategy=strategy).created == 1
    assert one.pk == given
    assert Token.objects.bulk_upsert([{"id": given, "name": "a", "uses": 1}]).updated == 1
    assert Token.objects.bulk_upsert([{"id": str(given), "name": "a", "uses": 1}]).unchanged == 1
    assert isinstance(uuid.UUID(str(given)), uuid.UUID)


def test_primary_key_with_a_form_of_its_own(strategy):
    """The primary key set on an instance went through the field's from_db_value."""
    CustomPk.objects.create(id="#5", name="a")
    row = CustomPk(id="#7", name="a")
    result = CustomPk.objects.bulk_upsert([row], unique_fields=["name"], strategy=strategy)
    assert result.unchanged == 1
    assert row.pk == "#5"


# Defaults, clocks, fields that save themselves ----------------------------------------------


def test_fields_that_are_not_given_get_their_defaults(strategy):
    """An insert fills what a mapping doesn't name as Model() would; an update leaves it."""
    Defaults.objects.bulk_upsert([{"key": 1}, {"key": 2}], unique_fields=["key"], strategy=strategy)
    assert (
        list(Defaults.objects.values_list("constant", "called", "empty", "nothing"))
        == [("plain", 10, "", None)] * 2
    )
    Defaults.objects.update(constant="x", called=5, empty="y", nothing=3)
    result = Defaults.objects.bulk_upsert(
        [{"key": 1, "nothing": 4}], unique_fields=["key"], strategy=strategy
    )
    assert result.updated == 1
    assert Defaults.objects.values_list("constant", "called", "empty", "nothing").get(key=1) == (
        "x",
        5,
        "y",
        4,
    )


def test_partial_rows_update_stored_rows(strategy):
    """Rows that give some columns update those, though an insert would need the others too."""
    Reading.objects.create(device="a", day="2026-05-01", watts=1)
    City.objects.create(name="Berlin")
    Mayor.objects.create(city=City.objects.get(), name="A")
    result = Mayor.objects.bulk_upsert(
        [{"city": City.objects.get(), "name": "B"}], strategy=strategy
    )
    assert result.updated == 1


@pytest.mark.parametrize("field", ["touched", "touched_on", "touched_at"])
def test_clocks(kind, strategy, field):
    """auto_now(_add) are set on insert; auto_now on update, if another field changes."""
    old = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    rows, words = kind(Clocks, [{"key": 1, "value": 1}, {"key": 2, "value": 1}])
    Clocks.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
    assert Clocks.objects.filter(added__year__gt=2020, touched__year__gt=2020).count() == 2
    Clocks.objects.update(added=old, touched=old, touched_on=old.date(), touched_at=old.time())
    rows, words = kind(Clocks, [{"key": 1, "value": 2}, {"key": 2, "value": 1}])
    result = Clocks.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
    assert (result.updated, result.unchanged) == (1, 1)
    one, two = Clocks.objects.order_by("key")
    assert one.added == two.added == old
    expected = {"touched": old, "touched_on": old.date(), "touched_at": old.time()}[field]
    assert getattr(one, field) != expected
    assert getattr(two, field) == expected


def test_clocks_on_instances(strategy):
    """Instances hold the time that was stored; an unchanged one is left as it was."""
    rows = [Clocks(key=1), Clocks(key=2)]
    Clocks.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    for row in rows:
        stored = Clocks.objects.get(key=row.key)
        for name in ("added", "touched", "touched_on", "touched_at"):
            assert getattr(row, name) == getattr(stored, name)
    again = [Clocks(key=1, value=5), Clocks(key=2)]
    Clocks.objects.bulk_upsert(again, unique_fields=["key"], strategy=strategy)
    assert again[0].touched == Clocks.objects.get(key=1).touched > rows[0].touched
    assert again[0].added is None
    assert again[1].touched is None


def test_given_clocks_are_overwritten(strategy):
    """A clock that a mapping gives is set by the clock, as save() sets it."""
    old = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    Clocks.objects.bulk_upsert(
        [{"key": 1, "touched": old, "added": old}], unique_fields=["key"], strategy=strategy
    )
    assert Clocks.objects.filter(touched__year__gt=2020, added__year__gt=2020).exists()


def test_clocks_named_alone_are_written(strategy):
    """update_fields that names only a clock touches every stored row."""
    Clocks.objects.bulk_upsert([{"key": 1}], unique_fields=["key"], strategy=strategy)
    before = Clocks.objects.get().touched
    result = Clocks.objects.bulk_upsert(
        [{"key": 1}], unique_fields=["key"], update_fields=["touched"], strategy=strategy
    )
    assert result.updated == 1
    assert Clocks.objects.get().touched > before


def test_custom_fields(kind, strategy):
    """get_db_prep_save, get_placeholder and pre_save of a field of one's own are asked."""
    if strategy == "unnest":
        pytest.skip("a placeholder of one's own needs VALUES; see the next test")
    rows, words = kind(Custom, [{"key": 1, "spaced": "abc", "upper": "abc", "stamp": ""}])
    for status in ("created", "unchanged"):
        result = Custom.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
        assert getattr(result, status) == 1
    row = Custom.objects.get()
    assert (row.spaced, row.upper, row.stamp) == ("abc", "ABC", "stamp 1")
    with connection.cursor() as cursor:
        cursor.execute("SELECT spaced FROM tests_custom")
        assert cursor.fetchone() == ("a b c",)


def test_unnest_refuses_what_it_cannot_carry():
    """Forced unnest says which row needs VALUES; left alone, the choice is right."""
    row = {"key": 1, "upper": "abc"}
    with pytest.raises(OptionError, match=r"strategy='unnest' can't carry row 0, field 'upper'"):
        Custom.objects.bulk_upsert([row], unique_fields=["key"], strategy="unnest")
    assert Custom.objects.bulk_upsert([row], unique_fields=["key"]).created == 1


def test_file_field(kind, strategy, tmp_path, settings):
    """A FileField stores its file when the row is written, as save() does."""
    from django.core.files.base import ContentFile

    settings.MEDIA_ROOT = str(tmp_path)
    file = ContentFile(b"hello", name="hello.txt")
    rows, words = kind(Custom, [{"key": 1, "document": file}])
    if strategy == "unnest":
        rows, words = [Custom(key=1, document=file)], {}
    Custom.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
    with Custom.objects.get().document as stored:
        assert stored.read() == b"hello"


@pytest.mark.skipif(django.VERSION < (5, 0), reason="db_default is new in Django 5.0")
def test_database_defaults(kind, strategy):
    """A db_default fills what is not given, row by row; generated columns are left out."""
    from .models import DatabaseDefaults

    rows, words = kind(DatabaseDefaults, [{"key": 1}, {"key": 2}])
    DatabaseDefaults.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy, **words)
    assert set(DatabaseDefaults.objects.values_list("number", "doubled")) == {(7, 14)}
    assert not DatabaseDefaults.objects.filter(moment=None).exists()
    mixed = [DatabaseDefaults(key=1, number=1), DatabaseDefaults(key=3)]
    result = DatabaseDefaults.objects.bulk_upsert(
        mixed, unique_fields=["key"], update_fields=["number"], strategy=strategy
    )
    assert (result.created, result.updated) == (1, 1)
    assert dict(DatabaseDefaults.objects.values_list("key", "doubled")) == {1: 2, 2: 14, 3: 14}


@pytest.mark.skipif(django.VERSION < (5, 0), reason="GeneratedField is new in Django 5.0")
def test_generated_columns_cannot_be_given():
    """A value for a generated column is refused."""
    from .models import DatabaseDefaults

    with pytest.raises(OptionError, match="'doubled' is generated by the database"):
        DatabaseDefaults.objects.bulk_upsert([{"key": 1, "doubled": 5}], unique_fields=["key"])
    with pytest.raises(OptionError, match="generated by the database"):
        DatabaseDefaults.objects.bulk_upsert(
            [{"key": 1}], unique_fields=["key"], update_fields=["doubled"]
        )


@pytest.mark.skipif(django.VERSION < (5, 0), reason="db_default is new in Django 5.0")
def test_primary_key_that_the_database_makes(strategy):
    """A db_default primary key is set back on instances, by key and without one."""
    from .models import DefaultPk

    rows = [DefaultPk(name="a"), DefaultPk(), DefaultPk()]
    for words in ({}, {"unique_fields": ["name"]}):
        DefaultPk.objects.all().delete()
        rows = [DefaultPk(name="a"), DefaultPk(), DefaultPk()]
        assert DefaultPk.objects.bulk_upsert(rows, strategy=strategy, **words).created == 3
        assert {row.pk for row in rows} == set(DefaultPk.objects.values_list("pk", flat=True))
        assert DefaultPk.objects.get(name="a").pk == rows[0].pk


@pytest.mark.skipif(django.VERSION < (5, 2), reason="composite keys are new in Django 5.2")
def test_composite_primary_key(strategy):
    """A composite primary key is matched by as a whole."""
    from .models import Composite

    rows = [Composite(tenant=1, number=1), Composite(tenant=1, number=2)]
    assert Composite.objects.bulk_upsert(rows, strategy=strategy).created == 2
    result = Composite.objects.bulk_upsert(
        [
            {"tenant": 1, "number": 2, "value": 5},
            {"tenant": 2, "number": 2, "value": 5},
        ],
        strategy=strategy,
    )
    assert (result.created, result.updated) == (1, 1)
    coded = [Composite(tenant=3, number=1, code="x"), Composite(tenant=3, number=2)]
    result = Composite.objects.bulk_upsert(coded, unique_fields=["code"], strategy=strategy)
    assert result.created == 2
    moved = Composite(tenant=9, number=9, code="x", value=1)
    result = Composite.objects.bulk_upsert([moved], unique_fields=["code"], strategy=strategy)
    assert result.updated == 1
    assert moved.pk == (3, 1)


@pytest.mark.parametrize("kind", ["mappings", "sequences"])
def test_related_objects_among_many_rows(kind, shape, strategy):
    """Some of which query for their keys, wherever they stand, while rows are on their way."""
    country = Country.objects.create(code="DE")
    kinds = [
        lambda: country.pk,
        lambda: country,
        lambda: SimpleLazyObject(lambda: Country.objects.get(code="DE")),
        lambda: None,
    ]
    count = 12_000 if strategy == "copy" else 1_000
    rows = [
        {"name": f"{number}", "country": kinds[number * 7 // count % 4 if number % 5 else 0]()}
        for number in range(count)
    ]
    expected = sum(row["country"] is not None for row in rows)
    words = {"unique_fields": ["name"], "strategy": strategy}
    if kind == "sequences":
        rows = [tuple(row.values()) for row in rows]
        words["fields"] = ["name", "country"]
    assert City.objects.bulk_upsert(shape(rows), **words).created == count
    assert City.objects.filter(country=country).count() == expected


def test_rows_that_are_read_while_others_are_sent():
    """Only what is sure to run no code, and no query: keys, and no related object."""

    def reader(first, fields=None):
        names = None if fields is None else named_all(City, fields, "fields")
        return reader_of(City, first, names, lambda field: columns[field])

    columns = {field: Column.of(field, connection) for field in City._meta.concrete_fields}
    row = {"name": "a", "country": 1}
    found = reader(row)
    assert found.is_plain([row, {"name": "b", "country": None}])
    for other in ({"name": "b", "country": Country()}, {"name": "b"},
                  {"name": "b", "country": SimpleLazyObject(lambda: 1)}):  # fmt: skip
        assert not found.is_plain([row, other])
    found = reader(("a", 1), ["name", "country_id"])
    assert found.is_plain([("a", 1), ["b", None]])
    assert not found.is_plain([("a", Country())])
    assert not found.is_plain([("a",)])
    row = {"name": "a", "country__code": "x"}
    found = reader(row)
    assert not found.is_plain([row])  # it asks for keys ..
    found.join_keys()
    assert found.is_plain([row])  # .. unless a join does
