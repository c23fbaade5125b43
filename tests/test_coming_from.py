"""What docs/coming_from shows of other packages leaves the same rows as ours beside it.

Each pair starts from what the examples before it have left. A package that is not installed is
skipped; ``make tox ARGS="-e py311-dj52-psycopg2-others"`` has all of them. Of these
django-postgres-extra 3.0 takes no Django 6.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import pytest
from django.db import connection, connections
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from .shop.models import Customer, Listing, Product

PAGE = Path(__file__).resolve().parent.parent / "docs" / "coming_from.rst"
MODELS = [Product, Customer, Listing]

#: A heading, or a block of code.
PARTS = re.compile(r"^(.+)\n-{3,}\n|\.\. code-block:: python\n\n((?: {4,}.*\n|\n)+)", re.MULTILINE)


class Step(NamedTuple):
    """A part of the page: the section, its imports, a block of code, and the examples below."""

    section: str
    imports: str
    theirs: str
    ours: str


def steps() -> list[Step]:
    """Return the parts of the page; what stands above the first block of a section has none."""
    first, *parts = PARTS.split(PAGE.read_text())
    found, section, imports = [Step("", "", "", first)], "", ""
    for heading, block, ours in zip(parts[0::3], parts[1::3], parts[2::3], strict=True):
        if heading:
            section, imports = heading, ""
        theirs = re.sub(r"^ {4}", "", block or "", flags=re.MULTILINE)
        imports += "".join(re.findall(r"^(?:from|import) .+\n", theirs, re.MULTILINE))
        found.append(Step(section, imports, theirs, ours))
    return found


STEPS = steps()
PAIRS = [number for number, step in enumerate(STEPS) if step.theirs]


def replay(some: list[Step]) -> dict[str, Any]:
    """Run our examples on empty tables; return the names that they leave."""
    names: dict[str, Any] = {}
    for model in MODELS:
        model.objects.all().delete()
        names[model.__name__] = model
    for step in some:
        for example in doctest.DocTestParser().get_examples(step.ours):
            exec(compile(example.source, PAGE.name, "exec"), names)
    return names


def rows() -> dict[str, list[Any]]:
    """Return what the tables hold, but for what each call draws or reads off a clock."""
    return {
        model.__name__: sorted(
            model.objects.values_list(
                *(
                    field.name
                    for field in model._meta.concrete_fields
                    if field.name not in ("id", "updated")
                )
            )
        )
        for model in MODELS
    }


def managed(model: Any, manager: Any) -> Any:
    """Return what stands for a model that has another package's manager."""
    manager.model = model
    return SimpleNamespace(objects=manager)


@contextmanager
def with_django(loop: Any) -> Iterator[dict[str, Any]]:
    yield {}


@contextmanager
def with_pgbulk(loop: Any) -> Iterator[dict[str, Any]]:
    pytest.importorskip("pgbulk", reason="django-pgbulk is not installed")
    yield {}


@contextmanager
def with_psqlextra(loop: Any) -> Iterator[dict[str, Any]]:
    """By a connection of its own backend, in the place of Django's."""
    manager = pytest.importorskip(
        "psqlextra.manager", reason="django-postgres-extra is not installed"
    )
    djangos = connections["default"]
    with mock.patch.dict(djangos.settings_dict, ENGINE="psqlextra.backend"):
        connections["default"] = connections.create_connection("default")
        try:
            yield {
                model.__name__: managed(model, manager.PostgresManager())
                for model in (Product, Listing)
            }
        finally:
            connections["default"].close()
            connections["default"] = djangos


@contextmanager
def with_bulk_update(loop: Any) -> Iterator[dict[str, Any]]:
    manager = pytest.importorskip(
        "django_bulk_update.manager", reason="django-bulk-update is not installed"
    )
    yield {"Product": managed(Product, manager.BulkUpdateManager())}


def connection_words() -> dict[str, Any]:
    """Return what another driver needs to connect to the same database."""
    params = connection.get_connection_params()
    return {name: params[name] for name in ("host", "port", "user", "password") if name in params}


@contextmanager
def with_sqlalchemy(loop: Any) -> Iterator[dict[str, Any]]:
    """By tables as they are reflected; a clock of Django's is a default of theirs."""
    alchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")
    from sqlalchemy.orm import Session

    words = {**connection_words(), "dbname": connection.settings_dict["NAME"]}
    name = "psycopg" if is_psycopg3 else "psycopg2"
    driver = __import__(name)
    engine = alchemy.create_engine(f"postgresql+{name}://", creator=lambda: driver.connect(**words))
    metadata = alchemy.MetaData()
    updated = alchemy.Column("updated", alchemy.DateTime(timezone=True), default=alchemy.func.now())
    names = {
        "product": alchemy.Table("shop_product", metadata, updated, autoload_with=engine),
        "customer": alchemy.Table("shop_customer", metadata, autoload_with=engine),
        "listing": alchemy.Table("shop_listing", metadata, autoload_with=engine),
    }
    try:
        with Session(engine) as session, session.begin():
            yield {**names, "session": session}
    finally:
        engine.dispose()


@contextmanager
def with_asyncpg(loop: Any) -> Iterator[dict[str, Any]]:
    asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    database = connection.settings_dict["NAME"]
    opened = loop.run_until_complete(asyncpg.connect(database=database, **connection_words()))
    try:
        yield {"connection": opened}
    finally:
        loop.run_until_complete(opened.close())


#: By section, what gives a block its names, and skips it where there is no such package.
PACKAGES = {
    "Django": with_django,
    "django-pgbulk": with_pgbulk,
    "django-postgres-extra": with_psqlextra,
    "django-bulk-update": with_bulk_update,
    "SQLAlchemy": with_sqlalchemy,
    "asyncpg, psycopg: COPY by hand": with_asyncpg,
}


def run(code: str, names: dict[str, Any], loop: Any) -> None:
    """Run a block, which may await."""
    compiled = compile(code, PAGE.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    done = eval(compiled, names)
    if inspect.iscoroutine(done):
        loop.run_until_complete(done)


def test_every_block_is_of_a_package_that_is_tried():
    """No section shows code that nobody runs."""
    assert list(dict.fromkeys(STEPS[number].section for number in PAIRS)) == list(PACKAGES)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", PAIRS, ids=lambda number: f"{STEPS[number].section}-{number}")
def test_the_same_rows(number):
    """What is written elsewhere, and the same here, leave the same rows."""
    step = STEPS[number]
    names = replay(STEPS[:number])
    with closing(asyncio.new_event_loop()) as loop:
        with PACKAGES[step.section](loop) as further:
            names.update(further)
            run(step.imports + step.theirs, names, loop)
    theirs = rows()
    replay(STEPS[: number + 1])
    assert theirs == rows()
    assert any(theirs.values())
