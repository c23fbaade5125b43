"""bulk_copy: COPY straight into the table."""

from __future__ import annotations

import _thread
import datetime
import pickle
import uuid

import django
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Now, Upper

from django_bulkupsert import (
    BulkUpsertError,
    DeferredConstraintError,
    OptionError,
    RowConstraintError,
    RowExpressionError,
    RowFieldsError,
    RowValueError,
    UnknownFieldError,
    UnsavedRelatedError,
    UnsupportedModel,
)
from django_bulkupsert.chunks import Chunk
from django_bulkupsert.relations import Loading

from .conftest import wait_for_threads
from .models import (
    City,
    Code,
    Constrained,
    Country,
    Everything,
    Odd,
    Partitioned,
    Product,
    ShowroomProduct,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("size", [1, 7, 5_000])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_rows_of_each_kind(kind, shape, size, count):
    """Instances, mappings and sequences, from a list or a generator, in chunks of any size."""
    values = [{"sku": f"{i}", "name": "é\\\t\n", "price": i or None} for i in range(count)]
    rows, words = kind(Product, values or [{"sku": "a"}])
    rows = rows[: len(values)]
    before = datetime.datetime.now(datetime.timezone.utc)
    assert Product.objects.bulk_copy(shape(rows), batch_size=size, **words) == count
    assert list(Product.objects.order_by("id").values("sku", "name", "price")) == values
    assert all(p.created >= before and p.updated >= before for p in Product.objects.all())
    assert all(p.stock == 0 for p in Product.objects.all())


def test_many_rows_are_sent_while_others_are_encoded(kind, shape):
    """Several chunks; the sequence goes on after them."""
    rows, words = kind(Product, [{"sku": f"{i}", "stock": i} for i in range(12_001)])
    assert Product.objects.bulk_copy(shape(rows), **words) == 12_001
    assert Product.objects.filter(stock=12_000, sku="12000").exists()
    assert Product.objects.create(sku="more").pk not in range(12_000)


def test_instances_stay_as_they_are():
    """COPY doesn't tell primary keys; and none is held."""
    rows = [Product(sku="a"), Product(sku="b", pk=77)]
    assert Product.objects.bulk_copy(rows) == 2
    assert rows[0].pk is None
    assert rows[0]._state.adding
    assert Product.objects.get(sku="b").pk == 77
    assert Product.objects.get(sku="a").pk is not None


def test_primary_keys_given_and_not(kind):
    """Rows with and without one, mixed in any way: the others draw theirs."""
    values = [{"id": 1_000 + i if i % 3 else None, "sku": f"{i}"} for i in range(30)]
    rows, words = kind(Product, values)
    assert Product.objects.bulk_copy(rows, batch_size=8, **words) == 30
    for each in values:
        pk = Product.objects.get(sku=each["sku"]).pk
        assert pk == each["id"] if each["id"] else pk is not None


def test_relations(kind):
    """A foreign key is given as the object."""
    country = Country.objects.create(code="x")
    rows, words = kind(City, [{"name": "a", "country": country}, {"name": "b", "country": country}])
    assert City.objects.bulk_copy(rows, **words) == 2
    assert set(City.objects.values_list("country_id", flat=True)) == {country.pk}


def test_a_key_that_is_there(kind, shape):
    """The error names the row and the constraint; nothing is written, and no value is told."""
    Product.objects.create(sku="secret")
    rows, words = kind(Product, [{"sku": f"{i}"} for i in range(10)] + [{"sku": "secret"}])
    with pytest.raises(RowConstraintError, match=r"row 10: duplicate key .*_sku.*key") as caught:
        Product.objects.bulk_copy(shape(rows), batch_size=4, **words)
    assert "secret" not in str(caught.value)
    assert caught.value.index == 10
    assert isinstance(caught.value, IntegrityError)
    assert Product.objects.count() == 1


def test_a_key_twice(kind):
    """Two rows of the input."""
    rows, words = kind(Product, [{"sku": "a"}, {"sku": "b"}, {"sku": "a"}])
    with pytest.raises(RowConstraintError, match="row 2: duplicate key"):
        Product.objects.bulk_copy(rows, **words)
    assert not Product.objects.exists()


def test_values_that_do_not_fit(kind):
    """What can be told before is; what the server says names the row and the field too."""
    rows, words = kind(Product, [{"sku": "a"}, {"sku": "x" * 13}])
    with pytest.raises(RowValueError, match="row 1, field 'sku': text of 13 characters"):
        Product.objects.bulk_copy(rows, **words)
    rows, words = kind(Product, [{"sku": "a", "name": None}])
    with pytest.raises(RowConstraintError, match="row 0, field 'name': null value in column"):
        Product.objects.bulk_copy(rows, **words)
    with pytest.raises(RowConstraintError, match="row 0, field 'key': null value"):
        Everything.objects.bulk_copy([{"text": "no key"}])
    with pytest.raises(RowFieldsError, match="row 1: lacks 'name'"):
        Product.objects.bulk_copy([{"sku": "a", "name": "b"}, {"sku": "b"}])
    assert not Product.objects.exists()


def test_what_the_server_cannot_read(tables):
    """A type that the model does not know: the server's word, by row and field."""
    tables("ALTER TABLE tests_product ALTER COLUMN name DROP DEFAULT")
    tables("ALTER TABLE tests_product ALTER COLUMN name TYPE integer USING 0")
    with pytest.raises(RowValueError, match="row 1, field 'name': invalid input syntax") as caught:
        Product.objects.bulk_copy([{"sku": "a", "name": "1"}, {"sku": "b", "name": "hidden"}])
    assert "hidden" not in str(caught.value)


def test_a_check(tables):
    """A check names the row and the constraint."""
    tables("ALTER TABLE tests_product ADD CONSTRAINT stock_check CHECK (stock < 5)")
    rows = [{"sku": f"{i}", "stock": i} for i in range(8)]
    with pytest.raises(RowConstraintError, match=r'row 5: .*"stock_check"'):
        Product.objects.bulk_copy(rows)


def test_the_transaction_stays_usable():
    """After an error, within the caller's transaction."""
    with transaction.atomic():
        Product.objects.create(sku="a")
        with pytest.raises(RowConstraintError):
            Product.objects.bulk_copy([{"sku": "a"}])
        assert Product.objects.count() == 1


def test_expressions_are_refused(kind):
    """COPY carries values; the error says which row, and what to call instead."""
    rows, words = kind(Product, [{"sku": "a"}, {"sku": Upper(Value("b"))}])
    with pytest.raises(RowExpressionError, match=r"row 1, field 'sku': .* bulk_upsert\(\) takes"):
        Product.objects.bulk_copy(rows, **words)
    # What no row that is inserted can hold is refused in the words of bulk_upsert().
    for method in (Product.objects.bulk_copy, Product.objects.bulk_upsert):
        with pytest.raises(RowValueError, match="reads a column"):
            method([{"sku": F("name")}])
    with pytest.raises(RowExpressionError):
        Everything.objects.bulk_copy([{"key": 1, "text": Now()}])
    assert not Product.objects.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"batch_size": 0}, "Batch size must be a positive integer. Got 0."),
        ({"batch_size": True}, "Batch size must be"),
        ({"fields": []}, "fields is empty"),
        ({"fields": ["sku", "nome"]}, "did you mean name"),
        ({"progress": 5}, "progress takes a callable"),
    ],
)
def test_options_that_cannot_be_taken(words, message):
    """Before any row is read."""
    rows = iter([("a",)])
    with pytest.raises((OptionError, UnknownFieldError), match=message):
        Product.objects.bulk_copy(rows, **words)
    assert next(rows)


