"""Facts of the architecture, as docs/architecture draws it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest
from django.db.models import QuerySet

import django_bulkupsert
from django_bulkupsert import BulkUpsertManager, BulkUpsertQuerySet, relations
from django_bulkupsert.async_methods import AsyncBulkMethods
from django_bulkupsert.methods import BulkMethods
from django_bulkupsert.plans.copy import CopyOptions
from django_bulkupsert.plans.options import UpsertOptions
from django_bulkupsert.plans.update import UpdateOptions

from .conftest import STRATEGIES

PACKAGE = Path(django_bulkupsert.__file__).parent

NAMES = ["bulk_upsert", "bulk_update", "bulk_copy"]
METHODS = [*NAMES, *(f"a{name}" for name in NAMES)]

#: A module imports only from those below it; one line is one level.
LEVELS = [
    ["__init__", "apps", "operations"],
    ["lookups"],
    [
        "management.__init__",
        "management.commands.__init__",
        "management.commands.bulkexport",
        "management.commands.bulkupsert",
    ],
    ["commands.base", "commands.export", "commands.filters", "commands.load"],
    ["commands.interrupts", "commands.rejects", "commands.summary", "commands.targets"],
    ["commands.arguments"],
    ["commands.__init__", "commands.progress", "commands.refusals", "commands.sample"],
    ["functions"],
    ["managers"],
    ["async_methods", "methods"],
    ["threads"],
    ["engine.__init__", "engine.copy", "engine.dispatch", "engine.update"],
    ["engine.inherited", "engine.mixed"],
    ["engine.opening"],
    ["engine.collect"],
    ["engine.screening"],
    ["engine.upsert"],
    ["engine.faults"],
    ["engine.bound", "engine.call"],
    ["engine.found", "engine.sending"],
    ["engine.attempts", "engine.progress"],
    ["marks"],
    ["statements.screens"],
    [
        "statements.__init__",
        "statements.catalog",
        "statements.questions",
        "statements.matched",
        "statements.update",
    ],
    ["statements.update_reply", "statements.upsert"],
    ["statements.inserted"],
    ["statements.proposed"],
    ["statements.keyed"],
    ["statements.over"],
    ["plans.copy"],
    ["plans.__init__", "plans.inherited", "plans.kept", "plans.update"],
    ["plans.upsert"],
    ["plans.base", "plans.keys", "plans.options"],
    ["relations.__init__"],
    ["relations.loading", "relations.part", "relations.sieved"],
    ["relations.staging"],
    ["relations.found", "relations.transformed", "relations.unnest", "relations.values"],
    ["relations.base", "relations.copy_errors", "relations.slots"],
    ["sieve"],
    ["rows", "seen"],
    ["chunks", "rejects", "validation"],
    ["arrow.source", "csvs.source"],
    ["sources"],
    ["readers.__init__"],
    ["readers.arrow", "readers.csv"],
    ["readers.given", "readers.instances", "readers.updates"],
    ["readers.attributes", "readers.base"],
    ["readers.related"],
    ["csvs.verbatim"],
    ["csvs.patterns"],
    ["compiling.__init__"],
    ["compiling.row_expressions"],
    ["compiling.terms"],
    ["compiling.assignments", "compiling.conditions"],
    ["compiling.checks"],
    ["columns", "expressions", "server", "target"],
    ["arrow.values", "csvs.values"],
    ["arrow.texts"],
    ["names"],
    ["casts", "loops"],
    ["jsons", "lazy"],
    ["encode"],
    ["transactions"],
    ["driver"],
    ["arrow.__init__", "csvs.__init__"],
    ["csvs.lines", "sql"],
    ["ours", "errors", "result", "fields", "csvs.broken"],
]


def modules() -> dict[str, Path]:
    """Return the package's modules by name."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
    }


def imported(name: str, path: Path) -> set[str]:
    """Return the modules of the package that a module imports."""
    found = set()
    here = name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level + 1]
            parts = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                for target in (
                    ".".join([*parts, alias.name]),
                    ".".join(parts),
                    ".".join([*parts, "__init__"]),
                ):
                    if target in modules():
                        found.add(target)
                        break
    return found


def test_every_module_has_its_level():
    """A new module is put into the order of imports."""
    assert sorted(name for level in LEVELS for name in level) == sorted(modules())


def test_imports_point_down():
    """No module imports one that stands on its level or above."""
    level_of = {name: number for number, names in enumerate(LEVELS) for name in names}
    for name, path in modules().items():
        for target in imported(name, path):
            assert level_of[target] > level_of[name], f"{name} imports {target}"


