"""Foreign keys that rows give by another field of the model they point to: ``country__code``."""

from __future__ import annotations

import datetime
import io
import itertools
import uuid
from contextlib import contextmanager, nullcontext

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.db.models.functions import Upper
from django.test.utils import CaptureQueriesContext, isolate_apps

from django_bulkupsert import (
    BulkUpsertManager,
    CsvError,
    CsvRows,
    DuplicateKeysError,
    Excluded,
    OptionError,
    RowValueError,
    UnknownFieldError,
)
from django_bulkupsert.columns import Column
from django_bulkupsert.readers import related
from django_bulkupsert.rows import Rows
from tests.conftest import counts
from tests.models import City, Country, Mayor, UpperField

pytestmark = pytest.mark.django_db


@contextmanager
def tables(*models_):
    """Makes the tables of models for a while, in the order in which they point to one another."""
    with connection.schema_editor() as editor:
        for model in models_:
            editor.create_model(model)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            for model in reversed(models_):
                editor.delete_model(model)


def rows(text: str, **words) -> CsvRows:
    """Return the rows of a file of bytes."""
    return CsvRows(io.BytesIO(text.encode()), **words)


def test_foreign_keys_by_another_field(strategy):
    """country__code finds the country; of an unknown one the row says so, and lists them all."""
    Country.objects.bulk_create([Country(code="DE"), Country(code="FR")])
    file = "name,country__code\nBerlin,DE\nParis,FR\nNowhere,\n"
    result = City.objects.bulk_upsert(rows(file), unique_fields=["name"], strategy=strategy)
    assert counts(result) == (3, 0, 0, 0)
    assert list(City.objects.order_by("name").values_list("name", "country__code")) == [
        ("Berlin", "DE"), ("Nowhere", None), ("Paris", "FR"),
    ]  # fmt: skip
    with pytest.raises(RowValueError) as caught:
        City.objects.bulk_upsert(
            rows("name,country__code\nBerlin,DE\nOslo,NO\nRome,IT\n"), unique_fields=["name"]
        )
    assert str(caught.value) == (
        "line 3 (row 1), field 'country__code': no row of tests.Country has "
        "this code: 'NO' and 'IT'"
    )


def test_foreign_keys_of_mappings():
    """Rows of other kinds may give them so, too."""
    Country.objects.bulk_create([Country(code="DE", name="x"), Country(code="FR", name="x")])
    City.objects.bulk_upsert([{"name": "Berlin", "country__code": "DE"}], unique_fields=["name"])
    assert City.objects.get().country.code == "DE"
    with pytest.raises(RowValueError, match=r"row 0, .*: several rows of tests.Country have this"):
        City.objects.bulk_upsert([{"name": "A", "country__name": "x"}], unique_fields=["name"])
    with pytest.raises(UnknownFieldError, match="country__nothing"):
        City.objects.bulk_upsert([{"name": "A", "country__nothing": 1}], unique_fields=["name"])
    with pytest.raises(OptionError, match="names 'country' twice"):
        City.objects.bulk_upsert(
            [{"name": "A", "country": None, "country__code": "DE"}], unique_fields=["name"]
        )
    with pytest.raises(RowValueError, match="this list can't be read as"):
        Country.objects.update(name="")
        City.objects.bulk_upsert([{"name": "A", "country__id": [1]}], unique_fields=["name"])


def test_foreign_keys_of_later_calls():
    """What was not there in one call may be there in the next."""
    file = "name,country__code\nOslo,NO\n"
    with pytest.raises(RowValueError):
        City.objects.bulk_upsert(rows(file), unique_fields=["name"])
    first = Country.objects.create(code="NO")
    assert City.objects.bulk_upsert(rows(file), unique_fields=["name"]).created == 1
    City.objects.all().delete()
    first.delete()
    second = Country.objects.create(code="NO")
    City.objects.bulk_upsert(rows(file), unique_fields=["name"])
    assert City.objects.get().country_id == second.pk


def test_foreign_keys_in_updates():
    """bulk_update takes them too."""
    Country.objects.create(code="DE")
    city = City.objects.create(name="Berlin")
    file = f"id,country__code\n{city.pk},DE\n"
    assert City.objects.bulk_update(rows(file), ["country"]) == 1
    assert City.objects.get().country.code == "DE"


