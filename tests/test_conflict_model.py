"""The oracle: what an upsert should do, told in twenty lines of Python, against what it does."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Upper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_bulkupsert import DuplicateKeysError, Excluded

from .models import ByCondition, ByExpression, ByField, ByNothing

FIELDS = ("key", "live", "value", "note")
MATCHES = {
    ByField: ({"unique_fields": ["key"]}, {"constraint": "thing_key"}),
    ByCondition: ({"unique_fields": ["key"]}, {"constraint": "thing_live"}),
    ByExpression: ({"constraint": "thing_lower"},),
    ByNothing: ({"match_fields": ["key"]},),
}

rows = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["a", "A", "b", "B", "c", None]),
        "live": st.booleans(),
        "value": st.integers(-2, 2),
        "note": st.sampled_from(["x", "y", None]),
    }
)
UPDATES = {
    "default": (None, None),
    "some": (["value"], lambda old, new: {"value": new["value"]}),
    "none": ([], lambda old, new: {}),
    "count": (
        {"value": F("value") + Excluded("value")},
        lambda old, new: {"value": old["value"] + new["value"]},
    ),
    "keep": (
        {"note": Coalesce(Excluded("note"), F("note")), "value": 7},
        lambda old, new: {"note": old["note"] if new["note"] is None else new["note"], "value": 7},
    ),
}
WHERES = {
    "all": (None, lambda old, new: True),
    "newer": (Q(value__lt=Excluded("value")), lambda old, new: old["value"] < new["value"]),
    "noted": (Q(note="x"), lambda old, new: old["note"] == "x"),
    "other": (
        ~Q(note=Excluded("note")),
        # As Django has it: what is NULL is not the same as anything.
        lambda old, new: old["note"] is None or old["note"] != new["note"],
    ),
}
TRANSFORMS = {
    "none": (None, lambda row: row),
    "upper": (
        {"key": Upper("key"), "value": F("value") * 2},
        lambda row: row | {"key": row["key"] and row["key"].upper(), "value": row["value"] * 2},
    ),
}


def key_of(model, row):
    """Return a row's key, as a tuple; None: it has none."""
    if model is ByNothing:
        return (row["key"],)
    if row["key"] is None or (model is ByCondition and not row["live"]):
        return None
    return (row["key"].lower() if model is ByExpression else row["key"],)


def expected(model, stored, incoming, words):
    """Return what becomes of each row, and the table afterwards, by position in it.

    A fate is the status, the position in the table of the row that it means, and the old row.
    """
    table = [dict(row) for row in stored]
    keys = [key_of(model, row) for row in incoming]
    kept = {}
    for index, key in enumerate(keys):
        if key is not None and (words["duplicates"] == "last" or key not in kept):
            kept[key] = index
    twice = len([key for key in keys if key is not None]) > len(kept)
    if twice and words["duplicates"] == "error":
        return None
    fates = {}
    before = {}
    for place, row in enumerate(table):
        before.setdefault(key_of(model, row), []).append(place)
    set_ = UPDATES[words["update"]][1]
    own = ("key", "value", "note", "live") if model is ByExpression else ("value", "note", "live")
    for index, (key, new) in enumerate(zip(keys, incoming, strict=True)):
        if key is not None and kept[key] != index:
            continue
        places = before.get(key, []) if key is not None else []
        if not places:
            table.append(dict(new))
            fates[index] = ("created", len(table) - 1, None)
            continue
        told = []
        for place in places:
            old = dict(table[place])
            change = set_(old, new) if set_ else {name: new[name] for name in own}
            if words["ignore"]:
                told.append((2, place, "skipped", old))
            elif words["update"] == "none":
                told.append((1, place, "unchanged", old))
            elif not WHERES[words["where"]][1](old, new):
                told.append((2, place, "skipped", old))
            elif words["skip"] and old == {**old, **change}:
                told.append((1, place, "unchanged", old))
            else:
                table[place] |= change
                told.append((0, place, "updated", old))
        _, place, _, old = told[0]
        fates[index] = (min(told, key=lambda each: each[0])[2], place, old)
    for index, key in enumerate(keys):
        if index not in fates:
            _, place, old = fates[kept[key]]
            fates[index] = ("skipped", place, old)
    return fates, table


