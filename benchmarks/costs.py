"""What the options of ``bulk_upsert`` cost beside a plain call with the same rows.

Run by ``make costs``; each figure is the median of interleaved rounds, each rolled back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connection
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Upper
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.thresholds import medians
from django_bulkupsert import Excluded
from testproject.airports.data import airports
from testproject.airports.models import Airport
from testproject.measure import setting

OPTIONS: dict[str, dict[str, Any]] = {
    "(plain)": {},
    "skip_unchanged=False": {"skip_unchanged": False},
    'where=Q(name__lte=Excluded("name"))': {"where": Q(name__lte=Excluded("name"))},
    "update_fields={..: Coalesce(Excluded, F)}": {
        "update_fields": {
            name: Coalesce(Excluded(name), F(name)) for name in ("name", "city", "elevation")
        }
    },
    "transform={..: Upper(..)}": {"transform": {"icao": Upper("icao")}},
    'duplicates="last"': {"duplicates": "last"},
    'returning=["id"]': {"returning": ["id"]},
    "returning=True, returning_old=True": {"returning": True, "returning_old": True},
    "preserve_sequence=True": {"preserve_sequence": True},
    'match_fields=["icao"]': {"unique_fields": None, "match_fields": ["icao"]},
}


def upsert(rows: list[dict[str, Any]], words: dict[str, Any]) -> Callable[[], object]:
    """Return the call to measure."""
    return lambda: Airport.objects.bulk_upsert(rows, **({"unique_fields": ["icao"]} | words))


def main() -> None:
    """Print the table."""
    console = Console(width=100)
    call_command("migrate", verbosity=0)
    rows = airports()[:20_000]
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE airports_airport")
    Airport.objects.bulk_upsert(rows, unique_fields=["icao"])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE airports_airport")
    works = {
        "created": [{**row, "icao": chr(0x4E00 + n)} for n, row in enumerate(rows)],
        "updated": [{**row, "elevation": row["elevation"] + 1} for row in rows],
        "unchanged": rows,
    }
    table = Table("20,000 mappings", *(f"{name}, ms" for name in works), "beside plain", box=SIMPLE)
    found = {
        name: medians({option: upsert(some, words) for option, words in OPTIONS.items()})
        for name, some in works.items()
    }
    for option in OPTIONS:
        times = [found[name][option] for name in works]
        ratios = [found[name][option] / found[name]["(plain)"] for name in works]
        table.add_row(
            option,
            *(f"{time:.0f}" for time in times),
            " / ".join(f"{ratio:.2f}x" for ratio in ratios),
        )
    console.print(f"{setting()}; 20,000 rows stored, 12 columns")
    console.print(table)


if __name__ == "__main__":
    main()
