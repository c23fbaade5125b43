"""Models of every shape that bulk_upsert takes."""

from __future__ import annotations

import datetime
import decimal
import uuid

import django
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres.fields import (
    ArrayField,
    BigIntegerRangeField,
    DateRangeField,
    DateTimeRangeField,
    DecimalRangeField,
    IntegerRangeField,
)
from django.contrib.postgres.search import SearchQueryField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from django_bulkupsert import BulkUpsertManager, BulkUpsertQuerySet

# Django names the condition of a CheckConstraint anew in 5.1.
CONDITION = "condition" if django.VERSION >= (5, 1) else "check"


class Product(models.Model):
    sku = models.CharField(max_length=12, unique=True)
    name = models.CharField(max_length=20, default="")
    stock = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)

    objects = BulkUpsertManager()


class ProductProxy(Product):
    objects = BulkUpsertManager()

    class Meta:
        proxy = True


class ShowroomProduct(Product):
    """Multi-table inheritance."""

    shelf = models.IntegerField()

    objects = BulkUpsertManager()


class Country(models.Model):
    code = models.CharField(max_length=2, unique=True)
    name = models.CharField(max_length=50, default="")

    objects = BulkUpsertManager()


class City(models.Model):
    name = models.CharField(max_length=50, unique=True)
    country = models.ForeignKey(Country, models.CASCADE, null=True)
    by_code = models.ForeignKey(
        Country, models.CASCADE, to_field="code", null=True, related_name="+", db_column="COUNTRY"
    )

    objects = BulkUpsertManager()


class Mayor(models.Model):
    """A primary key that is a relation."""

    city = models.OneToOneField(City, models.CASCADE, primary_key=True)
    name = models.CharField(max_length=50)

    objects = BulkUpsertManager()


class Tag(models.Model):
    """A generic relation."""

    label = models.CharField(max_length=20, unique=True)
    content_type = models.ForeignKey(ContentType, models.CASCADE, null=True)
    object_id = models.BigIntegerField(null=True)
    target = GenericForeignKey()

    objects = BulkUpsertManager()


