"""The README and the docs tell the truth: every example in them is run."""

from __future__ import annotations

import ast
import datetime
import doctest
import inspect
import io
import logging.config
import re
import shlex
from importlib.metadata import metadata
from pathlib import Path

import django.db.models.query
import pytest
from django.apps.registry import Apps
from django.core.management import (
    CommandError,
    call_command,
    get_commands,
    load_command_class,
)
from django.db import connection
from django.db.migrations.state import ModelState, ProjectState
from django.db.utils import ConnectionHandler
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

import django_bulkupsert
from django_bulkupsert import BulkUpsertManager, BulkUpsertQuerySet
from django_bulkupsert.engine import attempts
from django_bulkupsert.relations import staging

from .shop import models as shop
from .solar import models as solar
from .solar.management.commands import receive

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]
TUTORIAL, HOWTO = ROOT / "docs" / "tutorial.rst", ROOT / "docs" / "howto.rst"

#: Documents whose console sessions are run, and whose files with a caption are there to be read.
SESSIONS = [TUTORIAL, HOWTO]

#: A file with its name, a session in a terminal, SQL.
CAPTIONED = r"\.\. code-block:: text\n {4}:caption: (\S+)\n\n((?: {4,}.*\n|\n)+)"
CONSOLE = r"\.\. code-block:: console\n\n((?: {4,}.*\n|\n)+)"
SQL = r"\.\. code-block:: sql\n\n((?: {4,}.*\n|\n)+)"


@pytest.mark.django_db
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_examples(path, tmp_path, monkeypatch):
    """What stands after >>> does what stands below it; so does what stands after $."""
    models = solar if path == TUTORIAL else shop
    names = {name: model for name, model in vars(models).items() if getattr(model, "_meta", None)}
    text = path.read_text()
    if path in SESSIONS:
        monkeypatch.chdir(tmp_path)
        for name, content in re.findall(CAPTIONED, text):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text(unindented(content) + "\n")
        text = re.sub(CONSOLE, as_examples, text)
        text = re.sub(SQL, lambda match: f">>> run_sql({unindented(match[1])!r})\n\n", text)
        names |= {"shell": shell, "run_sql": run_sql}
    test = doctest.DocTestParser().get_doctest(text, names, path.name, str(path), 0)
    report: list[str] = []
    runner = doctest.DocTestRunner(
        verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    failed = runner.run(test, out=report.append).failed
    assert failed == 0, "".join(report)


def unindented(block: str) -> str:
    return re.sub(r"^ {4}", "", block, flags=re.MULTILINE).strip()


def as_examples(match: re.Match[str]) -> str:
    """Make examples of a session: what follows $ is run; seconds and rates may be any."""
    block = re.sub(r" \\\n +", " ", unindented(match[1]))
    lines = []
    for line in block.splitlines():
        if line.startswith("$ "):
            lines += ["", f">>> print(shell({line[2:]!r}), end='')"]
        else:
            lines.append(re.sub(r"\d+\.\d\d +[\d,]+$", "...", line) or "<BLANKLINE>")
    return "\n".join(lines) + "\n\n"


def shell(line: str) -> str:
    """Do what a line of a session does, and return what a terminal would show of it."""
    words = shlex.split(line)
    if words[:2] == ["python", "manage.py"]:
        out = io.StringIO()
        try:
            call_command(*words[2:], stdout=out, stderr=io.StringIO())
        except CommandError as error:
            out.write(f"CommandError: {error}\n")
        return out.getvalue()
    if words[0] == "cat":
        return Path(words[1]).read_text()
    assert words[0] == "ls"
    return " ".join(sorted(path.name for path in Path(words[1]).iterdir())) + "\n"


def run_sql(code: str) -> None:
    """Run a block of SQL; of Citus's functions look whether there is what they are called for."""
    for table, column in re.findall(r"create_distributed_table\('(\w+)', '(\w+)'\)", code):
        code = f'SELECT "{column}" FROM "{table}"'
    with connection.cursor() as cursor:
        cursor.execute(code)


def blocks(path: Path, language: str = "python") -> list[str]:
    """Return the code blocks of a document in a language, without their indentation."""
    found = re.findall(rf"\.\. code-block:: {language}\n\n((?: {{4,}}.*\n|\n)+)", path.read_text())
    return [unindented(block) for block in found]


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
    "path",
    [
        ROOT / "README.rst",
        ROOT / "docs" / "upsert.rst",
        ROOT / "docs" / "conflicts.rst",
        TUTORIAL,
        HOWTO,
    ],
    ids=lambda path: path.name,
)
def test_models_are_those_of_the_examples(path):
    """The models that a document shows are, to the letter, those that its examples run on."""
    source = Path((solar if path == TUTORIAL else shop).__file__).read_text()
    shown = [block for block in blocks(path) if "models.Model)" in block]
    assert shown
    for block in shown:
        for each in re.split(r"\n\n\n(?=class )", block[block.index("class ") :]):
            assert each in source