def test_rows_that_cannot_be_taken():
    """The errors are those of bulk_upsert."""
    with pytest.raises(OptionError, match="rows is an iterable"):
        Product.objects.bulk_copy({"sku": "a"})
    with pytest.raises(OptionError, match="fields= names what sequences hold"):
        Product.objects.bulk_copy([{"sku": "a"}], fields=["sku"])
    assert not Product.objects.exists()


def test_several_tables():
    """COPY fills one table."""
    with pytest.raises(UnsupportedModel, match=r"several tables.*bulk_upsert\(\)"):
        ShowroomProduct.objects.bulk_copy([ShowroomProduct(sku="a", shelf=1)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("VIEW", r"is a view, which .*; bulk_upsert\(\) inserts there$"),
        ("MATERIALIZED VIEW", "is a materialized view, which nothing but a refresh fills$"),
    ],
)
def test_views_are_refused(tables, make, message):
    """With the reason, and what to call instead, before a row is read."""
    tables("ALTER TABLE tests_product RENAME TO hidden_product")
    tables(f"CREATE {make} tests_product AS SELECT * FROM hidden_product")
    rows = iter([{"sku": "a"}])
    with pytest.raises(UnsupportedModel, match=message):
        Product.objects.bulk_copy(rows)
    assert next(rows)


