"""``manage.py bulkupsert`` in a process of its own; prints its seconds, and its peak in bytes."""

from __future__ import annotations

import json
import os
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from django.core.management import CommandError, call_command
from django.db import connection

from benchmarks.memory import peak


def main() -> None:
    """Run the command with the words that are given."""
    connection.ensure_connection()
    before = peak()
    start = time.perf_counter()
    try:
        call_command("bulkupsert", *sys.argv[1:], verbosity=0, interactive=False)
    except CommandError as error:
        if error.returncode != 1:  # rows were rejected
            raise
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, peak() - before]))


if __name__ == "__main__":
    main()
