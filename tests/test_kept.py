"""Plans and statements are kept from call to call, and nothing of a call is kept with them."""

from __future__ import annotations

import datetime
import gc
import weakref
from decimal import Decimal
from itertools import permutations
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db.models import Case, CharField, F, Func, IntegerField, JSONField, Q, Value, When
from django.db.models.functions import (
    Coalesce,
    ExtractHour,
    Greatest,
    Lower,
    Now,
    Trim,
    TruncDate,
)
from django.utils import timezone

from django_bulkupsert import Excluded
from django_bulkupsert.plans import kept
from django_bulkupsert.plans.options import UpsertOptions
from django_bulkupsert.readers import MOST_SHAPES

from .conftest import run_threads
from .models import Everything, Product

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_kept():
    """Begin, and leave, without plans."""
    kept.forget()
    yield
    kept.forget()


def plans() -> list:
    return list(kept._kept.values())


def key(**options):
    return kept._key(Product, "default", UpsertOptions(**options))


def upsert(rows, **words):
    return Product.objects.bulk_upsert(rows, unique_fields=["sku"], **words)


def test_the_same_call_has_the_same_plan(kind, strategy):
    """The second call of an application makes no plan, and no SQL."""
    seen = set()
    for stock in (1, 2, 3):
        rows, words = kind(Product, [{"sku": "a", "stock": stock}, {"sku": "b", "stock": stock}])
        assert upsert(rows, strategy=strategy, **words).total == 2
        (plan,) = plans()
        seen.add(id(plan))
        assert set(Product.objects.values_list("sku", "stock")) == {("a", stock), ("b", stock)}
    assert len(seen) == 1
    (reader,) = plan.readers.values()
    texts = [each for each in reader._kept if isinstance(each, tuple)]
    assert len(texts) == (strategy == "unnest")


@pytest.mark.parametrize("count", [1, 2])
def test_values_of_one_call_are_not_in_the_next(count):
    """Texts, NULLs, clocks and defaults are each call's own."""
    for turn in range(3):
        before = datetime.datetime.now(datetime.timezone.utc)
        upsert([{"sku": f"{n}", "stock": turn, "price": turn or None} for n in range(count)])
        for product in Product.objects.all():
            assert (product.stock, product.price) == (turn, turn or None)
            assert product.updated >= before


@pytest.mark.parametrize("count", [1, 3])
def test_updates_are_kept_too(strategy, count):
    """A second update makes no plan; what a row held in the first is not in it."""
    products = [Product(sku=f"{i}", stock=1) for i in range(count)]
    Product.objects.bulk_upsert(products, unique_fields=["sku"])
    kept.forget()

    def update(objects=Product.objects):
        assert objects.bulk_update(products, ["stock"], strategy=strategy) == count
        return list(Product.objects.values_list("stock", flat=True).distinct())

    for stock in (5, 6):
        for product in products:
            product.stock = stock
        assert update() == [stock]
        (plan,) = plans()
        assert len([each for each in plan._reader._kept if isinstance(each, tuple)]) == (
            strategy == "unnest" or (strategy == "values" and count == 1)
        )
    if strategy == "unnest":
        return
    for product in products:
        product.stock = F("stock") + 1
    assert update() == [7]
    assert update() == [8]
    for product in products:
        product.stock = 3
    assert update() == [3]
    before = Product.objects.first().updated
    assert update() == [3]
    assert Product.objects.first().updated > before
    (plan,) = plans()
    assert update(Product.objects.filter(pk__gt=0)) == [3]  # whose plan is its own
    assert plans() == [plan]


def test_what_a_caller_holds_is_not_kept():
    """Neither what it passed to be called, nor the rows that its queryset has loaded."""

    class Progress:
        def __call__(self, *_):
            pass

    rows = [Product(sku="a")]
    calls = [
        lambda progress: upsert(rows, progress=progress),
        lambda progress: Product.objects.bulk_update(rows, ["name"], progress=progress),
        lambda progress: Product.objects.bulk_copy([{"sku": "b"}], progress=progress),
    ]
    for call in calls:
        progress = Progress()
        call(progress)
        held = weakref.ref(progress)
        del progress
        gc.collect()
        assert held() is None
    assert len(plans()) == 3
    loaded = Product.objects.order_by("sku")
    list(loaded)
    loaded.bulk_update(rows, ["stock"])
    assert plans()[-1].queryset._result_cache is None