@pytest.mark.parametrize("rest", ["", "DE\0", "\ud800"])
def test_codes_that_no_text_can_be(rest, strategy):
    """What the server has no text for is a row's error, not one of the driver's."""
    Country.objects.create(code="DE")
    cities = [{"name": f"C{n}", "country__code": code} for n, code in enumerate(["DE", rest])]
    with pytest.raises(RowValueError, match=r"^row 1, field 'country__code': ") as caught:
        City.objects.bulk_upsert(cities, unique_fields=["name"], strategy=strategy)
    assert caught.value.index == 1
    # Python's csv module reads a NUL since 3.11; before, it is no CSV.
    with pytest.raises((RowValueError, CsvError), match=r"^line 3\b.* NUL"):
        City.objects.bulk_upsert(
            rows("name,country__code\nBerlin,DE\nParis,F\0R\n"), unique_fields=["name"]
        )


def test_foreign_keys_of_sequences():
    """What fields= names may be such names, too."""
    Country.objects.bulk_create([Country(code="DE"), Country(code="FR")])
    words = {"fields": ["name", "country__code"]}
    cities = [("Berlin", "DE"), ("Paris", "FR"), ("Nowhere", None)]
    City.objects.bulk_upsert(cities, unique_fields=["name"], **words)
    assert City.objects.bulk_copy([["Bonn", "DE"]], **words) == 1
    assert set(City.objects.values_list("name", "country__code")) == {*cities, ("Bonn", "DE")}
    with pytest.raises(RowValueError, match=r"row 0, field 'country__code': no row of .*'NO'"):
        City.objects.bulk_upsert([("Oslo", "NO")], unique_fields=["name"], **words)
    for fields, message in (
        (["name", "country__nothing"], "fields: 'country__nothing' is no field"),
        (["country", "country__code"], "fields names 'country' twice"),
        ("name", "fields takes a list of names"),
        (5, "fields takes a list of names"),
    ):
        with pytest.raises(OptionError, match=message):
            City.objects.bulk_upsert([("Oslo", "NO")], unique_fields=["name"], fields=fields)


CODES = ["".join(pair) for pair in itertools.product("ABCDEFGHIJKLMNOPQRST", repeat=2)] + [
    f"{n}" for n in range(100)
]


def queries_of_codes(queries):
    return sum("tests_country" in each["sql"] and "IN (" in each["sql"] for each in queries)


@pytest.mark.parametrize(
    "bad", [{"country__code": "XX"}, {"country__code": "D\0"}, {"name": "x" * 51}, {"more": 1}]
)
@pytest.mark.parametrize("often", [1, 500])
def test_rows_that_are_left_out_cost_no_query_each(bad, often, monkeypatch):
    """Nor is a chunk encoded anew for each of them."""
    Country.objects.bulk_create(Country(code=code) for code in CODES)
    cities = [{"name": f"C{n}", "country__code": CODES[n % 500]} for n in range(2_000)]
    for n in range(1, 1 + 2 * often, 2):
        cities[n] |= bad
        if "name" in bad:
            cities[n]["name"] += str(n)
    values = []
    encode = Column.encode
    monkeypatch.setattr(
        Column,
        "encode",
        lambda self, given, *rest: values.append(len(given)) or encode(self, given, *rest),
    )
    with CaptureQueriesContext(connection) as queries:
        result = City.objects.bulk_upsert(cities, unique_fields=["name"], on_error="collect")
    assert [each.index for each in result.rejected] == list(range(1, 1 + 2 * often, 2))
    assert result.created == 2_000 - often
    assert len(queries.captured_queries) < 40
    assert sum(values) < 10 * len(cities)


@pytest.mark.parametrize("kept", [10, 100_000])
def test_codes_are_asked_for_once(codes, kept, monkeypatch):
    """Where rows are not staged: once for each code, as far as they are kept in memory."""
    monkeypatch.setattr(related, "MOST_KEPT", kept)
    cities = [{"name": f"C{n}", "country__code": CODES[n % 50]} for n in range(2_000)]
    with CaptureQueriesContext(connection) as queries:
        assert City.objects.bulk_copy(cities, batch_size=20) == 2_000
    stored = City.objects.order_by("pk").values_list("country__code", flat=True)
    assert list(stored) == [CODES[n % 50] for n in range(2_000)]
    asked = sum("bu_v" in each["sql"] for each in queries.captured_queries)
    assert asked == (3 if kept > 10 else 100)


