"""A meter sends its last 16 days again and again; only what is new is written."""

from __future__ import annotations

import datetime
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from testproject.measure import measured
from testproject.readings.meter import BLOCK, START, block
from testproject.readings.models import Reading

#: How often the meter sends.
EVERY = datetime.timedelta(hours=6)
BLOCKS = 8


class Command(BaseCommand):
    help = "Receive a solar meter's overlapping blocks, and see how little is written."

    def handle(self, **options: Any) -> None:
        """Receive the blocks."""
        console = Console(file=self.stdout._out, highlight=False)  # type: ignore[attr-defined]
        with connection.cursor() as cursor:
            table_name = connection.ops.quote_name(Reading._meta.db_table)
            cursor.execute(f"TRUNCATE {table_name} RESTART IDENTITY")
        console.print("\n[bold]A solar meter's readings[/]  [dim]every 5 minutes, simulated[/]")
        console.print("It sends the last 16 days every 6 hours; match: device and timestamp.\n")
        table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
        for name in ("block up to", "received", "created", "updated", "unchanged", "WAL", "time"):
            table.add_column(name, justify="right")
        for number in range(BLOCKS):
            end = START + BLOCK + number * EVERY
            with measured() as cost:
                result = Reading.objects.bulk_upsert(
                    block("roof-1", end), unique_fields=["device", "timestamp"]
                )
            table.add_row(
                f"{end:%d %b %H:%M}",
                f"{result.total:,}",
                f"[green]{result.created:,}[/]",
                f"{result.updated:,}",
                f"{result.unchanged:,}",
                decimal(cost.wal),
                f"{cost.seconds * 1000:.0f} ms",
            )
        console.print(table)
