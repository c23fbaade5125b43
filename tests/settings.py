"""The test project's settings, with the models of the tests beside it."""

from testproject.settings import *  # noqa: F403
from testproject.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "django.contrib.contenttypes",
    "django.contrib.postgres",
    "tests",
    "tests.shop",
    "tests.solar",
]

# A second alias of the same database, and one that is no PostgreSQL.
DATABASES["other"] = {**DATABASES["default"], "TEST": {"MIRROR": "default"}}
DATABASES["lite"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}

MIGRATION_MODULES = {"contenttypes": None}

ROOT_URLCONF = "tests.urls"
