"""Two real exports of one table, a year apart; skipped where they are not."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.models import Runway

pytestmark = pytest.mark.django_db

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
FIRST, SECOND = DATA / "runways-2025-08-28.csv", DATA / "runways-2026-08-22.csv"


@pytest.fixture(autouse=True)
def _there():
    if not (FIRST.exists() and SECOND.exists()):
        pytest.skip(f"the runway exports are not in {DATA}")


def load(path, *arguments):
    """Run the command; return the counts: created, updated, unchanged, skipped."""
    out = StringIO()
    call_command("bulkupsert", "tests.Runway", str(path), *arguments, "--format=json", stdout=out,
                 stderr=StringIO(), interactive=False)  # fmt: skip
    said = json.loads(out.getvalue())
    return tuple(said[name] for name in ("created", "updated", "unchanged", "skipped"))


def texts(path):
    """Return the file's rows by id."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def test_by_primary_key():
    """The later export on top of the first: what is new, what differs, what is the same."""
    before, after = texts(FIRST), texts(SECOND)
    assert load(FIRST) == (len(before), 0, 0, 0)
    new = len(after.keys() - before.keys())
    created, updated, unchanged, skipped = load(SECOND)
    assert (created, skipped) == (new, 0)
    # Texts may differ where values don't: "80" and "80.0".
    differ = sum(before[key] != after[key] for key in after.keys() & before.keys())
    assert 0 < updated <= differ
    assert created + updated + unchanged == len(after)
    assert Runway.objects.count() == len(before.keys() | after.keys())
    assert load(SECOND) == (0, 0, len(after), 0)


def test_by_fields_that_are_not_unique():
    """Rows are matched by where they are, which is almost unique."""
    load(FIRST)
    match = ["--match=airport_ref,le_ident,he_ident", "--map=id=", "--duplicates=last"]
    created, updated, unchanged, skipped = load(SECOND, *match)
    assert created + updated + unchanged + skipped == len(texts(SECOND))
    assert 0 < created < 3_000
    assert skipped < 200
    assert load(SECOND, *match)[:2] == (0, 0)
