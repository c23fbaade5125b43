"""Models with every kind of unique constraint and index that rows can be matched by."""

from __future__ import annotations

import django
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateRangeField, RangeOperators
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Collate, Lower, Now, Upper

from django_bulkupsert import BulkUpsertManager


class Account(models.Model):
    """Unique by an expression."""

    email = models.CharField(max_length=30)
    name = models.CharField(max_length=30, default="")
    visits = models.IntegerField(default=0)
    seen = models.DateTimeField(null=True)
    data = models.JSONField(default=dict)
    tags = ArrayField(models.CharField(max_length=10), default=list)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="account_email")]


class Offer(models.Model):
    """Unique among the rows that are not deleted."""

    sku = models.CharField(max_length=12)
    price = models.IntegerField(default=0)
    deleted = models.DateTimeField(null=True)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["sku"], name="offer_live", condition=Q(deleted__isnull=True)
            )
        ]


class Plan(models.Model):
    """Unique under several conditions, which hold values."""

    team = models.CharField(max_length=12)
    user = models.CharField(max_length=12, null=True)
    state = models.CharField(max_length=12, default="it's")
    level = models.IntegerField(default=1)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team"], name="plan_team", condition=Q(state="it's", level__gt=0)
            ),
            models.UniqueConstraint(fields=["team"], name="plan_old", condition=Q(state="100%")),
            models.UniqueConstraint(
                Upper("user"), F("level").desc(), name="plan_user", condition=~Q(state="100%")
            ),
        ]


class Covering(models.Model):
    """Unique indexes with all that an index can have besides."""

    a = models.CharField(max_length=12)
    b = models.CharField(max_length=12, default="")
    c = models.CharField(max_length=12, null=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["a"], name="covering_a", include=["value"]),
            models.UniqueConstraint(
                fields=["b"], name="covering_b", opclasses=["varchar_pattern_ops"]
            ),
            models.UniqueConstraint(
                OpClass(Lower("c"), name="text_pattern_ops").desc(), name="covering_c"
            ),
            models.UniqueConstraint(Collate("c", "C"), name="covering_collated"),
        ]


class Booking(models.Model):
    """No two bookings of one time."""

    during = DateRangeField()
    note = models.CharField(max_length=12, default="")

    objects = BulkUpsertManager()

    class Meta:
        constraints = [
            ExclusionConstraint(
                name="booking_during", expressions=[("during", RangeOperators.OVERLAPS)]
            ),
            ExclusionConstraint(
                name="booking_later",
                expressions=[("during", RangeOperators.ADJACENT_TO)],
                condition=Q(note="never"),
                deferrable=models.Deferrable.DEFERRED,
            ),
        ]


class UniqueIndex(models.Index):
    """An index that is unique, as some packages have it."""

    def create_sql(self, *args, **keywords):
        made = super().create_sql(*args, **keywords)
        made.template = made.template.replace("CREATE INDEX", "CREATE UNIQUE INDEX")
        return made


class Indexed(models.Model):
    a = models.IntegerField()
    b = models.IntegerField(default=0)
    c = models.IntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        indexes = [
            UniqueIndex(fields=["-a"], name="indexed_a"),
            UniqueIndex(fields=["b"], name="indexed_b", condition=Q(b__gt=0)),
            models.Index(fields=["c"], name="indexed_c"),
        ]


class Lead(models.Model):
    """Nothing but the primary key is unique."""

    name = models.CharField(max_length=20)
    city = models.CharField(max_length=20, null=True)
    score = models.IntegerField(default=0)
    touched = models.DateTimeField(auto_now=True)

    objects = BulkUpsertManager()


class Raw(models.TextField):
    """A column of any type, given as text."""

    def __init__(self, kind="text", **keywords):
        self.kind = kind
        super().__init__(**keywords)

    def deconstruct(self):
        name, path, args, keywords = super().deconstruct()
        return name, path, [self.kind, *args], keywords

    def db_type(self, connection):
        return self.kind


class Lying(models.Model):
    """Types whose equality is blind, or that have none."""

    key = models.IntegerField(unique=True)
    touched = models.DateTimeField(auto_now=True)
    json = Raw("json", null=True)
    xml = Raw("xml", null=True)
    point = Raw("point", null=True)
    box = Raw("box", null=True)
    circle = Raw("circle", null=True)
    lseg = Raw("lseg", null=True)
    path = Raw("path", null=True)
    polygon = Raw("polygon", null=True)
    numeric = Raw("numeric", null=True)
    interval = Raw("interval", null=True)
    real = Raw("real", null=True)
    jsons = Raw("json[]", null=True)

    objects = BulkUpsertManager()


