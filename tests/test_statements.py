"""The SQL of a call, without a database: what it must hold, and what it must never."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.db.models import F, Q

from django_bulkupsert.plans.options import UpsertOptions
from django_bulkupsert.plans.upsert import UpsertPlan
from django_bulkupsert.relations import Relation, UnnestRelation, ValuesRelation, slots_of
from django_bulkupsert.rows import open_rows
from django_bulkupsert.statements.questions import duplicates, stored_rows
from django_bulkupsert.statements.upsert import Upsert

from .models import City, Code, NullableKey, Plan, Product


class Staged(Relation):
    """A staging table as a statement sees it, without the table."""

    exact_types = True

    def __init__(self, *_):
        pass

    def prelude(self):
        from django_bulkupsert.sql import raw

        return raw("")

    def source(self):
        from django_bulkupsert.sql import raw

        return raw('pg_temp."s" AS bu_r')

    inline = source


@pytest.fixture(params=[ValuesRelation, UnnestRelation, Staged])
def relation(request):
    """Each relation's class."""
    return request.param


def made(model, rows, relation, part=None, created_by="old", **options) -> Upsert:
    """Make the statement of a call."""
    plan = UpsertPlan(model, UpsertOptions(**options), connection)
    source = open_rows(model, rows, plan.fields, plan.column)
    write = plan.bind(source.reader)
    slots = slots_of(source.reader)
    rows = source.pull(None)
    chunk = source.encode(source.read(rows))
    return Upsert(
        plan=plan,
        relation=relation(slots, chunk),
        slots=slots,
        constants=source.reader.constants,
        part=part,
        write=write,
        lent=source.reader.lent,
        created_by=created_by,
        per_row=source.objects is not None,
        pk_given=True if not source.without_pk else None if source.with_pk else False,
        returns=(),
        olds=(),
        distinct=False,
        looks_up=False,
        sure=False,
    )


def text(*args, **words) -> str:
    return made(*args, **words).fragment().text


ROW = {"sku": "a", "name": "b", "stock": 1}
CALLS = {
    "match": (Product, [ROW] * 2, {"unique_fields": ["sku"]}),
    "instances": (Product, [Product(**ROW)] * 2, {"unique_fields": ["sku"]}),
    "all": (Product, [ROW] * 2, {"unique_fields": ["sku"], "skip_unchanged": False}),
    "ignore": (Product, [ROW] * 2, {"unique_fields": ["sku"], "ignore_conflicts": True}),
    "pk": (Code, [Code(code="a")] * 2, {}),
    "null": (NullableKey, [NullableKey(code="a")] * 2, {"unique_fields": ["code"]}),
    "relation": (City, [{"name": "a", "country": 1}] * 2, {"unique_fields": ["name"]}),
}


@pytest.mark.parametrize("created_by", ["old", "xmax", "join"])
@pytest.mark.parametrize("call", CALLS)
def test_every_statement(call, relation, created_by):
    """What holds for each statement, over each relation, on each server."""
    model, rows, options = CALLS[call]
    sql = text(model, rows, relation, created_by=created_by, **options)
    # One order by the key, bytes where it is text: or calls that overlap would deadlock.
    order = re.search(r"ORDER BY (.*?) ON CONFLICT", sql)[1]
    assert re.fullmatch(r'bu_[ri]\."c\d"::text COLLATE "C", bu_[ri]\.ord', order)
    # Counted from RETURNING, never from the cursor; without it some engines lose error classes.
    assert " RETURNING " in sql
    # The key is never SET: that would take a stronger lock.
    key = (
        model._meta.get_field((options.get("unique_fields") or ["pk"])[0]) if call != "pk" else None
    )
    if key is not None:
        assert f'SET "{key.column}" =' not in sql
        assert f', "{key.column}" = EXCLUDED' not in sql
    # Not what distributed engines refuse: a clock or a subquery in DO UPDATE, an aliased target.
    update = sql.split("DO UPDATE SET")[-1].split("RETURNING")[0] if "DO UPDATE" in sql else ""
    assert not re.search(r"now\(\)|SELECT", update, re.IGNORECASE)
    assert f'INSERT INTO "{model._meta.db_table}" (' in sql
    assert "MERGE" not in sql
    assert "FOR UPDATE" not in sql


def test_other_columns_order_by_themselves(relation):
    """A number is ordered as a number."""
    sql = text(Product, [{"id": 1, "sku": "a"}] * 2, relation, part=True)
    assert re.search(r'ORDER BY bu_[ri]\."c0", bu_[ri]\.ord ON CONFLICT', sql)


@pytest.mark.parametrize(
    ("created_by", "test"),
    [
        ("old", 'bu_old."id" IS NULL'),
        ("xmax", '"tests_product".xmax = 0'),
        ("join", "bu_i.s0 IS NULL"),
    ],
)
def test_how_an_insert_is_told_from_an_update(relation, created_by, test):
    """By what the server has: old rows, xmax, or what was there before."""
    model, rows, options = CALLS["match"]
    assert test in text(model, rows, relation, created_by=created_by, **options)


def test_counts_do_not_pay_for_rows(relation):
    """Without instances, no row comes back and nothing is joined after the insert."""
    model, rows, options = CALLS["all"]
    sql = text(model, rows, relation, **options)
    assert sql.endswith("count(*) FROM bu_up")
    assert "JOIN" not in sql
    assert "bu_i" not in sql


def test_no_cast_carries_a_length_that_cuts(relation):
    """varchar, never varchar(20)."""
    for model, rows, options in CALLS.values():
        assert not re.search(r"::varchar\(", text(model, rows, relation, **options))


def test_rows_without_a_primary_key_never_update(relation):
    """The part of the rows that have none is a plain insert."""
    sql = text(Product, [{"id": None, "sku": "a"}], relation, part=False)
    assert "ON CONFLICT" not in sql


@pytest.mark.parametrize(
    "question", [lambda over: duplicates(over, 5), lambda over: stored_rows(over, over.plan.pk)]
)
def test_questions(relation, question):
    """What is asked beside the statement reads the same relation."""
    model, rows, options = CALLS["match"]
    upsert = made(model, rows, relation, **options)
    assert upsert.relation.source().text in question(upsert).text


def test_values_travel_as_parameters(relation):
    """No value of a row stands in the text of a statement."""
    secret = "swordfish'; DROP TABLE tests_product; --"
    rows = [{"sku": "a", "name": secret[:20], "stock": 424242}]
    sql = text(Product, rows, relation, unique_fields=["sku"])
    assert "swordfish" not in sql
    assert "424242" not in sql


def test_values_of_options_travel_as_parameters(relation):
    """Nor does a value of an option."""
    secret = "swordfish'; DROP --"
    sql = text(
        Product,
        [{"sku": "a", "name": "b", "stock": 424242}],
        relation,
        unique_fields=["sku"],
        update_fields={"name": secret, "stock": F("stock") + 434343},
        where=Q(name=secret) | Q(stock__lt=434343),
    )
    assert "swordfish" not in sql
    assert not re.search(r"4[23]4[23]4[23]", sql)


def test_a_condition_of_an_index_is_literal(db, relation):
    """But what an index is made of stands in ON CONFLICT as the index has it."""
    sql = text(Plan, [{"team": "a"}], relation, constraint="plan_team")
    assert """ON CONFLICT ("team") WHERE""" in sql
    assert """'it''s'""" in sql