@pytest.mark.django_db
@pytest.mark.parametrize("model", MATCHES)
@settings(
    max_examples=int(os.environ.get("EXAMPLES") or 60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_against_the_model(model, data):
    """Random rows meet random rows, under every combination of options."""
    table = []
    for row in data.draw(st.lists(rows, max_size=6), label="stored"):
        key = key_of(model, row)
        if model is ByNothing or key is None or key not in [key_of(model, r) for r in table]:
            table.append(row)
    given_ = data.draw(st.lists(rows, min_size=1, max_size=6), label="incoming")
    words = {
        "update": data.draw(st.sampled_from(sorted(UPDATES)), label="update"),
        "where": data.draw(st.sampled_from(sorted(WHERES)), label="where"),
        "transform": data.draw(st.sampled_from(sorted(TRANSFORMS)), label="transform"),
        "duplicates": data.draw(st.sampled_from(["error", "first", "last"]), label="duplicates"),
        "skip": data.draw(st.booleans(), label="skip"),
        "ignore": data.draw(st.sampled_from([False, False, True]), label="ignore"),
    }
    options = {
        **data.draw(st.sampled_from(MATCHES[model]), label="match"),
        "transform": TRANSFORMS[words["transform"]][0],
        "duplicates": words["duplicates"],
        "skip_unchanged": words["skip"],
        "preserve_sequence": data.draw(st.booleans(), label="preserve"),
        "strategy": data.draw(st.sampled_from(["values", "unnest", "copy"]), label="strategy"),
    }
    if words["ignore"]:
        options["ignore_conflicts"] = True
    else:
        options["update_fields"] = UPDATES[words["update"]][0]
        options["where"] = WHERES[words["where"]][0]
    kind = data.draw(st.sampled_from(["instances", "mappings", "sequences"]), label="kind")
    per_row = data.draw(st.booleans(), label="per row")
    incoming = [TRANSFORMS[words["transform"]][1](row) for row in given_]
    wanted = expected(model, table, incoming, words)

    with transaction.atomic():
        stored = [model.objects.create(**row) for row in table]
        pks = [row.pk for row in stored]
        objs = given_
        if kind == "instances":
            objs = [model(**row) for row in given_]
        elif kind == "sequences":
            objs = [tuple(row[name] for name in FIELDS) for row in given_]
            options["fields"] = list(FIELDS)
        if per_row:
            options |= {"returning": ["pk", *FIELDS], "returning_old": True}
        if wanted is None:
            with pytest.raises(DuplicateKeysError):
                model.objects.bulk_upsert(objs, **options)
        else:
            fates, after = wanted
            result = model.objects.bulk_upsert(iter(objs), **options)
            counts = Counter(status for status, _, _ in fates.values())
            for status in ("created", "updated", "unchanged", "skipped"):
                assert getattr(result, status) == counts[status], status
            now = Counter(model.objects.values_list(*FIELDS))
            assert now == Counter(tuple(row[name] for name in FIELDS) for row in after)
            by_pk = {row.pk: row for row in model.objects.all()}
            for row in result.rows:
                status, place, old = fates[row.index]
                assert row.status == status
                assert {name: row[name] for name in FIELDS} == after[place]
                assert (row.old and {name: row.old[name] for name in FIELDS}) == (
                    None if status == "created" else _before(old, place, len(pks))
                )
                if place < len(pks):
                    assert row["pk"] == pks[place]
                assert all(getattr(by_pk[row["pk"]], name) == row[name] for name in FIELDS)
            assert len(result.rows) == (len(given_) if per_row else 0)
            if kind == "instances":
                for index, obj in enumerate(objs):
                    place = fates[index][1]
                    shown = {name: getattr(by_pk[obj.pk], name) for name in FIELDS}
                    assert shown == after[place]
                    assert not obj._state.adding
        transaction.set_rollback(True)


def _before(old, place, count):
    """Return a row's old values: none for one that a row of the same key has just made."""
    return old if place < count else None
