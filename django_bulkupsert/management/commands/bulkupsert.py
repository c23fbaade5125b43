"""``manage.py bulkupsert``: a CSV file's rows are inserted and updated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections, router
from django.db.models import Q

from ...commands.arguments import (
    add_database,
    add_delimiter,
    add_no_input,
    fields_in,
    pairs_in,
    related_in,
)
from ...commands.base import FileCommand, check_not_empty, is_attended
from ...commands.load import check_header, load, long_values, opened
from ...commands.progress import told
from ...commands.refusals import (
    REFUSED,
    REJECTS,
    check_alias,
    check_tables,
    model_named,
    refusals,
)
from ...commands.rejects import reason
from ...commands.summary import Summary
from ...commands.targets import written
from ...csvs import CsvRows
from ...expressions import Excluded
from ...plans.options import DUPLICATES

#: The options that an unset variable would leave as if they were not given; others may be empty.
NOT_EMPTY = (
    "file",
    "unique",
    "constraint",
    "match",
    "update",
    "where_newer",
    "map",
    "rejects",
    "database",
)


class Command(FileCommand):
    """Upserts a file."""

    help = (
        "Insert the rows of a CSV file that are new and update those that are there; all of them "
        "or none, or with --rejects all that can be stored. A model that keeps its fields in "
        "several tables is refused. Exit status: 0, 1 if rows were "
        "rejected, or 2 if something is refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("model", help="the model: app.Model")
        parser.add_argument("file", help="the CSV file, with a header; - is stdin")
        match = parser.add_mutually_exclusive_group()
        match.add_argument(
            "--unique",
            action="append",
            metavar="FIELD,..",
            help="match rows by these fields, which are unique together (default: primary key)",
        )
        match.add_argument(
            "--constraint", metavar="NAME", help="match by this unique constraint or index"
        )
        match.add_argument(
            "--match",
            action="append",
            metavar="FIELD,..",
            help="match rows by these fields, unique or not",
        )
        parser.add_argument(
            "--update",
            action="append",
            metavar="FIELD,..",
            help="update only these fields of rows that are there (default: all of the file's)",
        )
        parser.add_argument(
            "--where-newer",
            metavar="FIELD",
            help="update only rows whose stored FIELD is less than the file's; NULL is not, so "
            "such rows are never updated",
        )
        parser.add_argument(
            "--ignore-conflicts", action="store_true", help="leave rows that are there alone"
        )
        parser.add_argument(
            "--duplicates",
            choices=DUPLICATES,
            default="error",
            help="of rows with the same key: refuse them, or take the first or last",
        )
        parser.add_argument(
            "--map",
            action="append",
            metavar="HEADER=FIELD",
            help="the field that a column is; HEADER= leaves the column out",
        )
        parser.add_argument(
            "--ignore-extra", action="store_true", help="leave out columns that are no field"
        )
        parser.add_argument(
            "--null",
            default="",
            metavar="TEXT",
            help="the text that stands for NULL (default: the empty one)",
        )
        add_delimiter(parser)
        parser.add_argument("--encoding", default="utf-8", help="default: utf-8")
        parser.add_argument(
            "--batch-size", type=int, metavar="N", help="the most rows that one COPY sends"
        )
        parser.add_argument(
            "--rejects",
            metavar="FILE",
            help="write the rows that can be stored, and the others into this file: each with its "
            "line and what is wrong, to be mended and read again; if there are none, no file is "
            "left there",
        )
        parser.add_argument(
            "--validate",
            action="store_true",
            help="have the fields look at their values: blanks, choices and validators",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="write nothing; show what would change"
        )
        parser.add_argument("--format", choices=["table", "json"], default="table")
        add_database(parser)
        add_no_input(parser, "don't ask before writing")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        """Upsert the file, and say what became of its rows."""
        with refusals("Interrupted; nothing was written."), long_values():
            check_not_empty(options, NOT_EMPTY)
            model = model_named(options["model"])
            alias = options["database"] or router.db_for_write(model)
            check_alias(alias)
            check_tables(model)
            make = partial(
                CsvRows,
                columns={
                    name: to or None
                    for name, to in pairs_in(options["map"], "--map", "HEADER=FIELD", last=True)
                },
                null=options["null"],
                delimiter=options["delimiter"],
                encoding=options["encoding"],
                ignore_extra=options["ignore_extra"],
            )
            newer, dry_run, rejects = (
                options[name] for name in ("where_newer", "dry_run", "rejects")
            )
            if rejects == "-" and options["format"] == "json":
                raise CommandError(
                    "--rejects - and --format json would both be on stdout; name a file",
                    returncode=REFUSED,
                )
            words = {
                "unique_fields": fields_in(model, options["unique"]),
                "constraint": options["constraint"],
                "match_fields": fields_in(model, options["match"]),
                "update_fields": fields_in(model, options["update"]),
                "where": Q(**{f"{newer}__lt": Excluded(newer)}) if newer else None,
                "ignore_conflicts": options["ignore_conflicts"],
                "duplicates": options["duplicates"],
                "on_error": "collect" if options["rejects"] else "raise",
                "validate": options["validate"],
                "batch_size": options["batch_size"],
            }
            queryset = model._base_manager.using(alias)
            out, encoding = None, options["encoding"]
            if rejects:
                out = written(rejects, self.stdout, encoding=encoding, rejects=True)
            related = related_in(model, options)
            again = bool(dry_run or rejects or related)
            with opened(options["file"], again=again, rejects=rejects) as file:
                if related:
                    check_header(make, file, related)
                if options["interactive"] and not dry_run and options["file"] != "-":
                    self.confirm(options["file"], model._meta.label, alias)
                summary = load(
                    queryset,
                    make,
                    file,
                    words,
                    progress=told(self.stderr, options["verbosity"], file),
                    rejects=out,
                    dry_run=dry_run,
                )
        self.tell(summary, options)

    def tell(self, summary: Summary, options: Mapping[str, Any]) -> None:
        """Say what became of the rows.

        Raises:
            CommandError: Some were rejected.
        """
        rejects, rejected = options["rejects"], summary.result.rejected
        done = "nothing was" if options["dry_run"] else "the rows are"
        out = self.stderr if rejects == "-" else self.stdout
        otherwise = f"{done} written, but the summary can't be shown"
        if options["format"] == "json":
            self.say(out, summary.as_json(), otherwise)
        elif options["verbosity"] > 0:
            self.say(out, summary.as_text(terminal=out.isatty()), otherwise)
        if rejected:
            first = f"line {rejected[0].line}: {reason(rejected[0])}"
            where = "on stdout" if rejects == "-" else f"in {rejects}"
            said = "1 row was rejected; it is"
            if len(rejected) > 1:
                said = f"{len(rejected):,} rows were rejected; they are"
            raise CommandError(f"{said} {where}. The first: {first}", returncode=REJECTS)

    def confirm(self, file: str, label: str, alias: str) -> None:
        """Ask whether to write, if somebody is there to be asked.

        Raises:
            CommandError: The answer is no.
        """
        if not is_attended():
            return
        name = connections[alias].settings_dict["NAME"]
        if not self.asks(f"Write the rows of {file} to {label} in the database {name!r}?"):
            raise CommandError("Nothing was written.", returncode=REFUSED)
