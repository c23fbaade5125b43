"""Whose error it is: of a call's own statement, or of what the caller has it run on its way."""

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.models import F

from django_bulkupsert import Excluded
from tests.models import Place, Product, Restaurant

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

STATES = ["40001", "40P01"]


def fail(state, using="default"):
    """Fail as if another call's timing were at fault."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE 'a word' USING ERRCODE = '{state}'; END $$")


def upsert(rows, **words):
    stock = {"stock": F("stock") + Excluded("stock")}
    return Product.objects.bulk_upsert(rows, unique_fields=["sku"], update_fields=stock, **words)


def update(rows, **words):
    objects = [Product(sku=row["sku"], stock=F("stock") + row["stock"]) for row in GIVEN]
    if isinstance(rows, Rows):
        objects = Rows(objects, rows.work)
    return Product.objects.bulk_update(objects, ["stock"], match_fields=["sku"], **words)


class Rows(list):
    """Rows that can be walked again, and do something each time after the first one."""

    def __init__(self, rows, work):
        super().__init__(rows)
        self.work = work

    def __iter__(self):
        for number, row in enumerate(super().__iter__()):
            if number == 1:
                self.work()
            yield row


@pytest.fixture
def stored():
    """Two rows."""
    Product.objects.bulk_create(Product(sku=sku, stock=1) for sku in "ab")


def stocks():
    return dict(Product.objects.values_list("sku", "stock"))


GIVEN = [{"sku": sku, "stock": 5} for sku in "ab"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("call", [upsert, update])
@pytest.mark.parametrize("where", ["progress", "rows"])
def test_a_hook_that_fails(stored, strategy, call, state, where, caplog):
    """When a hook of on_commit() runs, all is committed, and is not done twice."""
    if where == "rows" and strategy != "copy":
        return  # there is no transaction yet when rows are walked
    ran = []

    def hook():
        ran.append(stocks())
        fail(state)

    def register(*_):
        transaction.on_commit(hook)

    rows = GIVEN if where == "progress" else Rows(GIVEN, register)
    progress = register if where == "progress" else None
    with pytest.raises(OperationalError, match="a word") as caught:
        call(rows, strategy=strategy, progress=progress)
    assert "tried" not in str(caught.value)
    assert stocks() == {"a": 6, "b": 6}
    assert ran == [{"a": 6, "b": 6}]
    assert caplog.records == []


def test_a_hook_that_fails_after_several_parts(stored, caplog):
    """The same of calls that are made of several."""
    calls = [
        lambda progress: Product.objects.bulk_upsert(
            [{"sku": "a", "stock": 2}, {"sku": "c"}],
            unique_fields=["sku"],
            mixed_keys=True,
            progress=progress,
        ),
        lambda progress: Restaurant.objects.bulk_upsert(
            [Restaurant(code="a", name="n")], unique_fields=["code"], progress=progress
        ),
        lambda progress: Product.objects.bulk_copy([{"sku": "d"}], progress=progress),
        lambda progress: Product.objects.bulk_upsert(
            [{"sku": "e"}], unique_fields=["sku"], on_error="collect", progress=progress
        ),
    ]
    for call in calls:
        ran = []

        def hook(ran=ran):
            ran.append(1)
            fail("40001")

        with pytest.raises(OperationalError, match="a word"):
            call(lambda *_: transaction.on_commit(hook))
        assert ran == [1]
    assert set(stocks()) == {"a", "b", "c", "d", "e"}
    assert Place.objects.get().name == "n"
    assert caplog.records == []


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("call", [upsert, update])
@pytest.mark.parametrize("using", ["default", "other"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_callback_that_fails(stored, strategy, call, state, using, inside, caplog):
    """What it raises stops the call, and nothing is written, nor tried again."""
    told = []

    def progress(*args):
        told.append(args)
        fail(state, using)

    with pytest.raises(OperationalError, match=r"^a word") as caught:
        if inside:
            with transaction.atomic(), transaction.atomic():
                call(GIVEN, strategy=strategy, progress=progress)
        else:
            call(GIVEN, strategy=strategy, progress=progress)
    assert "tried" not in str(caught.value)
    assert len(told) == 1
    assert stocks() == {"a": 1, "b": 1}
    assert caplog.records == []


@pytest.mark.parametrize("call", [upsert, update])
def test_a_call_within_a_call_that_fails(stored, strategy, call, caplog):
    """Its error is not that of the call around it, which is not tried again either."""
    walked = []

    def work():
        walked.append(1)
        with connections["other"].cursor() as cursor:
            cursor.execute("SET lock_timeout = '1ms'")
        Product.objects.using("other").bulk_upsert(
            [{"sku": "a", "stock": 3}], unique_fields=["sku"], retries=0
        )

    with transaction.atomic():
        Product.objects.select_for_update().get(sku="a")
        with pytest.raises(OperationalError, match="lock timeout") as caught:
            call(Rows(GIVEN, work), strategy=strategy)
    connections["other"].close()
    assert str(caught.value).count("nothing of it was written") == 1
    assert walked == [1]
    assert stocks() == {"a": 1, "b": 1}
    assert caplog.records == []


@pytest.mark.parametrize("call", [upsert, update])
def test_a_commit_that_fails_is_tried_again(stored, strategy, call, caplog):
    """That is one of the call's own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF nextval('tried') = 1 THEN RAISE 'x' USING ERRCODE = '40001'; END IF; "
            "RETURN NULL; END $$; CREATE SEQUENCE tried; "
            "CREATE CONSTRAINT TRIGGER once AFTER UPDATE ON tests_product "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION once()"
        )
    try:
        result = call(GIVEN, strategy=strategy, progress=lambda *_: None)
        assert result.retries == 1
        assert stocks() == {"a": 6, "b": 6}
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "DROP TRIGGER once ON tests_product; DROP FUNCTION once; DROP SEQUENCE tried"
            )
    assert len(caplog.records) == 1