@isolate_apps("tests")
def test_codes_of_rows_that_are_read_one_by_one(transactional_db):
    """Where a foreign key looks at its keys, those of all rows are asked for before that."""

    class Picky(models.Model):
        name = models.CharField(max_length=5, unique=True)
        country = models.ForeignKey(Country, models.CASCADE, validators=[lambda pk: None])
        objects = BulkUpsertManager()

        class Meta:
            app_label = "tests"

    Country.objects.bulk_create(Country(code=code) for code in CODES)
    some = [{"name": f"C{n}", "country__code": CODES[n % 500]} for n in range(1_000)]
    for n in range(0, 1_000, 2):
        some[n]["name"] = "x" * 6
    with tables(Picky):
        with CaptureQueriesContext(connection) as queries:
            result = Picky.objects.bulk_upsert(
                some, unique_fields=["name"], on_error="collect", validate=True
            )
        assert (len(result.rejected), result.created) == (500, 500)
        assert sum("bu_v" in each["sql"] for each in queries.captured_queries) < 5


def test_codes_of_files_are_asked_for_once():
    """So with a file's rows, whose codes are texts."""
    Country.objects.bulk_create(Country(code=code) for code in CODES)
    lines = [f"C{n},{CODES[n % 500]}" if n % 2 else f"C{n},{'XX' if n % 4 else ''}"
             for n in range(2_000)]  # fmt: skip
    with CaptureQueriesContext(connection) as queries:
        result = City.objects.bulk_upsert(
            rows("name,country__code\n" + "\n".join(lines)),
            unique_fields=["name"],
            on_error="collect",
        )
    assert len(result.rejected) == 500
    assert result.created == 1_500
    assert queries_of_codes(queries.captured_queries) <= 5


# All rows at once -------------------------------------------------------------------------

#: More rows than one chunk has.
MANY = 12_000


def cities(count: int = MANY) -> list[dict]:
    return [{"name": f"C{n:05}", "country__code": CODES[n % 500]} for n in range(count)]


def given(kind: str, rows_: list[dict]):
    """Return rows as a list, a generator, or a file."""
    if kind == "file":
        names = list(rows_[0])
        lines = [",".join("" if row[name] is None else str(row[name]) for name in names)
                 for row in rows_]  # fmt: skip
        return rows("\n".join([",".join(names), *lines, ""]))
    return rows_ if kind == "list" else (row for row in rows_)


@pytest.fixture(params=["list", "generator", "file"])
def kind(request):
    return request.param


@pytest.fixture
def codes(db):
    Country.objects.bulk_create(Country(code=code) for code in CODES)


def asked_for(queries) -> list[str]:
    return [each["sql"] for each in queries if '"tests_country"' in each["sql"]]


def test_one_join_over_all_rows(codes, kind):
    """Of staged rows the keys are found by one query, however many chunks they are."""
    with CaptureQueriesContext(connection) as queries:
        result = City.objects.bulk_upsert(given(kind, cities()), unique_fields=["name"])
    assert counts(result) == (MANY, 0, 0, 0)
    found = [sql for sql in asked_for(queries.captured_queries) if "ON COMMIT" in sql]
    assert len(asked_for(queries.captured_queries)) == 2
    assert ["LEFT JOIN" in sql for sql in found] == [False, True]  # the first makes the table
    assert not City.objects.filter(country=None).exists()
    stored = City.objects.order_by("name").values_list("country__code", flat=True)
    assert list(stored) == [CODES[n % 500] for n in range(MANY)]
    again = City.objects.bulk_upsert(given(kind, cities()), unique_fields=["name"])
    assert counts(again) == (0, 0, MANY, 0)


def test_unknown_codes_of_all_rows_are_listed(codes, kind):
    """The error is the first row's, and lists the codes of all."""
    some = cities()
    for at, code in ((5_500, "X1"), (11_000, "X2"), (11_001, "X1")):
        some[at]["country__code"] = code
    with pytest.raises(RowValueError) as caught:
        City.objects.bulk_upsert(given(kind, some), unique_fields=["name"])
    line = "line 5502 (row 5500)" if kind == "file" else "row 5500"
    assert str(caught.value) == (
        f"{line}, field 'country__code': no row of tests.Country has this code: 'X1' and 'X2'"
    )
    assert not City.objects.exists()
    for n in range(30):
        some[n]["country__code"] = f"_{n:02}"
    with pytest.raises(RowValueError, match=r"row 0\b.*'_00', '_01'.*, '_09' and 22 more$"):
        City.objects.bulk_upsert(given(kind, some), unique_fields=["name"])


