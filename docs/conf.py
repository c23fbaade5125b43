"""Sphinx's configuration."""

import os
import re

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
os.environ.setdefault("DATABASE_URL", "postgres:///none")
django.setup()

import django_bulkupsert

project = "django_bulkupsert"
author = "The django_bulkupsert authors"
copyright = "2026, the django_bulkupsert authors"
version = release = django_bulkupsert.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"django_bulkupsert {release}"
exclude_patterns = ["_build", "benchmarks/aims.rst"]  # which is included
autodoc_member_order = "bysource"
autodoc_typehints = "none"
nitpicky = False


def setup(app):
    """Have the README's pictures and tests found: it stands a folder above the docs."""
    app.connect("include-read", lambda _app, _path, _parent, content: _mend(content))


def _mend(content):
    text = content[0].replace("image:: docs/", "image:: ")
    content[0] = re.sub(r"`([^`]+?) <(tests/[^>]+)>`__", r":download:`\1 <../\2>`", text)
