"""Sphinx's configuration."""

import os

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
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
nitpicky = False