def test_unknown_codes_are_left_out(codes, kind):
    """on_error="collect": each row with its code and its line, the others are written."""
    some = cities()
    for at in (0, 5_500, 11_000):
        some[at]["country__code"] = f"x{at}"  # longer than a code may be, too
    some[7_000]["name"] = "x" * 51
    result = City.objects.bulk_upsert(given(kind, some), unique_fields=["name"], on_error="collect")
    assert [(each.index, each.field, each.value) for each in result.rejected] == [
        (0, "country__code", "x0"),
        (5_500, "country__code", "x5500"),
        (7_000, "name", "x" * 51),
        (11_000, "country__code", "x11000"),
    ]
    assert result.rejected[1].message == "no row of tests.Country has this code: 'x5500'"
    assert result.rejected[1].line == (5_502 if kind == "file" else None)
    assert counts(result) == (MANY - 4, 0, 0, 0)


@pytest.mark.parametrize("on_error", ["raise", "collect"])
def test_codes_of_several_rows(kind, strategy, on_error):
    """A value that several rows have says of none which."""
    Country.objects.bulk_create(
        [Country(code="DE", name="x"), Country(code="FR", name="x"), Country(code="IT", name="y")]
    )
    some = [{"name": f"C{n}", "country__name": "y"} for n in range(4)]
    some[2]["country__name"] = "x"
    words = {"unique_fields": ["name"], "strategy": strategy, "on_error": on_error}
    if on_error == "collect" and strategy != "copy":
        words["strategy"] = None
    message = "several rows of tests.Country have this name"
    if on_error == "raise":
        with pytest.raises(RowValueError, match=rf"row 2\b.*'country__name': {message}$"):
            City.objects.bulk_upsert(given(kind, some), **words)
        assert not City.objects.exists()
        return
    result = City.objects.bulk_upsert(given(kind, some), **words)
    assert [(each.index, each.value, each.message) for each in result.rejected] == [
        (2, "x", message)
    ]
    assert set(City.objects.values_list("name", "country__code")) == {
        (f"C{n}", "IT") for n in (0, 1, 3)
    }


def test_several_foreign_keys(codes, kind, strategy):
    """Each is found by its own field; one points to the code itself, one may be NULL."""
    some = [
        {"name": f"C{n}", "country__code": CODES[n] if n % 2 else None, "by_code__id": pk}
        for n, pk in enumerate(Country.objects.order_by("code").values_list("pk", flat=True)[:9])
    ]
    City.objects.bulk_upsert(given(kind, some), unique_fields=["name"], strategy=strategy)
    stored = list(City.objects.order_by("name").values_list("country__code", "by_code_id"))
    assert stored == [
        (CODES[n] if n % 2 else None, code) for n, code in enumerate(sorted(CODES)[:9])
    ]


def test_a_key_that_is_found(kind, strategy):
    """Rows may be matched by it, be it the primary key; and stand twice by it."""
    City.objects.bulk_create(City(name=f"C{n}") for n in range(4))
    some = [{"city__name": f"C{n}", "name": f"M{n}"} for n in range(4)]
    first = Mayor.objects.bulk_upsert(given(kind, some[:3]), strategy=strategy)
    again = Mayor.objects.bulk_upsert(given(kind, some), strategy=strategy)
    assert (counts(first), counts(again)) == ((3, 0, 0, 0), (1, 0, 3, 0))
    assert set(Mayor.objects.values_list("city__name", "name")) == {
        (f"C{n}", f"M{n}") for n in range(4)
    }
    twice = [*some, {"city__name": "C1", "name": "M9"}]
    with pytest.raises(DuplicateKeysError, match=r"(rows 1 and 4|lines 3 and 6);"):
        Mayor.objects.bulk_upsert(given(kind, twice), strategy=strategy)
    last = Mayor.objects.bulk_upsert(given(kind, twice), strategy=strategy, duplicates="last")
    assert counts(last) == (0, 1, 3, 1)
    assert Mayor.objects.get(city__name="C1").name == "M9"