def test_modules_are_in_the_drawing():
    """docs/architecture lists each file."""
    drawn = (PACKAGE.parent / "docs" / "architecture.rst").read_text()
    for name in modules():
        first = name.split(".")[0]
        if first not in ("__init__", "apps"):
            assert re.search(rf"\b{first}(\.py|/)", drawn), name


def test_drawing_is_in_order():
    """docs/architecture lists the files in the order of imports."""
    level_of = {name: number for number, names in enumerate(LEVELS) for name in names}
    text = (PACKAGE.parent / "docs" / "architecture.rst").read_text()
    drawn = [level_of[name] for name in re.findall(r"^ {6}(\w+)\.py ", text, re.MULTILINE)]
    assert len(drawn) > 20
    assert drawn == sorted(drawn)


def test_all_is_sorted_and_whole():
    """__all__ holds every public name of the facade, in order."""
    names = django_bulkupsert.__all__
    assert names == sorted(names)
    for name in names:
        assert hasattr(django_bulkupsert, name)
    errors = {
        name
        for name, item in vars(django_bulkupsert.errors).items()
        if isinstance(item, type) and issubclass(item, django_bulkupsert.BulkUpsertError)
    }
    assert errors <= set(names)


def test_sql_is_born_in_one_place():
    """No f-string and no formatting makes SQL text outside sql.py."""
    words = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|COPY|CREATE|ANALYZE|DROP|FROM)\b")
    for name, path in modules().items():
        if name == "sql":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
                assert not words.search(text), f"{name}:{node.lineno}"


def test_no_file_grew_two_reasons():
    """A file past this length is asked what its second reason is."""
    for name, path in modules().items():
        assert len(path.read_text().splitlines()) <= 300, name


def test_every_strategy_is_tried():
    """Tests that take the strategy run over every relation that a caller may ask for."""
    assert sorted(STRATEGIES) == sorted(relations.STRATEGIES)


def test_every_method_is_known():
    """The tests below look at every method there is."""
    for methods, names in ((BulkMethods, NAMES), (AsyncBulkMethods, METHODS[len(NAMES) :])):
        public = {name for name in vars(methods) if not name.startswith("_")}
        assert public == set(names)


def test_methods_change_data():
    """Templates may not call them."""
    for name in METHODS:
        assert getattr(BulkUpsertQuerySet, name).alters_data
        assert getattr(BulkUpsertManager, name).alters_data


@pytest.mark.parametrize("name", METHODS)
def test_manager_has_the_querysets_signature(name):
    """The manager's method is called, and documented, as the queryset's is."""
    manager, queryset = getattr(BulkUpsertManager, name), getattr(BulkUpsertQuerySet, name)
    assert inspect.signature(manager) == inspect.signature(queryset)
    assert manager.__doc__ == queryset.__doc__


@pytest.mark.parametrize(
    ("name", "options"),
    [("bulk_upsert", UpsertOptions), ("bulk_update", UpdateOptions), ("bulk_copy", CopyOptions)],
)
def test_options_are_the_keywords(name, options):
    """Keywords are packed once: each method's options are its keywords, in order."""
    parameters = [*inspect.signature(getattr(BulkUpsertQuerySet, name)).parameters.values()][2:]
    fields = dataclasses.fields(options)
    assert [each.name for each in parameters] == [field.name for field in fields]
    for parameter, field in zip(parameters, fields, strict=True):
        if parameter.default is not inspect.Parameter.empty:
            assert parameter.default == field.default


@pytest.mark.parametrize("name", NAMES)
def test_async_twins_have_the_same_keywords(name):
    """Each method's twin is called as the method is."""
    twin = getattr(BulkUpsertQuerySet, f"a{name}")
    assert inspect.iscoroutinefunction(twin)
    parameters = [
        [
            (each.name, each.kind, each.default)
            for each in inspect.signature(method).parameters.values()
        ]
        for method in (twin, getattr(BulkUpsertQuerySet, name))
    ]
    assert parameters[0] == parameters[1]


def test_bulk_update_is_called_as_djangos_is():
    """Django's parameters come first, in Django's order, with Django's defaults."""
    ours = [*inspect.signature(BulkUpsertQuerySet.bulk_update).parameters.values()]
    djangos = [*inspect.signature(QuerySet.bulk_update).parameters.values()]
    for mine, theirs in zip(ours, djangos, strict=False):
        assert (mine.name, mine.default, mine.kind) == (theirs.name, theirs.default, theirs.kind)
    assert all(each.kind is each.KEYWORD_ONLY for each in ours[len(djangos) :])