def test_rules_are_refused(tables):
    """COPY would go past a rule ON INSERT, unlike what Django's own insert does."""
    tables("CREATE RULE swallow AS ON INSERT TO tests_code DO INSTEAD NOTHING")
    rows = iter([{"code": "a"}])
    with pytest.raises(UnsupportedModel, match=r"tests\.Code has a rule ON INSERT, which COPY"):
        Code.objects.bulk_copy(rows)
    assert next(rows)
    tables("ALTER TABLE tests_code DISABLE RULE swallow")
    tables("CREATE RULE other AS ON DELETE TO tests_code DO INSTEAD NOTHING")
    assert Code.objects.bulk_copy([{"code": "a"}]) == 1
    assert Code.objects.exists()


@pytest.mark.parametrize("size", [2, None])
def test_rows_that_a_trigger_drops_are_not_counted(tables, size, kind, shape):
    """The count is of rows that were written."""
    tables(
        "CREATE FUNCTION choose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.stock < 3 THEN RETURN NULL; END IF; RETURN NEW; END $$"
    )
    tables(
        "CREATE TRIGGER choose BEFORE INSERT ON tests_product "
        "FOR EACH ROW EXECUTE FUNCTION choose()"
    )
    rows, words = kind(
        Product, [{"id": i if i % 2 else None, "sku": f"{i}", "stock": i} for i in range(10)]
    )
    told = []
    copied = Product.objects.bulk_copy(
        shape(rows), batch_size=size, progress=lambda done, _: told.append(done), **words
    )
    assert (copied, Product.objects.count(), told[-1]) == (7, 7, 10)


def test_an_unsaved_related_object(kind):
    """The error names the method that was called."""
    rows, words = kind(City, [{"name": "Berlin", "country": Country(code="de")}])
    with pytest.raises(UnsavedRelatedError, match=r"^row 0, field 'country': bulk_copy\(\) proh"):
        City.objects.bulk_copy(rows, **words)
    with pytest.raises(UnsavedRelatedError, match=r"^row 0, field 'country': bulk_upsert\(\) proh"):
        City.objects.bulk_upsert(rows, **words)


# Constraints that are checked at the end -------------------------------------------------------


@pytest.fixture
def left(transactional_db):
    """Drops, after the test, what it made outside of a transaction."""
    made: list[str] = []
    yield made
    with connection.cursor() as cursor:
        for each in made:
            cursor.execute(f"DROP {each} CASCADE")