def test_options_see_the_key(codes, kind, strategy):
    """What is compared, transformed and returned is the key, not the code."""
    some = [{"name": f"c{n}", "country__code": CODES[n]} for n in range(4)]
    words = {"unique_fields": ["name"], "strategy": strategy, "transform": {"name": Upper("name")}}
    City.objects.bulk_upsert(given(kind, some), **words)
    assert set(City.objects.values_list("name", "country__code")) == {
        (f"C{n}", CODES[n]) for n in range(4)
    }
    for each in some:
        each["country__code"] = CODES[100]
    low = Country.objects.get(code=CODES[1])
    result = City.objects.bulk_upsert(
        given(kind, some),
        where=models.Q(country__lte=low.pk) & ~models.Q(country=Excluded("country")),
        returning=["country"],
        returning_old=True,
        **words,
    )
    new = Country.objects.get(code=CODES[100]).pk
    assert counts(result) == (0, 2, 0, 2)
    written = [row for row in result.rows if row.status.value == "updated"]
    assert [(row.index, row["country"]) for row in written] == [(0, new), (1, new)]
    assert written[1].old == {"country": low.pk}


def test_fields_look_at_what_comes(codes, kind):
    """validate=True asks each field; of a key that is not there yet, only if there is to be one."""
    some = cities(3_000)
    result = City.objects.bulk_upsert(given(kind, some), unique_fields=["name"], validate=True)
    assert counts(result) == (3_000, 0, 0, 0)
    some[2_900]["country__code"] = None  # the field takes NULL, but not a blank
    with pytest.raises(RowValueError, match=r"row 2900\b.*'country'"):
        City.objects.bulk_upsert(given(kind, some), unique_fields=["name"], validate=True)


@isolate_apps("tests")
def test_fields_with_a_say_in_the_key(transactional_db, kind):
    """Choices and validators of the foreign key are asked of the key itself."""

    def refuse(pk):
        if pk == bad.pk:
            raise ValidationError("not this one")

    class Choosy(models.Model):
        name = models.CharField(max_length=50, unique=True)
        country = models.ForeignKey(Country, models.CASCADE, validators=[refuse])
        objects = BulkUpsertManager()

        class Meta:
            app_label = "tests"

    Country.objects.bulk_create(Country(code=code) for code in CODES)
    bad = Country.objects.get(code=CODES[7])
    with tables(Choosy):
        some = cities(3_000)
        with pytest.raises(RowValueError, match=r"row 7\b.*not this one"):
            Choosy.objects.bulk_upsert(given(kind, some), unique_fields=["name"], validate=True)
        result = Choosy.objects.bulk_upsert(given(kind, some), unique_fields=["name"])
        assert counts(result) == (3_000, 0, 0, 0)


@isolate_apps("tests")
def test_values_of_every_kind_over_several_models(transactional_db, kind, strategy):
    """The field may be a model further, and its values numbers, dates or UUIDs."""

    class Continent(models.Model):
        number = models.IntegerField(unique=True)
        uid = models.UUIDField(default=uuid.uuid4)
        area = models.DecimalField(max_digits=8, decimal_places=2)
        day = models.DateField()

        class Meta:
            app_label = "tests"
            ordering = ["number"]

    class Land(models.Model):
        continent = models.ForeignKey(Continent, models.CASCADE)

        class Meta:
            app_label = "tests"

    class Town(models.Model):
        name = models.CharField(max_length=50, unique=True)
        land = models.ForeignKey(Land, models.CASCADE)
        objects = BulkUpsertManager()

        class Meta:
            app_label = "tests"

    with tables(Continent, Land, Town):
        lands = {}
        for n in range(3):
            continent = Continent.objects.create(
                number=n, uid=uuid.UUID(int=n), area=f"{n}.50", day=f"2026-01-0{n + 1}"
            )
            lands[n] = Land.objects.create(continent=continent).pk
        for name, texts in {
            "number": ["0", "01", "2"],
            "uid": [str(uuid.UUID(int=n)) for n in range(3)],
            "area": ["0.5", "1.50", "2.500"],
            "day": ["2026-01-01", "2026-01-02", "2026-01-03"],
            "pk": [str(n) for n in Continent.objects.values_list("pk", flat=True)],
        }.items():
            some = [{"name": f"{n}", f"land__continent__{name}": texts[n]} for n in range(3)]
            Town.objects.bulk_upsert(given(kind, some), unique_fields=["name"], strategy=strategy)
            stored = Town.objects.order_by("name").values_list("land_id", flat=True)
            assert list(stored) == list(lands.values()), name
            Town.objects.all().delete()
        # What the field can't have is a row's error; and what no row can be of is unknown.
        for text, message in (("x", "an integer"), ("9" * 30, "")):
            some = [{"name": "0", "land__continent__number": text}]
            with pytest.raises(RowValueError, match=rf"row 0\b.*continent__number'.*{message}"):
                Town.objects.bulk_upsert(
                    given(kind, some), unique_fields=["name"], strategy=strategy
                )


