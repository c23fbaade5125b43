"""The README and the docs tell the truth: every example in them is run."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import django_bulkupsert
from django_bulkupsert import BulkUpsertManager, BulkUpsertQuerySet
from django_bulkupsert.methods import BulkMethods
from django_bulkupsert.relations import staging

from .shop import models as shop

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]


@pytest.mark.django_db
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_examples(path):
    """What stands after >>> does what stands below it."""
    names = {name: model for name, model in vars(shop).items() if getattr(model, "_meta", None)}
    test = doctest.DocTestParser().get_doctest(path.read_text(), names, path.name, str(path), 0)
    report: list[str] = []
    runner = doctest.DocTestRunner(
        verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    failed = runner.run(test, out=report.append).failed
    assert failed == 0, "".join(report)


def blocks(path: Path) -> list[str]:
    """Return the Python code blocks of a document, without their indentation."""
    found = re.findall(r"\.\. code-block:: python\n\n((?: {4,}.*\n|\n)+)", path.read_text())
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE).strip() for block in found]


def tokens(sql: str) -> str:
    """Return SQL without what may differ: its layout, comments, and names that are drawn."""
    sql = re.sub(r"--.*", "", sql)
    sql = re.sub(r'"bulkupsert_[0-9a-f]{16}"', '"staging"', sql)
    sql = re.sub(r'"s\d+_x\d+"', '"savepoint"', sql)
    if connection.pg_version < 180000:
        created = 'RETURNING WITH (OLD AS bu_old) bu_old."id" IS NULL AS created'
        sql = sql.replace(created, 'RETURNING "shop_reading".xmax = 0 AS created')
    return re.sub(r" ?([(),]) ?", r"\1", " ".join(sql.split()))


def below(text: str, language: str) -> str | None:
    """Return the first code block in a language, or None."""
    found = re.search(rf"\.\. code-block:: {language}\n\n((?: {{3,}}.*\n|\n)+)", text)
    return found and found[1]


@pytest.mark.django_db(transaction=True)
def test_sql_is_what_is_sent(monkeypatch):
    """The SQL that stands below a call in how_it_works is what the call sends, token for token."""
    lines: list[bytes] = []

    def copy_in(connection, cursor, statement, data):
        lines.append(data)
        return copied(connection, cursor, statement, data)

    copied = staging.copy_in
    monkeypatch.setattr(staging, "copy_in", copy_in)
    text = (ROOT / "docs" / "how_it_works.rst").read_text()
    shop.Reading.objects.bulk_upsert([{"device": "", "timestamp": "2026-01-01T00:00Z", "watts": 0}])
    names = {"Product": shop.Product, "Reading": shop.Reading}
    *parts, last = doctest.DocTestParser().parse(text)
    compared, before = 0, ""
    for example, told in zip(parts[1::2], [*parts[2::2], last], strict=True):
        with CaptureQueriesContext(connection) as queries:
            exec(compile(example.source, "how_it_works", "single"), names)
        sent = [tokens(query["sql"]) for query in queries]
        shown = below(told, "sql")
        if shown is None:
            continue
        *whole, end = [tokens(each) for each in shown.split(";")]
        if end.endswith(".."):  # the rest is the last one's
            end = end.removesuffix("..")
            assert sent[-1].startswith(end)
            assert before.endswith(sent[-1].removeprefix(end))
            sent[-1] = end
        else:
            before = sent[-1]
        assert "\n".join([*whole, end]).split() == "\n".join(sent).split()
        data = below(told, "text")
        assert data is None or lines.pop().decode().split() == data.split()
        compared += 1
    assert compared == text.count("code-block:: sql")


@pytest.mark.parametrize(
    "path", [ROOT / "README.rst", ROOT / "docs" / "upsert.rst", ROOT / "docs" / "conflicts.rst"]
)
def test_models_are_those_of_the_examples(path):
    """The models that a document shows are, to the letter, those that its examples run on."""
    source = Path(shop.__file__).read_text()
    shown = [block for block in blocks(path) if "models.Model)" in block]
    assert shown
    for block in shown:
        for each in re.split(r"\n\n\n(?=class )", block[block.index("class ") :]):
            assert each in source


@pytest.mark.django_db
def test_data_migration():
    """The data migration of the docs writes through a historical model."""
    from django.apps.registry import Apps
    from django.db import connection
    from django.db.migrations.state import ModelState, ProjectState

    code = next(b for b in blocks(ROOT / "docs" / "upsert.rst") if b.startswith("def load"))
    state = ProjectState()
    state.add_model(ModelState.from_model(shop.Product))
    assert isinstance(state.apps, Apps)
    names: dict = {}
    exec(code, names)
    with connection.schema_editor() as editor:
        names["load"](state.apps, editor)
    assert shop.Product.objects.get().name == "Panel"


@pytest.mark.django_db
@pytest.mark.parametrize("library", ["rich", "tqdm"])
def test_progress_bars(library, capsys):
    """The bars of the docs come to their end."""
    pytest.importorskip(library)
    name = f"load_with_{library}"
    code = next(b for b in blocks(ROOT / "docs" / "loading.rst") if name in b)
    names: dict = {"Product": shop.Product}
    exec(code, names)
    rows = [{"sku": f"{i}", "name": "n", "price": 1} for i in range(3_000)]
    assert names[name](rows).created == 3_000
    printed = "".join(capsys.readouterr())
    assert "100%" in printed


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_code_fits_the_page(path):
    """No example is so wide that a page cuts it."""
    wide = [line for line in path.read_text().splitlines() if re.match(r"(>>>|\.\.\. ) ?", line)]
    assert [line for line in wide if len(line) > 80] == []


def test_every_public_name_is_documented():
    """The reference names all that __all__ does, and every option of every method."""
    text = (ROOT / "docs" / "reference.rst").read_text()
    for name in django_bulkupsert.__all__:
        assert re.search(rf"\b{name}\b", text), name
    import inspect

    methods = [each for name, each in vars(BulkMethods).items() if not name.startswith("_")]
    assert BulkUpsertQuerySet.bulk_upsert in methods
    for method in methods:
        said = inspect.getdoc(method)
        for parameter in inspect.signature(method).parameters:
            assert parameter == "self" or f"\n    {parameter}: " in said


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_nothing_is_left_to_fill_in(path):
    """No document holds a mark where something was to come."""
    assert not re.search(r"^\.\. [A-Z]+$|TODO|XXX|TBD", path.read_text(), re.MULTILINE)


def test_errors_tree_is_whole():
    """The tree drawn in errors.py has every class."""
    from django_bulkupsert import errors

    drawn = errors.__doc__.split("Each class")[0]
    for name, item in vars(errors).items():
        if isinstance(item, type) and issubclass(item, errors.BulkUpsertError):
            assert re.search(rf"\b{name}\b", drawn), name


def test_manager_is_exported_whole():
    """The manager has what the queryset has."""
    assert BulkUpsertManager.bulk_upsert
    assert BulkUpsertManager.use_in_migrations


def test_the_tests_that_the_readme_names_are_there():
    """Each cell that says yes leads to a test."""
    named = re.findall(r"`yes <([^>]+)>`__", (ROOT / "README.rst").read_text())
    assert len(named) > 10
    for name in named:
        assert re.search(r"\n *def test_", (ROOT / name).read_text()), name


def test_links_between_pages_lead_somewhere():
    """What :doc: names is a page, and what :file: and image name is a file."""
    for path in DOCUMENTS:
        text = path.read_text()
        for name in re.findall(r":doc:`(?:[^<`]*<)?([^>`]+)>?`", text):
            assert (ROOT / "docs" / f"{name}.rst").exists(), (path.name, name)
        folder = path.parent
        for name in re.findall(r"(?:image|figure|include|:file:):{1,2} ?(\S+)", text):
            assert (folder / name).exists(), (path.name, name)
