"""Load the world's airports three times: new, again, and a later edition; beside Django's own."""

from __future__ import annotations

from importlib.resources import as_file
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection, transaction
from rich.console import Console
from rich.table import Table

from django_bulkupsert import UpsertResult
from testproject.airports.data import FILE, OPTIONS, Row, airports, edited
from testproject.airports.models import Airport, DjangoAirport
from testproject.measure import Cost, measured, setting

#: Rows that the save() loop writes; the whole set would take it too long to wait for.
LOOP_ROWS = 1_000
UPDATED = [
    field.name
    for field in DjangoAirport._meta.concrete_fields
    if field.name not in ("id", "icao", "created")
]


class Command(BaseCommand):
    help = "Load the world's airports into PostgreSQL, and see what became of each row."

    def handle(self, **options: Any) -> None:
        """Run the three loads."""
        self.console = Console(file=self.stdout._out, highlight=False)  # type: ignore[attr-defined]
        rows = airports()
        with connection.cursor() as cursor:
            for model in (Airport, DjangoAirport):
                table = connection.ops.quote_name(model._meta.db_table)
                cursor.execute(f"TRUNCATE {table} RESTART IDENTITY")
        self.console.print(f"\n[bold]Airports of the world[/]  [dim]{setting()}[/]")
        self.load(f"Load {len(rows):,} airports into an empty table", rows)
        self.load("Load the same file again", rows)
        self.from_the_command_line()
        self.load("Load a later edition of the file", edited(rows))
        self.console.print("\n[dim]* with update_conflicts=True, Django's upsert[/]")

    def from_the_command_line(self) -> None:
        """Load the file as it is shipped, by the command."""
        self.console.print("\n[bold]And again, from the command line[/]")
        words = ["airports.Airport", FILE.name, "--unique=icao"]
        lines = [words, OPTIONS[:3], OPTIONS[3:]]
        typed = " \\\n    ".join(map(" ".join, lines))
        self.console.print(f"[dim]$ manage.py bulkupsert {typed}[/]\n")
        words += OPTIONS
        with as_file(FILE) as path:
            words[1] = str(path)
            call_command("bulkupsert", *words, interactive=False, stdout=self.stdout)

    def load(self, title: str, rows: list[Row]) -> None:
        """Load rows by each method, and print what happened."""
        result, ours = self.ours(rows)
        loop = self.loop(rows[:LOOP_ROWS])
        theirs = self.djangos(rows)
        table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
        table.add_column()
        for name in ("time", "rows/s", "WAL", ""):
            table.add_column(name, justify="right")
        faster = f"[green]{theirs.seconds / ours.seconds:.1f}x faster[/]"
        table.add_row("[bold]bulk_upsert()[/]", *ours.row(len(rows)), faster)
        table.add_row("Django's bulk_create() [dim]*[/]", *theirs.row(len(rows)))
        table.add_row(f"get(), save() loop, {LOOP_ROWS:,} rows", *loop.row(LOOP_ROWS))
        self.console.print(f"\n[bold]{title}[/]")
        self.console.print(f"[cyan]{result}[/]; {result.written:,} rows written\n")
        self.console.print(table)

    def ours(self, rows: list[Row]) -> tuple[UpsertResult, Cost]:
        """Load by bulk_upsert()."""
        instances = [Airport(**row) for row in rows]
        with measured() as cost:
            result = Airport.objects.bulk_upsert(instances, unique_fields=["icao"])
        return result, cost

    def djangos(self, rows: list[Row]) -> Cost:
        """Load by Django's own upsert."""
        instances = [DjangoAirport(**row) for row in rows]
        with measured() as cost:
            DjangoAirport.objects.bulk_create(
                instances, update_conflicts=True, unique_fields=["icao"], update_fields=UPDATED
            )
        return cost

    def loop(self, rows: list[Row]) -> Cost:
        """Look for each row and save it; undone, so that the two tables stay alike."""
        with transaction.atomic():
            with measured() as cost:
                for row in rows:
                    airport = DjangoAirport.objects.filter(icao=row["icao"]).first()
                    if airport is None:
                        airport = DjangoAirport()
                    for name, value in row.items():
                        setattr(airport, name, value)
                    airport.save()
            transaction.set_rollback(True)
        return cost
