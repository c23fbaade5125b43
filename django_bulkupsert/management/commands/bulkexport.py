"""``manage.py bulkexport``: a model's rows as a CSV file, for bulkupsert to take back."""

from __future__ import annotations

import os
import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections, router

from ...commands.arguments import add_database, add_delimiter, add_no_input, names_in, pairs_in
from ...commands.base import FileCommand, check_not_empty, is_attended
from ...commands.export import export, exported
from ...commands.filters import blamed, filtered
from ...commands.interrupts import interruptible
from ...commands.progress import told
from ...commands.refusals import REFUSED, check_alias, model_named, refusals
from ...commands.targets import written


class Command(FileCommand):
    """Exports a model."""

    help = (
        "Write the rows of a model to a CSV file, as bulkupsert takes them, but for a model that "
        "keeps its fields in several tables. Exit status: 0, or 2 "
        "if something is refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("model", help="the model: app.Model")
        parser.add_argument("file", help="the file to write; - is stdout")
        parser.add_argument(
            "--fields",
            action="append",
            metavar="FIELD,..",
            help="the fields to write (default: all but generated ones)",
        )
        parser.add_argument(
            "--filter",
            action="append",
            metavar="LOOKUP=VALUE",
            help="only rows for which this holds, as in filter(): price__gte=5",
        )
        parser.add_argument(
            "--null",
            metavar="TEXT",
            help="the text that stands for NULL; default: the empty one, unless a value is that",
        )
        add_delimiter(parser)
        add_database(parser)
        parser.add_argument(
            "--force", action="store_true", help="overwrite a file that is there already"
        )
        add_no_input(parser, "don't ask before overwriting; refuse")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        """Write the file."""
        path, verbosity = options["file"], options["verbosity"]
        with refusals("Interrupted." if path == "-" else "Interrupted; no file was written."):
            check_not_empty(options, ("file", "database"))
            model = model_named(options["model"])
            alias = options["database"] or router.db_for_read(model)
            check_alias(alias)
            fields = exported(model, names_in(options["fields"]))
            conditions = pairs_in(options["filter"], "--filter", "LOOKUP=VALUE", last=False)
            rows = model._base_manager.using(alias)
            queryset = filtered(rows, conditions)
            if path != "-" and not options["force"]:
                self.confirm(path, options["interactive"])
            connection = connections[alias]
            connection.ensure_connection()
            start = time.perf_counter()
            with (
                told(self.stderr, verbosity) as progress,
                interruptible(connection),
                written(path, self.stdout) as out,
                blamed(rows, conditions),
            ):
                count = export(
                    queryset,
                    fields,
                    out.write,
                    null=options["null"],
                    delimiter=options["delimiter"],
                    progress=progress,
                )
        seconds = time.perf_counter() - start
        if verbosity > 0:
            where = "stdout" if path == "-" else path
            self.say(self.stderr, f"{count:,} rows written to {where} in {seconds:.2f} s", "")

    def confirm(self, path: str, interactive: bool) -> None:
        """Ask whether to overwrite a file, if one is there, and somebody to be asked.

        Raises:
            CommandError: It is to stay.
        """
        if not os.path.isfile(path):
            return
        if interactive and is_attended():
            if self.asks(f"Overwrite {path}?"):
                return
            raise CommandError("Nothing was written.", returncode=REFUSED)
        raise CommandError(f"{path} is there already; --force overwrites it", returncode=REFUSED)
