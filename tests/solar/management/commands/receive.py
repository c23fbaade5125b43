"""The nightly job: the files of a folder are written, and moved away."""

import logging
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q

from django_bulkupsert import BulkUpsertError, CsvRows, Excluded

from ...models import Reading

logger = logging.getLogger("solar")

COLUMNS = {"Meter": "device", "Time": "timestamp", "Power": "watts"}


class Command(BaseCommand):
    help = "Write the readings of all files in a folder."

    def add_arguments(self, parser):
        parser.add_argument("folder", type=Path)

    def handle(self, *args, folder, **options):
        done = folder / "done"
        done.mkdir(exist_ok=True)
        failed = 0
        for path in sorted(folder.glob("*.csv")):
            try:
                result = Reading.objects.bulk_upsert(
                    CsvRows(path, delimiter=";", columns=COLUMNS),
                    unique_fields=["device", "timestamp"],
                    where=Q(revision__lte=Excluded("revision")),
                    on_error="collect",
                )
            except BulkUpsertError as error:  # of the file as a whole
                logger.error("%s: %s", path.name, error)
                failed += 1
                continue
            logger.info("%s: %s", path.name, result)
            for bad in result.rejected:
                logger.warning(
                    "%s, line %s: %s: %s",
                    path.name,
                    bad.line,
                    bad.field,
                    bad.message,
                )
            self.stdout.write(f"{path.name}: {result}")
            path.rename(done / path.name)
        if failed:
            raise CommandError(f"{failed} of the files failed; see the log")