def test_files_with_codes_are_sent_as_they_stand(codes, monkeypatch):
    """The server reads them; no value of theirs is Python's."""
    seen = []
    see = Rows._see
    monkeypatch.setattr(
        Rows, "_see", lambda self, block, pk: seen.append(len(block)) or see(self, block, pk)
    )
    City.objects.bulk_upsert(given("file", cities()), unique_fields=["name"])
    assert sum(seen) > MANY * 0.8


def test_updates_of_many_rows(codes, strategy):
    """bulk_update() finds keys of a file's rows so, too."""
    City.objects.bulk_create(City(name=f"C{n:05}") for n in range(MANY))
    file = given("file", cities())
    with CaptureQueriesContext(connection) as queries:
        updated = City.objects.bulk_update(
            file, ["country"], match_fields=["name"], strategy=strategy
        )
    assert updated == MANY
    if strategy == "copy":
        assert len(asked_for(queries.captured_queries)) == 2
    stored = City.objects.order_by("name").values_list("country__code", flat=True)
    assert list(stored) == [CODES[n % 500] for n in range(MANY)]
    with pytest.raises(RowValueError, match=r"line 2 \(row 0\), field 'country__code': .*'\?'"):
        City.objects.bulk_update(
            rows("name,country__code\nC00000,?\n"), ["country"], match_fields=["name"],
            strategy=strategy,
        )  # fmt: skip


# One meaning, however many rows -----------------------------------------------------------


@pytest.fixture
def labels(transactional_db):
    """A model whose rows have one value of each type, and one that points to it."""
    with isolate_apps("tests"):

        class Label(models.Model):
            text = models.CharField(max_length=5)
            fixed = models.CharField(max_length=5)  # char(5) in the table
            mood = models.CharField(max_length=5)  # an enum there
            number = models.SmallIntegerField()
            decimal = models.DecimalField(max_digits=6, decimal_places=2)
            moment = models.DateTimeField()
            address = models.GenericIPAddressField()
            bytes = models.BinaryField()
            document = models.JSONField()
            duration = models.DurationField()
            boolean = models.BooleanField()
            upper = UpperField(max_length=5)
            limited = models.DecimalField(max_digits=9, decimal_places=4)  # a domain there
            pair = models.CharField(max_length=9)  # a domain with a check

            class Meta:
                app_label = "tests"
                ordering = ["-text"]

        class Labelled(models.Model):
            name = models.CharField(max_length=5, unique=True)
            label = models.ForeignKey(Label, models.CASCADE)
            objects = BulkUpsertManager()

            class Meta:
                app_label = "tests"

        with tables(Label, Labelled), connection.cursor() as cursor:
            cursor.execute(
                "CREATE TYPE bulk_mood AS ENUM ('ok', 'bad');"
                "ALTER TABLE tests_label ALTER fixed TYPE char(5), "
                "ALTER mood TYPE bulk_mood USING mood::bulk_mood;"
                "CREATE DOMAIN bulk_limited AS numeric(5,2);"
                "CREATE DOMAIN bulk_pair AS varchar(5) CHECK (length(value) = 2);"
                "ALTER TABLE tests_label ALTER limited TYPE bulk_limited, "
                "ALTER pair TYPE bulk_pair"
            )
            Label.objects.create(
                text="x", fixed="x", mood="ok", number=7, decimal="1.50",
                moment=datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.timezone.utc),
                address="10.0.0.1", bytes=b"abc", document=5, boolean=True,
                duration=datetime.timedelta(hours=1), upper="x", limited="1.50", pair="ab",
            )  # fmt: skip
            yield Labelled
        with connection.cursor() as cursor:
            cursor.execute("DROP TYPE bulk_mood; DROP DOMAIN bulk_limited, bulk_pair")