@pytest.mark.django_db
def test_data_migration():
    """The data migration of the docs writes through a historical model."""
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
def test_copying_migration():
    """The how-to's migration copies what is not deleted, and again what has changed."""
    code = next(b for b in blocks(HOWTO) if "def copy_listings" in b)
    state = ProjectState()
    for model in (shop.Listing, shop.Offer):
        state.add_model(ModelState.from_model(model))
    names: dict = {"__name__": "tests.copying"}
    exec(code, names)
    migration = names["Migration"]("0003_copy", "shop")
    for price in (10, 20):
        shop.Listing.objects.bulk_upsert(
            [{"sku": f"P-{number}", "price": price} for number in range(2_500)],
            unique_fields=["sku"],
        )
        shop.Listing.objects.update_or_create(sku="gone", defaults={"deleted": now(), "price": 1})
        with connection.schema_editor() as editor:
            migration.apply(state, editor)
        assert shop.Offer.objects.filter(price=price).count() == 2_500
    assert shop.Offer.objects.count() == 2_500


def test_commands_that_are_named():
    """What is to be typed is understood by the commands, and the extra to be installed is one."""
    lines = [
        line
        for path in SESSIONS
        for block in blocks(path, "shell") + blocks(path, "text")
        for line in block.splitlines()
        if "manage.py" in line or "pip install" in line
    ]
    assert lines
    for line in lines:
        command = re.search(r"python manage\.py (.+)", line)
        if command:
            name, *arguments = shlex.split(command[1])
            app = get_commands()[name]
            load_command_class(app, name).create_parser("manage.py", name).parse_args(arguments)
        else:
            extra = re.fullmatch(r'pip install "django-bulkupsert\[(\w+)\]"', line)
            assert extra[1] in metadata("django-bulkupsert").get_all("Provides-Extra")


def test_settings_of_the_tutorial(tmp_path, monkeypatch):
    """The apps are there, and the log gets what both loggers say."""
    names: dict = {}
    for block in blocks(TUTORIAL):
        if block.startswith(("INSTALLED_APPS", "LOGGING")):
            exec(block, names)
    assert names["INSTALLED_APPS"] == [..., "django_bulkupsert", solar.Reading._meta.app_label]
    loggers = [attempts.logger, receive.logger]
    assert list(names["LOGGING"]["loggers"]) == [logger.name for logger in loggers]
    monkeypatch.chdir(tmp_path)
    logging.config.dictConfig(names["LOGGING"])
    try:
        for logger in loggers:
            logger.warning("from %s", logger.name)
        written = Path("readings.log").read_text()
        assert all(f"WARNING from {logger.name}\n" in written for logger in loggers)
    finally:
        for logger in loggers:
            for handler in [*logger.handlers]:
                handler.close()
                logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)


@pytest.mark.django_db
def test_log_of_the_tutorial(caplog):
    """A retry is logged as the tutorial shows."""
    noon = datetime.datetime(2026, 5, 1, tzinfo=datetime.timezone.utc)
    rows = [
        {"device": "roof", "timestamp": noon + datetime.timedelta(minutes=5 * n), "watts": n}
        for n in range(4_608)
    ]
    failures = ["DO $$ BEGIN RAISE 'deadlock detected' USING ERRCODE = '40P01'; END $$"]

    def fail_once(execute, sql, params, many, context):
        if failures and 'INSERT INTO "solar_reading"' in sql:
            sql, params = failures.pop(), None
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail_once):
        result = solar.Reading.objects.bulk_upsert(rows, unique_fields=["device", "timestamp"])
    assert (result.created, result.retries) == (4_608, 1)
    shown = next(b for b in blocks(TUTORIAL, "text") if "trying again" in b)
    said, shown = (
        re.sub(r"\d\.\d{3} s$", "", " ".join(text.split())) for text in (caplog.messages[0], shown)
    )
    assert said == shown


def test_settings_of_the_howto():
    """Django knows what is set for pgbouncer."""
    code = next(b for b in blocks(HOWTO) if b.startswith("DATABASES"))
    names: dict = {}
    exec(code, names)
    settings = ConnectionHandler(names["DATABASES"])["default"].settings_dict
    known = {*connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS"}
    assert set(settings) <= known
    assert "DISABLE_SERVER_SIDE_CURSORS" in inspect.getsource(django.db.models.query)


def test_every_block_is_of_a_kind_that_is_run():
    """The tutorial and the how-tos hold no block that no test looks at."""
    for path in SESSIONS:
        text = path.read_text()
        for language in re.findall(r"\.\. code-block:: (\w+)", text):
            assert language in ("console", "python", "shell", "sql", "text")
        for block in blocks(path):
            assert re.search(
                r"models\.Model\)|^(INSTALLED_APPS|LOGGING|DATABASES) =|def copy_listings",
                block,
                re.MULTILINE,
            )
        for block in blocks(path, "text"):
            assert "trying again" in block or "manage.py" in block


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


@pytest.mark.parametrize("path", DOCUMENTS[1:], ids=lambda path: path.name)
def test_lines_fit_an_editor(path):
    """No line of the docs is longer than 120 characters."""
    assert [line for line in path.read_text().splitlines() if len(line) > 120] == []


def test_every_public_name_is_documented():
    """The reference names all that __all__ does, and every option of every method."""
    text = (ROOT / "docs" / "reference.rst").read_text()
    for name in django_bulkupsert.__all__:
        assert re.search(rf"\b{name}\b", text), name
    queryset = BulkUpsertQuerySet
    for method in (queryset.bulk_upsert, queryset.bulk_update, queryset.bulk_copy):
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


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_python_is_python(path):
    """Every block of Python can be compiled, also those that show other packages' calls."""
    for block in blocks(path):
        compile(block, path.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
