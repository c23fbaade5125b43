"""The nightly job does what it is for."""

import tempfile
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.test import TestCase

from .models import Reading

HEADER = "Meter;Time;Power;revision\n"
NOON = "roof-1;2026-05-17T12:00:00Z"


class ReceiveTests(TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def receive(self, name, rows):
        (self.folder / name).write_text(HEADER + rows)
        out = StringIO()
        call_command("receive", str(self.folder), stdout=out)
        return out.getvalue()

    def test_corrections_stay(self):
        self.receive("corrected.csv", f"{NOON};6120.5;1\n")
        said = self.receive("sent-again.csv", f"{NOON};9000;0\n")
        self.assertIn("1 skipped", said)
        self.assertEqual(Reading.objects.get().watts, 6120.5)

    def test_bad_rows_are_logged(self):
        with self.assertLogs("solar", "WARNING") as logs:
            self.receive("bad.csv", f"{NOON};cloudy;0\n")
        self.assertIn("bad.csv, line 2: watts:", logs.output[0])
        self.assertTrue((self.folder / "done" / "bad.csv").exists())