class Thing(models.Model):
    """What the four ways to match are tried on, against a model of what they should do."""

    key = models.CharField(max_length=3, null=True)
    live = models.BooleanField(default=True)
    value = models.IntegerField(default=0)
    note = models.CharField(max_length=5, null=True)

    objects = BulkUpsertManager()

    class Meta:
        abstract = True


class ByField(Thing):
    class Meta:
        constraints = [models.UniqueConstraint(fields=["key"], name="thing_key")]


class ByCondition(Thing):
    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key"], name="thing_live", condition=Q(live=True))
        ]


class ByExpression(Thing):
    class Meta:
        constraints = [models.UniqueConstraint(Lower("key"), name="thing_lower")]


class ByNothing(Thing):
    pass


class LentKey(models.Model):
    """A primary key that nobody draws."""

    id = models.IntegerField(primary_key=True)
    code = models.CharField(max_length=9, null=True, unique=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()


class EmptyIsNullField(models.CharField):
    """Stores an empty text as NULL."""

    def get_prep_value(self, value):
        return super().get_prep_value(value) or None


class Extension(models.Model):
    name = models.CharField(max_length=9)
    number = EmptyIsNullField(max_length=9, null=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()


class Overlapping(models.Model):
    """One index holds what another holds, and some rows besides."""

    sku = models.CharField(max_length=9)
    gone = models.BooleanField(default=False)
    kind = models.CharField(max_length=9, default="")
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["sku"], name="over_live", condition=Q(gone=False)),
            models.UniqueConstraint(
                fields=["sku"], name="over_kind", condition=Q(gone=False, kind="x")
            ),
        ]


class Nickname(models.Model):
    """A key of one column or another."""

    id = models.IntegerField(primary_key=True)
    nick = models.CharField(max_length=9, null=True)
    email = models.CharField(max_length=9, default="")

    objects = BulkUpsertManager()

    class Meta:
        constraints = [models.UniqueConstraint(Coalesce("nick", "email"), name="nickname")]


class Coded(models.Model):
    """A text for a primary key, and another that may be missing."""

    id = models.CharField(max_length=9, primary_key=True)
    code = models.CharField(max_length=9, null=True, unique=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()


class Building(models.Model):
    name = models.CharField(max_length=9, default="")

    objects = BulkUpsertManager()


class Room(Building):
    during = DateRangeField(null=True)

    objects = BulkUpsertManager()

    class Meta:
        constraints = [
            ExclusionConstraint(
                name="room_during", expressions=[("during", RangeOperators.OVERLAPS)]
            )
        ]


class Amount(models.Model):
    """Keys that are spelled in several ways."""

    amount = models.DecimalField(max_digits=8, decimal_places=2, unique=True)
    value = models.IntegerField(default=0)

    objects = BulkUpsertManager()


if django.VERSION >= (5, 0):

    class Computed(models.Model):
        """Unique among rows that only the database can tell."""

        sku = models.CharField(max_length=9)
        quantity = models.IntegerField(default=0)
        live = models.GeneratedField(
            expression=Q(quantity__gt=0), output_field=models.BooleanField(), db_persist=True
        )

        objects = BulkUpsertManager()

        class Meta:
            constraints = [
                models.UniqueConstraint(
                    fields=["sku"], name="computed_live", condition=Q(live=True)
                )
            ]

    class Generated(models.Model):
        key = models.IntegerField(unique=True)
        price = models.IntegerField()
        gross = models.GeneratedField(
            expression=F("price") * 2, output_field=models.IntegerField(), db_persist=True
        )
        stamp = models.DateTimeField(db_default=Now())

        objects = BulkUpsertManager()

    class NullSafe(models.Model):
        """Two NULLs are the same, in a constraint and in a partial index."""

        a = models.IntegerField(null=True)
        b = models.IntegerField(null=True)
        live = models.BooleanField(default=True)
        value = models.IntegerField(default=0)

        objects = BulkUpsertManager()

        class Meta:
            constraints = [
                models.UniqueConstraint(fields=["a"], name="nullsafe_a", nulls_distinct=False),
                models.UniqueConstraint(
                    fields=["b"], name="nullsafe_b", nulls_distinct=False, condition=Q(live=True)
                ),
            ]