class Code(models.Model):
    """A primary key of one's own."""

    code = models.CharField(max_length=10, primary_key=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()


class Token(models.Model):
    """A primary key that Python makes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=20, unique=True)
    uses = models.IntegerField(default=0)

    objects = BulkUpsertManager()


class Reading(models.Model):
    device = models.CharField(max_length=10)
    day = models.DateField()
    watts = models.FloatField(null=True)

    objects = BulkUpsertManager()

    class Meta:
        unique_together = [("device", "day")]


class Constrained(models.Model):
    a = models.IntegerField()
    b = models.IntegerField()
    c = models.IntegerField(null=True)
    d = models.IntegerField(null=True)
    e = models.CharField(max_length=5, null=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["a", "b"], name="plain"),
            models.UniqueConstraint(fields=["c"], name="partial", condition=Q(value__gt=0)),
            models.UniqueConstraint(
                fields=["d"], name="deferred", deferrable=models.Deferrable.DEFERRED
            ),
            models.UniqueConstraint(Lower("e"), name="expression"),
            models.CheckConstraint(**{CONDITION: Q(value__lt=1000)}, name="below_1000"),
        ]


class NullableKey(models.Model):
    code = models.CharField(max_length=10, null=True, unique=True)
    part = models.IntegerField(null=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()


class Odd(models.Model):
    """Names that have to be quoted."""

    key = models.IntegerField(unique=True, db_column="Key Column")
    percent = models.CharField(max_length=10, db_column="100% %s {x}")
    select = models.IntegerField(default=1)

    objects = BulkUpsertManager()

    class Meta:
        db_table = "Mixed Case, %d {table}"


class Hostile(models.Model):
    """Names that no one should give; the tests make the table."""

    id = models.IntegerField(primary_key=True, db_column='a"; --')
    text = models.TextField(db_column='é"%s"%%\n\'x')

    objects = BulkUpsertManager()

    class Meta:
        managed = False
        db_table = 'wei"rd; %s\n' + "é" * 10


class Elsewhere(models.Model):
    """A table in another schema; the tests make it."""

    key = models.CharField(max_length=10, unique=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        managed = False
        db_table = '"else where"."Table"'


class Partitioned(models.Model):
    """A partitioned table; the tests make it."""

    id = models.IntegerField(primary_key=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        managed = False
        db_table = "tests_partitioned"


class Legacy(models.Model):
    """A table whose types are not those that the model names; the tests make it."""

    id = models.IntegerField(primary_key=True)
    mood = models.CharField(max_length=20)

    objects = BulkUpsertManager()

    class Meta:
        managed = False
        db_table = "tests_legacy"


def ten() -> int:
    return 10


class Defaults(models.Model):
    key = models.IntegerField(unique=True)
    constant = models.CharField(max_length=10, default="plain")
    called = models.IntegerField(default=ten)
    empty = models.CharField(max_length=10)
    nothing = models.IntegerField(null=True)

    objects = BulkUpsertManager()


class Clocks(models.Model):
    key = models.IntegerField(unique=True)
    value = models.IntegerField(default=0)
    added = models.DateTimeField(auto_now_add=True)
    touched = models.DateTimeField(auto_now=True)
    touched_on = models.DateField(auto_now=True)
    touched_at = models.TimeField(auto_now=True)

    objects = BulkUpsertManager()


class Mood(models.TextChoices):
    GOOD = "good"
    BAD = "bad"


class Level(models.IntegerChoices):
    LOW = 1
    HIGH = 2


class SpacedField(models.CharField):
    """Keeps its text with spaces between the letters: the value in the table is another one."""

    def get_prep_value(self, value):
        value = super().get_prep_value(value)
        return None if value is None else " ".join(value)

    def from_db_value(self, value, expression, connection):
        return None if value is None else value.replace(" ", "")


class UpperField(models.CharField):
    """Wraps its placeholder, as a geometry's field does."""

    def get_placeholder(self, value, compiler, connection):
        return "upper(%s)"

    if django.VERSION >= (6, 1):

        def get_placeholder_sql(self, value, compiler, connection):
            if hasattr(value, "as_sql"):
                sql, params = compiler.compile(value)
                return f"upper({sql})", params
            return "upper(%s)", (value,)


class StampField(models.CharField):
    """Fills itself when it is saved."""

    def pre_save(self, model_instance, add):
        stamp = f"stamp {model_instance.key}"
        setattr(model_instance, self.attname, stamp)
        return stamp


class CodeField(models.IntegerField):
    """A primary key's type with a form of its own in Python."""

    def get_prep_value(self, value):
        return None if value is None else int(value.removeprefix("#"))

    def from_db_value(self, value, expression, connection):
        return None if value is None else f"#{value}"


class Custom(models.Model):
    key = models.IntegerField(unique=True)
    spaced = SpacedField(max_length=40, null=True)
    upper = UpperField(max_length=20, null=True)
    stamp = StampField(max_length=20)
    document = models.FileField(null=True)

    objects = BulkUpsertManager()


class CustomPk(models.Model):
    id = CodeField(primary_key=True)
    name = models.CharField(max_length=10, unique=True)

    objects = BulkUpsertManager()


class Listed(models.Model):
    """Fields whose values may be sent as they stand in a file."""

    key = models.IntegerField(unique=True)
    small = models.SmallIntegerField(default=0)
    positive = models.PositiveIntegerField(null=True)
    big = models.BigIntegerField(null=True)
    decimal = models.DecimalField(max_digits=6, decimal_places=2, null=True)
    whole = models.DecimalField(max_digits=4, decimal_places=0, default=0)
    float = models.FloatField(null=True)
    boolean = models.BooleanField(null=True)
    sure = models.BooleanField(default=False)
    date = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    time = models.TimeField(null=True)
    uuid = models.UUIDField(null=True)
    short = models.CharField(max_length=4, default="x")
    short_or_null = models.CharField(max_length=4, null=True)
    text = models.TextField(null=True)
    json = models.JSONField(null=True)
    document = models.JSONField(default=int)
    code = models.ForeignKey(Code, models.CASCADE, null=True, db_constraint=False)
    touched = models.DateTimeField(auto_now=True)

    objects = BulkUpsertManager()


def turn() -> str | None:
    """Return another text for each row, and sometimes none."""
    at = Sometimes.turns
    Sometimes.turns += 1
    return None if at % 3 == 2 else f'"{at}",\n'


class Sometimes(models.Model):
    """Defaults that are called for each row."""

    turns = 0

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    key = models.IntegerField(unique=True)
    text = models.TextField(null=True)
    turn = models.TextField(null=True, default=turn)
    coded = models.ForeignKey(Code, models.CASCADE, default="x", db_constraint=False)

    objects = BulkUpsertManager()


class Everything(models.Model):
    """Every field class that Django ships."""

    key = models.IntegerField(unique=True)
    big = models.BigIntegerField(null=True)
    binary = models.BinaryField(null=True)
    boolean = models.BooleanField(null=True)
    char = models.CharField(max_length=30, null=True)
    mood = models.CharField(max_length=10, choices=Mood.choices, null=True)
    date = models.DateField(null=True)
    datetime = models.DateTimeField(null=True)
    decimal = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    duration = models.DurationField(null=True)
    email = models.EmailField(null=True)
    file = models.FileField(null=True)
    file_path = models.FilePathField(null=True)
    float = models.FloatField(null=True)
    image_name = models.CharField(max_length=100, null=True)
    integer = models.IntegerField(null=True)
    level = models.SmallIntegerField(choices=Level.choices, null=True)
    ip = models.GenericIPAddressField(null=True)
    json = models.JSONField(null=True)
    json_encoded = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    positive = models.PositiveIntegerField(null=True)
    positive_big = models.PositiveBigIntegerField(null=True)
    positive_small = models.PositiveSmallIntegerField(null=True)
    slug = models.SlugField(null=True)
    small = models.SmallIntegerField(null=True)
    text = models.TextField(null=True)
    time = models.TimeField(null=True)
    url = models.URLField(null=True)
    uuid = models.UUIDField(null=True)
    relation = models.ForeignKey(Country, models.CASCADE, null=True)
    one = models.OneToOneField(Code, models.CASCADE, null=True)
    integers = ArrayField(models.IntegerField(), null=True)
    texts = ArrayField(models.CharField(max_length=20, null=True), null=True)
    nested = ArrayField(ArrayField(models.TextField()), null=True)
    moments = ArrayField(models.DateTimeField(), null=True)
    decimals = ArrayField(models.DecimalField(max_digits=20, decimal_places=6), size=3, null=True)
    int_range = IntegerRangeField(null=True)
    big_range = BigIntegerRangeField(null=True)
    decimal_range = DecimalRangeField(null=True)
    date_range = DateRangeField(null=True)
    moment_range = DateTimeRangeField(null=True)
    # Of keys of each type, which nobody has to have.
    to_integer = models.ForeignKey(
        Country, models.CASCADE, null=True, related_name="+", db_constraint=False
    )
    to_uuid = models.ForeignKey(
        Token, models.CASCADE, null=True, related_name="+", db_constraint=False
    )
    to_text = models.ForeignKey(
        Code, models.CASCADE, null=True, related_name="+", db_constraint=False
    )
    one_integer = models.OneToOneField(
        Country, models.CASCADE, null=True, related_name="+", db_constraint=False
    )
    one_uuid = models.OneToOneField(
        Token, models.CASCADE, null=True, related_name="+", db_constraint=False
    )
    one_text = models.OneToOneField(
        Code, models.CASCADE, null=True, related_name="+", db_constraint=False
    )

    objects = BulkUpsertManager()


class ByQuerySet(models.Model):
    """The queryset class with a manager of one's own."""

    key = models.IntegerField(unique=True)
    deleted = models.BooleanField(default=False)

    objects = BulkUpsertQuerySet.as_manager()


class PlainManager(models.Model):
    """A model without our methods."""

    key = models.IntegerField(unique=True)


if django.VERSION >= (5, 0):
    from django.db.models.functions import Now

    class DatabaseDefaults(models.Model):
        key = models.IntegerField(unique=True)
        number = models.IntegerField(db_default=7)
        moment = models.DateTimeField(db_default=Now())
        doubled = models.GeneratedField(
            expression=models.F("number") * 2,
            output_field=models.IntegerField(),
            db_persist=True,
        )

        objects = BulkUpsertManager()

    class NullsTogether(models.Model):
        """Two NULLs are the same key."""

        a = models.IntegerField(null=True)
        b = models.IntegerField(null=True)
        value = models.IntegerField(default=0)

        objects = BulkUpsertManager()

        class Meta:
            constraints = [
                models.UniqueConstraint(fields=["a", "b"], name="together", nulls_distinct=False)
            ]

    class DefaultPk(models.Model):
        """A primary key that the database makes."""

        id = models.UUIDField(primary_key=True, db_default=models.Func(function="gen_random_uuid"))
        name = models.CharField(max_length=10, null=True, unique=True)

        objects = BulkUpsertManager()


if django.VERSION >= (5, 2):

    class Composite(models.Model):
        pk = models.CompositePrimaryKey("tenant", "number")
        tenant = models.IntegerField()
        number = models.IntegerField()
        value = models.IntegerField(default=0)
        code = models.CharField(max_length=10, null=True, unique=True)

        objects = BulkUpsertManager()


NOON = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.timezone.utc)
PRICE = decimal.Decimal("9.95")