def test_options_that_differ_have_plans_of_their_own():
    """What is equal to Python is not the same to a database."""
    assert key(skip_unchanged=True) != key(skip_unchanged=False)
    assert key(where=Q(stock=1)) == key(where=Q(stock=1))
    assert key(where=Q(stock=1)) != key(where=Q(stock=True))
    assert key(where=Q(price=Decimal("1.0"))) != key(where=Q(price=Decimal("1.00")))
    assert key(where=Q(stock=0.0)) != key(where=Q(stock=-0.0))
    assert key(where=Q(stock=1)) != key(where=~Q(stock=1))
    assert key(where=Q(a=1) | Q(b=2)) != key(where=Q(a=1) & Q(b=2))
    assert key(update_fields={"stock": F("stock") + Excluded("stock")}) == key(
        update_fields={"stock": F("stock") + Excluded("stock")}
    )
    assert key(update_fields={"stock": F("stock")}) != key(update_fields={"stock": F("price")})
    assert key(update_fields={"stock": F("stock")}) != key(
        update_fields={"stock": Excluded("stock")}
    )
    typed = {"stock": Coalesce("stock", Value(1, IntegerField()))}
    assert key(update_fields=typed) != key(update_fields={"stock": Coalesce("stock", Value(1))})
    assert key(update_fields=typed) is not None
    assert key(transform={"name": Now()}) == key(transform={"name": Now()})
    assert key(unique_fields=["sku"]) != key(unique_fields=["id"])
    cases = [Case(When(Q(stock__gt=1), then=Value(n)), default=F("stock")) for n in (1, 1, 2)]
    first, same, other = (key(update_fields={"stock": case}) for case in cases)
    assert first == same != other
    zones = [ExtractHour("updated", tzinfo=ZoneInfo(n)) for n in ("UTC", "UTC", "Asia/Tokyo")]
    first, same, other = (key(update_fields={"stock": each}) for each in zones)
    assert first == same != other


def test_expressions_that_were_used_elsewhere():
    """What Django keeps of itself in an expression is no part of what it means."""
    for make in (
        lambda: F("stock") + Excluded("stock"),
        lambda: Greatest(F("stock"), Value(1)),
        lambda: Coalesce(F("stock"), Value(1), output_field=IntegerField()),
    ):
        used = make()
        assert hash(used) == hash(used)
        assert used.identity  # which is kept in it
        list(Product.objects.annotate(x=Coalesce("stock", Value(1))).order_by("x"))
        assert key(update_fields={"stock": used}) == key(update_fields={"stock": make()})
        assert key(update_fields={"stock": used}) is not None
    shared = Trim(Lower("sku"))
    list(Product.objects.annotate(x=shared).order_by(shared))
    assert key(transform={"sku": shared}) == key(transform={"sku": Trim(Lower("sku"))})


def test_what_cannot_be_compared_is_not_kept():
    """A subquery, or an object of the caller's, is looked at in each call."""
    assert key(where=Q(stock__in=Product.objects.values("stock"))) is None
    assert key(update_fields={"sku"}) is None
    upsert([{"sku": "a"}], where=Q(pk__in={1}))
    assert plans() == []


class Remembered(Func):
    """An expression of one's own, whose SQL is another one at another time."""

    held = ["one"]
    template = "%(function)s"
    output_field = CharField()

    def as_sql(self, compiler, connection, **_):
        """Return the value of the moment."""
        return "%s", list(self.held)


@pytest.mark.parametrize("count", [1, 3])
def test_expressions_of_ones_own_are_not_kept(count, strategy):
    """What they mean may be another thing in each call: whose call it is, say."""
    rows = [{"sku": f"{i}", "stock": i} for i in range(count)]
    upsert(rows)
    kept.forget()
    for name in ("one", "two"):
        Remembered.held[:] = [name]
        upsert(rows, update_fields={"name": Remembered()}, strategy=strategy)
        assert set(Product.objects.values_list("name", flat=True)) == {name}
        same = Q(name=Coalesce(Remembered(), Value("")))
        found = Product.objects.bulk_update(
            [Product(pk=each.pk, stock=7) for each in Product.objects.all()],
            ["stock"],
            where=same,
            strategy=strategy,
        )
        assert found == count
    assert plans() == []


def test_expressions_that_change_later():
    """A plan is told by what its expressions were, and is made of these."""
    upsert([{"sku": "a", "stock": 1}])
    kept.forget()
    value = Value(1)
    for number in (1, 2):
        value.value = number
        upsert([{"sku": "a", "stock": 9}], update_fields={"stock": value})
        assert Product.objects.get().stock == number
    Product.objects.all().delete()

    Everything.objects.bulk_create(Everything(key=i, json={"k": i}, text="") for i in (1, 2))
    given = {"k": 1}
    one, both = [{"key": 1, "text": "x"}], [{"key": i, "text": "y"} for i in (1, 2)]

    def told(rows, **words):
        result = Everything.objects.bulk_upsert(rows, unique_fields=["key"], **words)
        return result.updated, result.skipped

    assert told(one, where=Q(json__contains=given)) == (1, 0)
    given["k"] = 2
    assert told(both, where=Q(json__contains={"k": 1})) == (1, 1)
    assert Everything.objects.get(text="y").key == 1

    value = Value({"n": 1}, JSONField())
    assert told(one, update_fields={"json": value}) == (1, 0)
    value.value["n"] = 2
    assert told(both, update_fields={"json": Value({"n": 1}, JSONField())})[1] == 0
    assert {each.json["n"] for each in Everything.objects.all()} == {1}