@pytest.mark.django_db(transaction=True)
class TestDeferred:
    def test_a_foreign_key(self, kind, shape):
        """Its field is named, before it is said that all is written; and nothing is."""
        country = Country.objects.create(code="de")
        rows, words = kind(
            City,
            [{"name": "a", "country_id": country.pk}, {"name": "b", "country_id": 999_999}],
        )
        told = []
        with pytest.raises(
            DeferredConstraintError, match=r"^some row, field 'country': .*foreign key constraint"
        ) as caught:
            City.objects.bulk_copy(shape(rows), progress=lambda done, _: told.append(done), **words)
        assert isinstance(caught.value, IntegrityError)
        assert caught.value.fields == ("country",)
        assert caught.value.constraint in caught.value.reason
        assert isinstance(caught.value.__cause__, IntegrityError)
        assert "999" not in str(caught.value)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.fields) == (str(caught.value), ("country",))
        assert told == []
        assert not City.objects.exists()
        assert City.objects.bulk_copy([{"name": "a", "country": country}]) == 1

    def test_a_column_that_is_called_otherwise(self):
        """The field's name is told, not the column's."""
        with pytest.raises(DeferredConstraintError) as caught:
            City.objects.bulk_copy([{"name": "a", "by_code_id": "xx"}])
        assert caught.value.fields == ("by_code",)

    def test_a_deferred_unique_constraint(self):
        """A key that stands twice, or is there."""
        with pytest.raises(DeferredConstraintError, match=r"""field 'd': dup.* "deferred"$"""):
            Constrained.objects.bulk_copy([{"a": 1, "b": 1, "d": 5}, {"a": 2, "b": 2, "d": 5}])
        assert not Constrained.objects.exists()

    def test_within_a_transaction(self):
        """It is the caller's, who may write the other row afterwards."""
        with transaction.atomic():
            assert City.objects.bulk_copy([{"name": "a", "country_id": 77}]) == 1
            Country.objects.create(pk=77, code="de")
        with pytest.raises(IntegrityError) as caught, transaction.atomic():
            assert City.objects.bulk_copy([{"name": "b", "country_id": 78}]) == 1
        assert not isinstance(caught.value, BulkUpsertError)

    def test_rows_that_point_to_later_ones(self, left):
        """What is right when all rows are there is no error."""
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE tests_partitioned (id int PRIMARY KEY, value int REFERENCES "
                "tests_partitioned DEFERRABLE INITIALLY DEFERRED)"
            )
            left.append("TABLE tests_partitioned")
        rows = [{"id": i, "value": (i + 1) % 10} for i in range(10)]
        assert Partitioned.objects.bulk_copy(rows, batch_size=3) == 10

    def test_a_partition(self, left):
        """The constraint of a partition is its table's."""
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE tests_partitioned (id int, value bigint REFERENCES tests_country "
                "DEFERRABLE INITIALLY DEFERRED) PARTITION BY RANGE (id)"
            )
            left.append("TABLE tests_partitioned")
            cursor.execute(
                "CREATE TABLE part PARTITION OF tests_partitioned FOR VALUES FROM (0) TO (9)"
            )
        with pytest.raises(DeferredConstraintError, match="field 'value': insert"):
            Partitioned.objects.bulk_copy([{"id": 1, "value": 5}])

    def test_a_triggers_own(self, left):
        """What a trigger wrote elsewhere is Django's error, and told no field of the model's."""
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE log (country bigint REFERENCES tests_country "
                "DEFERRABLE INITIALLY DEFERRED)"
            )
            cursor.execute(
                "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "INSERT INTO log VALUES (-1); RETURN NEW; END $$"
            )
            cursor.execute(
                "CREATE TRIGGER note AFTER INSERT ON tests_product "
                "FOR EACH ROW EXECUTE FUNCTION note()"
            )
            left += ["FUNCTION note", "TABLE log"]
        told = []
        with pytest.raises(IntegrityError, match="log_country_fkey") as caught:
            Product.objects.bulk_copy([{"sku": "a"}], progress=lambda *_: told.append(1))
        assert not isinstance(caught.value, BulkUpsertError)
        assert told == []
        assert not Product.objects.exists()

    def test_what_it_costs(self, left, django_assert_num_queries):
        """A table without triggers is not asked."""
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE tests_partitioned (id int PRIMARY KEY, value int)")
            left.append("TABLE tests_partitioned")
        with django_assert_num_queries(4):  # the table, BEGIN, COPY, COMMIT
            Partitioned.objects.bulk_copy([{"id": 1}])
        with django_assert_num_queries(5):
            City.objects.bulk_copy([{"name": "a"}])


def test_a_view_that_takes_rows(tables):
    """A trigger INSTEAD OF INSERT takes what COPY sends."""
    tables("ALTER TABLE tests_product RENAME TO hidden_product")
    tables("CREATE VIEW tests_product AS SELECT * FROM hidden_product")
    tables(
        "CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO "
        "hidden_product (sku, name, stock, created, updated) VALUES (NEW.sku, NEW.name, "
        "NEW.stock, NEW.created, NEW.updated); RETURN NEW; END $$"
    )
    tables(
        "CREATE TRIGGER take INSTEAD OF INSERT ON tests_product "
        "FOR EACH ROW EXECUTE FUNCTION take()"
    )
    assert Product.objects.bulk_copy([{"sku": "a"}, {"sku": "b"}]) == 2
    assert Product.objects.count() == 2


