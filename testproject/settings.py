"""Settings: DATABASE_URL names the server to use; without it, an embedded one is started."""

from __future__ import annotations

import environ

env = environ.Env()

# The one decision: your own server, or an embedded one.
if env("DATABASE_URL", default=""):
    DATABASES = {"default": env.db("DATABASE_URL")}
else:
    from testproject.embedded import database_url

    DATABASES = {"default": env.db_url_config(database_url())}
DATABASES["default"].setdefault("TEST", {})["NAME"] = env(
    "TEST_DATABASE", default="test_bulkupsert"
)

INSTALLED_APPS = [
    "django_bulkupsert",
    "testproject",
    "testproject.airports",
    "testproject.readings",
]
SECRET_KEY = "not a secret: the demo serves no one"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
