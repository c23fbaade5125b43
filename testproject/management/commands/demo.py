"""``make demo``: make the tables, then run each demo."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection


class Command(BaseCommand):
    help = "Make the demo's tables and run the demos."

    def handle(self, **options: Any) -> None:
        """Run everything, each demo on tables it has emptied."""
        if connection.vendor != "postgresql":
            raise CommandError(
                f"DATABASE_URL names {connection.vendor}; the demo needs PostgreSQL."
            )
        call_command("migrate", verbosity=0, interactive=False)
        for name in ("demo_airports", "demo_readings"):
            call_command(name, stdout=self.stdout)
