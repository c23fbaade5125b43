"""The demo does what it prints."""

from __future__ import annotations

import io
import re

import pytest
from django.core.management import call_command

from testproject.airports.data import airports, edited
from testproject.airports.models import Airport, DjangoAirport
from testproject.readings.models import Reading


@pytest.mark.django_db(transaction=True)
def test_demo():
    """Airports are created, unchanged, and partly updated; blocks of readings overlap."""
    out = io.StringIO()
    call_command("demo", stdout=out)
    text = out.getvalue()
    total = len(airports())
    assert total > 28_000
    assert f"{total:,} created, 0 updated, 0 unchanged, 0 skipped" in text
    assert f"0 created, 0 updated, {total:,} unchanged, 0 skipped; 0 rows written" in text
    assert f"0 created, 412 updated, {total - 412:,} unchanged" in text
    assert len(re.findall(r"x faster", text)) == 3
    assert max(map(len, text.splitlines())) <= 80
    fields = [
        f.name for f in Airport._meta.concrete_fields if f.name not in ("id", "created", "updated")
    ]
    ours, theirs = (
        list(model.objects.order_by("icao").values_list(*fields))
        for model in (Airport, DjangoAirport)
    )
    assert ours == theirs
    assert Reading.objects.count() == 4_608 + 7 * 72
    assert len(re.findall(r" 72 +0 +4,536 ", text)) == 7


def test_edits_are_the_same_each_time():
    """The later edition is made from a seed."""
    rows = airports()[:2_000]
    assert edited(rows) == edited(rows)
    assert sum(a != b for a, b in zip(rows, edited(rows), strict=True)) == 412