#: What a row gives, of which field, and whether a row has it.
GIVEN = [
    ("text", "x", True), ("text", "x ", False), ("text", "X", False), ("text", "x" * 500, False),
    ("fixed", "x", True), ("fixed", "y", False), ("mood", "ok", True), ("mood", "bad", False),
    ("mood", "none", False), ("number", 7, True), ("number", "07", True), ("number", 8, False),
    ("number", "x", False), ("number", 10**9, False), ("decimal", "1.5", True),
    ("decimal", "1.504", False), ("decimal", "1.499", False), ("decimal", "1e400", False),
    ("moment", "2026-01-02T03:00:00Z", True), ("moment", "2026-01-02 04:00+01:00", True),
    ("moment", "2026-01-01 21:00", True), ("moment", "today", False),
    ("address", "10.0.0.1", True), ("address", "10.0.0.2", False), ("address", "ten", False),
    ("document", 5, True), ("document", 6, False), ("duration", "01:00:00", True),
    ("duration", "1", False), ("boolean", "True", True), ("upper", "x", True),
    ("upper", "y", False), ("bytes", b"abc", True), ("bytes", b"abd", False),
    ("limited", "1.5", True), ("limited", "1.499", False), ("pair", "ab", True),
    ("pair", "long", False), ("pair", "toolong", False),
]  # fmt: skip


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.filterwarnings("ignore:DateTimeField")
def test_roads_agree(labels, kind, strategy, inside):
    """A value finds the same key, or has the same error, whichever way its row travels."""
    objects = labels.objects
    for field, item, found in GIVEN:
        text = f"\\x{item.hex()}" if kind == "file" and isinstance(item, bytes) else item
        some = [{"name": "a", f"label__{field}": text}]

        def outcome(strategy, some=some):
            objects.all().delete()
            with transaction.atomic() if inside else nullcontext():
                try:
                    objects.bulk_upsert(
                        given(kind, some), unique_fields=["name"], strategy=strategy
                    )
                except RowValueError as error:
                    assert not objects.exists()  # and the transaction is usable
                    return error.index, error.field, error.line
                return objects.get().label_id

        got = outcome(strategy)
        assert got == outcome("copy"), (field, item)
        assert isinstance(got, int) if found else got[:2] == (0, f"label__{field}"), (field, item)
        result = objects.bulk_upsert(given(kind, some), unique_fields=["name"], on_error="collect")
        rejected = [each.field for each in result.rejected]
        assert rejected == [f"label__{field}"] * (not found), (field, item)


def test_documents_of_long_files(labels):
    """Of rows that are read, and of rows that are sent as they stand, JSON means the same."""
    some = [{"name": f"{n}", "label__document": 5 if n % 100 else 6} for n in range(6_000)]
    result = labels.objects.bulk_upsert(
        given("file", some), unique_fields=["name"], on_error="collect"
    )
    assert [each.index for each in result.rejected] == list(range(0, 6_000, 100))
    assert {each.value for each in result.rejected} == {"6"}


@isolate_apps("tests")
def test_a_key_that_is_null(strategy, kind):
    """A row that has the value, and no key, is none that can be pointed to."""

    class Numbered(models.Model):
        name = models.CharField(max_length=5)
        number = models.IntegerField(unique=True, null=True)

        class Meta:
            app_label = "tests"

    class Pointing(models.Model):
        key = models.IntegerField(unique=True)
        to = models.ForeignKey(Numbered, models.CASCADE, to_field="number", null=True)
        objects = BulkUpsertManager()

        class Meta:
            app_label = "tests"

    with connection.schema_editor() as editor:
        editor.create_model(Numbered)
        editor.create_model(Pointing)
    Numbered.objects.create(name="x")
    with pytest.raises(RowValueError, match=r"row 0\b.*no row of tests.Numbered has this name"):
        Pointing.objects.bulk_upsert(
            given(kind, [{"key": 1, "to__name": "x"}]), unique_fields=["key"], strategy=strategy
        )


def test_a_manager_that_gives_rows_several_times(strategy, kind, monkeypatch):
    """One key is one, however often a joining manager gives it; and of no rows there is none."""
    country = Country.objects.create(code="DE")
    City.objects.bulk_create(City(name=f"B{n}", country=country) for n in range(3))

    class Visited(models.Manager):
        def get_queryset(self):
            return super().get_queryset().filter(city__pk__gt=0)

    manager = Visited()
    manager.model = Country
    monkeypatch.setattr(Country._meta, "base_manager", manager)
    some = [{"name": "Berlin", "country__code": "DE"}]
    City.objects.bulk_upsert(given(kind, some), unique_fields=["name"], strategy=strategy)
    assert City.objects.get(name="Berlin").country_id == country.pk
    manager.get_queryset = lambda: models.QuerySet(Country).none()
    with pytest.raises(RowValueError, match=r"no row of tests\.Country has this code: 'DE'"):
        City.objects.bulk_upsert(given(kind, some), unique_fields=["name"], strategy=strategy)