class CharField5(models.CharField):
    """A fixed-length text, which the server pads."""

    def db_type(self, connection):
        return "CHAR(5)"


class DomainField(models.CharField):
    """A domain over varchar(3); the tests make it."""

    def db_type(self, connection):
        return "three"


class UnknownTypes(models.Model):
    """Types to which no cast is known to be safe; the tests make the table."""

    id = models.IntegerField(primary_key=True)
    fixed = CharField5(max_length=5, null=True)
    domain = DomainField(max_length=99, null=True)
    preset = CharField5(max_length=5, default="ab")

    objects = BulkUpsertManager()

    class Meta:
        managed = False
        db_table = "tests_unknown"


class Searched(models.Model):
    """A type whose input says "syntax error" of what it can't read, which is not of class 22."""

    key = models.IntegerField(unique=True)
    query = SearchQueryField(null=True)

    objects = BulkUpsertManager()


class CustomChild(models.Model):
    """A primary key that is a relation to one with a form of its own."""

    parent = models.OneToOneField(CustomPk, models.CASCADE, primary_key=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()


class Daily(models.Model):
    """A clock as a part of the key."""

    user = models.IntegerField()
    day = models.DateField(auto_now_add=True)
    count = models.IntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        unique_together = [("user", "day")]


class Required(models.Model):
    """Columns that have to be given, of types without an empty value."""

    key = models.IntegerField(unique=True)
    amount = models.DecimalField(max_digits=8, decimal_places=2)
    day = models.DateField()
    country = models.ForeignKey(Country, models.CASCADE)
    note = models.CharField(max_length=20, default="none")

    objects = BulkUpsertManager()


class PresetUpper(models.Model):
    """Defaults that need SQL, that don't fit."""

    key = models.IntegerField(unique=True)
    upper = UpperField(max_length=20, default="abc", null=True)

    objects = BulkUpsertManager()


class BadDefault(models.Model):
    key = models.IntegerField(unique=True)
    short = models.CharField(max_length=2, default="too long")

    objects = BulkUpsertManager()


class Tagged(models.Model):
    label = models.CharField(max_length=10, unique=True)
    tags = models.ManyToManyField(Tag)

    objects = BulkUpsertManager()


class Reserved(models.Model):
    """A table named as the statement's own parts once were."""

    key = models.IntegerField(unique=True)

    objects = BulkUpsertManager()

    class Meta:
        db_table = "r"


class Always(models.Model):
    """GENERATED ALWAYS AS IDENTITY under another column's name; the tests make the table."""

    id = models.BigAutoField(primary_key=True, db_column="Number")
    name = models.CharField(max_length=10, unique=True)

    objects = BulkUpsertManager()

    class Meta:
        managed = False
        db_table = "tests_always"


if django.VERSION >= (5, 0):

    class BothDefaults(models.Model):
        key = models.IntegerField(unique=True)
        number = models.IntegerField(default=5, db_default=7)

        objects = BulkUpsertManager()


class Checked(models.Model):
    """A CHECK over columns that a row may leave out."""

    key = models.IntegerField(unique=True)
    low = models.IntegerField(default=0)
    high = models.IntegerField(default=0)
    name = models.CharField(max_length=10)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [
            models.CheckConstraint(**{CONDITION: Q(low__lte=F("high"))}, name="low_high"),
            models.CheckConstraint(**{CONDITION: ~Q(name="")}, name="named"),
        ]


class OnePerDay(models.Model):
    """A clock that is the whole key."""

    day = models.DateField(auto_now_add=True, unique=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()


class ByClock(models.Model):
    """A clock for a primary key."""

    day = models.DateField(auto_now_add=True, primary_key=True)

    objects = BulkUpsertManager()


class StockProxy(Product):
    """A proxy whose attribute is not what is stored."""

    class Meta:
        proxy = True

    @property
    def name(self):
        return self.__dict__["name"].upper()

    @name.setter
    def name(self, value):
        self.__dict__["name"] = value


class DailyAmount(models.Model):
    user = models.IntegerField()
    day = models.DateField(auto_now_add=True)
    count = models.IntegerField(default=0)
    amount = models.DecimalField(max_digits=8, decimal_places=2)

    objects = BulkUpsertManager()

    class Meta:
        unique_together = [("day", "user")]


if django.VERSION >= (5, 0):

    class DefaultKey(models.Model):
        """A key that the database may make, anew each time it is asked."""

        token = models.UUIDField(db_default=models.Func(function="gen_random_uuid"), unique=True)
        value = models.IntegerField(default=0)

        objects = BulkUpsertManager()

    class ArrayKey(models.Model):
        numbers = ArrayField(models.IntegerField(), null=True)

        objects = BulkUpsertManager()

        class Meta:
            constraints = [
                models.UniqueConstraint(fields=["numbers"], name="numbers", nulls_distinct=False)
            ]

    class LegacyDefaults(models.Model):
        """Database defaults over a table's own types; the tests make it."""

        id = models.IntegerField(primary_key=True)
        mood = models.CharField(max_length=9, db_default="ok")
        small = models.IntegerField(db_default=7)

        objects = BulkUpsertManager()

        class Meta:
            managed = False
            db_table = "tests_legacy_defaults"


class Place(models.Model):
    """The first of three levels, each with a table of its own."""

    code = models.CharField(max_length=10, unique=True, null=True)
    name = models.CharField(max_length=10, db_column="Place Name")
    visited = models.DateTimeField(auto_now=True)

    objects = BulkUpsertManager()


class Restaurant(Place):
    stars = models.IntegerField(default=0)
    country = models.ForeignKey(Country, models.SET_NULL, null=True)

    objects = BulkUpsertManager()


class Pizzeria(Restaurant):
    oven = models.CharField(max_length=10, default="wood")
    ovens = models.IntegerField(default=1)

    objects = BulkUpsertManager()


class Boat(models.Model):
    boat_id = models.AutoField(primary_key=True)
    draught = models.IntegerField(default=0)


class Van(models.Model):
    van_id = models.AutoField(primary_key=True)
    wheels = models.IntegerField(default=0)


class Duck(Boat, Van):
    """Two parents, and so a link that is not the primary key."""

    name = models.CharField(max_length=10, default="")

    objects = BulkUpsertManager()


class Licensed(Place):
    """A child that is unique by fields of its own."""

    number = models.CharField(max_length=10, unique=True)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [models.UniqueConstraint(Lower("number"), name="licensed_number")]


class Keyed(Boat):
    """A child that has a primary key beside the link to its parent."""

    key = models.AutoField(primary_key=True)
    boat = models.OneToOneField(Boat, models.CASCADE, parent_link=True)
    name = models.CharField(max_length=10)

    objects = BulkUpsertManager()


class Word(models.Model):
    """A primary key that may be the empty string."""

    word = models.CharField(max_length=10, primary_key=True)
    count = models.IntegerField(default=0)

    objects = BulkUpsertManager()


class Measure(models.Model):
    """Nothing unique to match by, and NULLs among it."""

    device = models.CharField(max_length=10, null=True)
    channel = models.IntegerField(null=True)
    value = models.FloatField(null=True)
    note = models.TextField(default="")

    objects = BulkUpsertManager()


class NosyField(models.CharField):
    """Asks the database before it gives its value."""

    def get_prep_value(self, value):
        return Country.objects.get(code=value).name if len(value) == 2 else value


class Nosy(models.Model):
    key = models.IntegerField(unique=True)
    value = NosyField(max_length=50)

    objects = BulkUpsertManager()


class Ticking(models.Model):
    """Clocks of both kinds beside each other."""

    value = models.IntegerField(default=0)
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)
    day = models.DateField(auto_now=True)

    objects = BulkUpsertManager()


from .conflict_models import *  # noqa: E402, F403 (models are found here)
from .trust_models import *  # noqa: E402, F403


class Runway(models.Model):
    """A table of OurAirports, by the names of its export."""

    airport_ref = models.IntegerField()
    airport_ident = models.CharField(max_length=8)
    length_ft = models.IntegerField(null=True)
    width_ft = models.IntegerField(null=True)
    surface = models.CharField(max_length=80)
    lighted = models.BooleanField()
    closed = models.BooleanField()
    le_ident = models.CharField(max_length=8)
    le_latitude_deg = models.FloatField(null=True)
    le_longitude_deg = models.FloatField(null=True)
    le_elevation_ft = models.IntegerField(null=True)
    le_heading = models.FloatField("le_heading_degT", null=True)
    le_displaced_threshold_ft = models.IntegerField(null=True)
    he_ident = models.CharField(max_length=8)
    he_latitude_deg = models.FloatField(null=True)
    he_longitude_deg = models.FloatField(null=True)
    he_elevation_ft = models.IntegerField(null=True)
    he_heading = models.FloatField("he_heading_degT", null=True)
    he_displaced_threshold_ft = models.IntegerField(null=True)

    objects = BulkUpsertManager()


class Tree(models.Model):
    """A foreign key to the model itself."""

    code = models.CharField(max_length=10, unique=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True)

    objects = BulkUpsertManager()
