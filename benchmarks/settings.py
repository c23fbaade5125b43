"""The test project's settings, with the tables that are measured.

BENCH_DRIVER=psycopg2 hides psycopg 3, which Django prefers where both are installed.
"""

import os
import sys
from importlib.util import find_spec

if os.environ.get("BENCH_DRIVER") == "psycopg2":
    sys.modules["psycopg"] = None  # to import it fails

from testproject.settings import *  # noqa: F403
from testproject.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks"]

# django-postgres-extra works by a backend of its own: another connection to the same database.
if find_spec("psqlextra"):
    DATABASES["extra"] = {**DATABASES["default"], "ENGINE": "psqlextra.backend"}