@pytest.mark.parametrize("count", [1, 3])
def test_time_zones_of_the_moment(count):
    """A date is that of the time zone that is active in the call, not in the first one."""
    at = datetime.datetime(2026, 5, 1, 20, tzinfo=datetime.timezone.utc)
    rows = [{"key": i, "datetime": at} for i in range(count)]
    later = {"where": Q(datetime__date=datetime.date(2026, 5, 2))}
    assigned = {"date": TruncDate("datetime"), "integer": ExtractHour(Excluded("datetime"))}

    def upserted(**words):
        return Everything.objects.bulk_upsert(rows, unique_fields=["key"], **words).updated

    for zone, day, hour in (("UTC", 1, 20), ("Asia/Tokyo", 2, 5), ("UTC", 1, 20)):
        Everything.objects.all().delete()
        upserted()
        with timezone.override(zone):
            assert upserted(update_fields=assigned) == count
            for each in Everything.objects.all():
                assert (each.date, each.integer) == (datetime.date(2026, 5, day), hour)
            matched = count if day == 2 else 0
            assert upserted(**later, skip_unchanged=False) == matched
            every = list(Everything.objects.all())
            assert Everything.objects.bulk_update(every, ["text"], **later) == matched


def test_a_list_that_changes_later():
    """The caller's list may change between calls."""
    names = ["stock"]
    upsert([{"sku": "a", "stock": 1, "name": "a"}], update_fields=names)
    names.append("name")
    upsert([{"sku": "a", "stock": 2, "name": "b"}], update_fields=names)
    assert Product.objects.get().name == "b"
    upsert([{"sku": "a", "stock": 3, "name": "c"}], update_fields=["stock"])
    product = Product.objects.get()
    assert (product.name, product.stock) == ("b", 3)


def test_shapes_of_rows_share_a_plan():
    """Mappings with other keys, in another order, and instances: each has its own reader."""
    upsert([{"sku": "a", "stock": 1}])
    upsert([{"stock": 2, "sku": "a"}])
    assert Product.objects.get().stock == 2
    upsert([{"sku": "a", "name": "n"}])
    upsert([Product(sku="a", stock=4, name="x")])
    product = Product.objects.get()
    assert (product.stock, product.name) == (4, "x")
    (plan,) = plans()
    assert len(plan.readers) == 4


def test_many_shapes_and_many_plans_are_forgotten():
    """Memory stays bounded, whatever an application does."""
    for number in range(kept.MOST_PLANS + 10):
        upsert([], where=Q(stock=number))
    assert len(plans()) == kept.MOST_PLANS
    names = ["sku", "stock", "name", "price", "id"]
    for some in list(permutations(names))[: MOST_SHAPES + 5]:
        values = {"sku": "a", "stock": 1, "name": "n", "price": 1, "id": 1}
        upsert([{name: values[name] for name in some}])
    assert len(plans()[-1].readers) <= MOST_SHAPES


def test_statements_do_not_multiply():
    """Which columns hold a NULL is no shape, but for those that rows are matched by."""
    everything = [Everything(key=i) for i in range(3)]
    Everything.objects.bulk_upsert(everything, unique_fields=["key"])
    kept.forget()
    names = ["text", "date", "uuid", "json", "float"]
    for chosen in range(2 ** len(names)):
        for name, wanted in zip(names, f"{chosen:05b}", strict=True):
            value = {"text": "a", "date": datetime.date.today(), "uuid": UUID(int=1)}.get(name, 1)
            for each in everything:
                setattr(each, name, value if wanted == "1" else None)
        Everything.objects.bulk_update(everything, names)
        rows = [{"key": each.key, **{n: getattr(each, n) for n in names}} for each in everything]
        Everything.objects.bulk_upsert(rows, match_fields=["key"])
    update, upsert = plans()
    readers = [update._reader, *upsert.readers.values()]
    for reader in readers:
        assert len([each for each in reader._kept if isinstance(each, tuple)]) == 1


def test_a_call_within_a_call():
    """A generator that makes the same call has a plan of its own."""

    def rows():
        yield {"sku": "a", "stock": 1}
        upsert([{"sku": "inner", "stock": 5}])
        yield {"sku": "b", "stock": 2}

    assert upsert(rows()).created == 2
    assert dict(Product.objects.values_list("sku", "stock")) == {"a": 1, "b": 2, "inner": 5}


def test_a_call_that_fails_leaves_nothing_behind():
    """The next call is not the worse for it."""
    upsert([{"sku": "a", "stock": 1}])
    with pytest.raises(ValueError, match="row 1"):
        upsert([{"sku": "a", "stock": 1}, {"sku": "b", "stock": "x"}])
    assert plans() == []
    assert upsert([{"sku": "a", "stock": 2}]).updated == 1


@pytest.mark.django_db(transaction=True)
def test_threads_at_once():
    """Calls of several threads never share a plan."""

    def writer(number):
        def work():
            for turn in range(20):
                upsert([{"sku": f"{number}-{i}", "stock": turn} for i in range(number)])

        return work

    assert run_threads(*(writer(number) for number in range(1, 5))) == []
    assert Product.objects.filter(stock=19).count() == 10