def test_the_first_row_is_told(codes, kind, strategy):
    """Whichever column, and whatever is wrong with its value."""
    Country.objects.filter(code__in=CODES[:2]).update(name="same")
    Country.objects.filter(code=CODES[2]).update(name="one")
    some = [{"name": f"C{n}", "by_code__name": "one", "country__code": CODES[3]} for n in range(6)]
    some[1]["country__code"] = "??"
    some[3]["by_code__name"] = "none"
    some[2]["by_code__name"] = "same"
    words = {"unique_fields": ["name"], "strategy": strategy}
    if strategy == "copy":
        with pytest.raises(RowValueError, match=r"row 1\b.*'country__code'.*'\?\?'"):
            City.objects.bulk_upsert(given(kind, some), **words)
    some[1]["country__code"] = CODES[3]
    with pytest.raises(RowValueError, match=r"row 2\b.*'by_code__name'.*several"):
        City.objects.bulk_upsert(given(kind, some), **words)
    some[2]["by_code__name"] = "y" * 5_000
    with pytest.raises(RowValueError, match=r"row 2\b.*: 'y{60}\.\.' and 'none'$"):
        City.objects.bulk_upsert(given(kind, some), **words)


def test_mappings_with_different_keys(codes):
    """mixed_keys takes them beside mappings that give the key itself."""
    first = Country.objects.get(code=CODES[0])
    some = [
        {"name": "A", "country__code": CODES[1]},
        {"name": "B", "country": first.pk},
        {"name": "C"},
        {"name": "D", "country_id": first.pk},
        {"name": "E", "country__code": CODES[2]},
    ]
    result = City.objects.bulk_upsert(some, unique_fields=["name"], mixed_keys=True)
    assert counts(result) == (5, 0, 0, 0)
    assert list(City.objects.order_by("name").values_list("country__code", flat=True)) == [
        CODES[1], CODES[0], None, CODES[0], CODES[2],
    ]  # fmt: skip
    some[4]["country__code"] = "??"
    with pytest.raises(RowValueError, match=r"^row 4, field 'country__code': no row .*'\?\?'"):
        City.objects.bulk_upsert(some, unique_fields=["name"], mixed_keys=True)


def test_codes_of_several_rows_among_unknown_ones(strategy):
    """What is listed, and what is counted, are those that no row has."""
    Country.objects.bulk_create(Country(code=f"{n}", name=f"s{n // 2}") for n in range(10))
    names = ["u0", "u1", "u2", *(f"s{n}" for n in range(5)), *(f"v{n}" for n in range(9))]
    some = [{"name": f"C{n}", "country__name": name} for n, name in enumerate(names)]
    with pytest.raises(RowValueError, match=r": 'u0', 'u1', 'u2', 'v0', .*'v6' and 2 more$"):
        City.objects.bulk_upsert(some, unique_fields=["name"], strategy=strategy)


@isolate_apps("tests")
def test_texts_that_cannot_be_read_cost_few_queries(transactional_db, kind):
    """The first that the server can't read is found by halving."""

    class AddressField(models.CharField):
        def db_type(self, connection):
            return "macaddr"

    class Device(models.Model):
        address = AddressField(max_length=30)

        class Meta:
            app_label = "tests"

    class Plug(models.Model):
        name = models.CharField(max_length=50, unique=True)
        device = models.ForeignKey(Device, models.CASCADE)
        objects = BulkUpsertManager()

        class Meta:
            app_label = "tests"

    with tables(Device, Plug):
        Device.objects.create(address="08:00:2b:01:02:03")
        some = [{"name": "0", "device__address": "08-00-2b-01-02-03"}]
        some += [{"name": f"{n}", "device__address": f"bad {n}"} for n in range(1, 1_900)]
        with (
            CaptureQueriesContext(connection) as queries,
            pytest.raises(
                RowValueError,
                match=r"row 1\b.*'device__address': invalid input syntax for type macaddr",
            ),
        ):
            Plug.objects.bulk_upsert(given(kind, some), unique_fields=["name"])
        assert len(queries.captured_queries) < 60
        Plug.objects.bulk_upsert(given(kind, some[:1]), unique_fields=["name"])
        assert Plug.objects.get().device.address == "08:00:2b:01:02:03"