def test_row_level_security(tables):
    """COPY knows no policies; the error says so."""
    tables("ALTER TABLE tests_product ENABLE ROW LEVEL SECURITY")
    assert Product.objects.bulk_copy([{"sku": "owner"}]) == 1  # it does not bind the owner
    tables("ALTER TABLE tests_product FORCE ROW LEVEL SECURITY")
    role = f"reader_{uuid.uuid4().hex[:8]}"
    tables(f"CREATE ROLE {role}")
    tables(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    tables(f"SET LOCAL ROLE {role}")
    with pytest.raises(UnsupportedModel, match=r"row-level security.*bulk_upsert\(\)"):
        Product.objects.bulk_copy([{"sku": "a"}])
    tables("RESET ROLE")


@pytest.mark.skipif(django.VERSION < (5, 0), reason="db_default is new in Django 5.0")
def test_database_defaults():
    """Rows that leave a column to the database, and rows that give it, in one call."""
    from .models import DatabaseDefaults

    rows = [DatabaseDefaults(key=i, **({"number": i} if i % 2 else {})) for i in range(6)]
    assert DatabaseDefaults.objects.bulk_copy(rows) == 6
    stored = DatabaseDefaults.objects.order_by("key").values_list("number", "doubled")
    assert list(stored) == [(7, 14), (1, 2), (7, 14), (3, 6), (7, 14), (5, 10)]
    assert not DatabaseDefaults.objects.filter(moment=None).exists()
    with pytest.raises(RowConstraintError, match="row 2: duplicate key"):
        DatabaseDefaults.objects.bulk_copy(
            [DatabaseDefaults(key=key, number=8) if key > 7 else DatabaseDefaults(key=key)
             for key in (6, 8, 1, 9)]
        )  # fmt: skip


def test_a_generator_that_queries():
    """Between chunks the connection is free."""
    Product.objects.bulk_copy([{"sku": f"{i}"} for i in range(20)])

    def rows():
        for product in Product.objects.order_by("id").iterator(chunk_size=3):
            yield {"sku": f"x{Product.objects.get(pk=product.pk).sku}"}

    assert Product.objects.bulk_copy(rows(), batch_size=4) == 20


def test_names_that_need_quotes(tables):
    """The place of an error is found whatever the table and the column are called."""
    assert Odd.objects.bulk_copy([{"key": 1, "percent": "x"}, {"key": 2, "percent": "y"}]) == 2
    with pytest.raises(RowConstraintError, match="row 1: duplicate key"):
        Odd.objects.bulk_copy([{"key": 3, "percent": "x"}, {"key": 1, "percent": "x"}])
    tables('ALTER TABLE "Mixed Case, %d {table}" ALTER "100% %s {x}" TYPE integer USING 0')
    with pytest.raises(RowValueError, match="row 1, field 'percent': invalid input syntax"):
        Odd.objects.bulk_copy([{"key": 3, "percent": "1"}, {"key": 4, "percent": "x: y"}])


def test_ctrl_c_while_the_sender_starts(monkeypatch):
    """What is sent then would be sent beside the rollback, and the session lost: nothing is."""

    def interrupted(*args):
        _thread.start_new_thread(*args)
        raise KeyboardInterrupt

    class Noting:
        """Notes that it was sent something."""

        sending = False

        def lines(self, chunk):
            return b""

        def copy(self, chunk, lines):
            self.sending = True

        def complete(self, chunk):
            pass

        def stop(self):
            pass

    monkeypatch.setattr("django_bulkupsert.relations.loading.start_new_thread", interrupted)
    before = _thread._count()
    sink = Noting()
    with pytest.raises(KeyboardInterrupt), Loading(sink, sink.stop) as loading:
        loading.add(Chunk(0, 0, []))
        loading.send()
    wait_for_threads(before)
    assert not sink.sending
