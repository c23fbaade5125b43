"""The commands: what they write, what they say, with which status they end."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DataError, connection, transaction
from django.db.backends.postgresql.psycopg_any import DateRange, DateTimeTZRange, NumericRange
from django.db.models import Value
from django.db.models.functions import Concat
from django.utils import timezone, translation
from hypothesis import HealthCheck, given, settings

from django_bulkupsert import CsvRows, UpsertResult
from django_bulkupsert.commands import load as load_module
from django_bulkupsert.commands import progress as progress_module
from django_bulkupsert.commands import sample as sample_module
from django_bulkupsert.commands.summary import Summary
from django_bulkupsert.management.commands import bulkupsert as command_module
from django_bulkupsert.relations import StagingRelation
from tests import strategies
from tests.models import (
    City,
    Code,
    Country,
    Custom,
    Everything,
    Mayor,
    Measure,
    Odd,
    Pizzeria,
    Product,
)
from tests.shop.models import Customer
from tests.shop.models import Product as Shop

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parent.parent
FILE = "sku,name,stock\nA,Panel,1\nB,Cable,2\n"
UTC = datetime.timezone.utc


@pytest.fixture
def file(tmp_path):
    """Write a file, and return its path."""

    def write(text: str | bytes = FILE) -> str:
        path = tmp_path / "rows.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


class Terminal(io.StringIO):
    """A text that takes itself for a terminal."""

    def isatty(self):
        return True


class Standard(io.StringIO):
    """What sys.stdin is, of bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.buffer = io.BytesIO(data)


def run(name: str, *arguments: str, **words) -> str:
    """Run a command; return what it says on stdout."""
    out = io.StringIO()
    call_command(name, *arguments, stdout=out, **{"stderr": io.StringIO(), **words})
    return out.getvalue()


def upsert(path: str, *arguments: str, model: str = "tests.Product", **words) -> dict:
    """Upsert a file, and return the counts."""
    return json.loads(run("bulkupsert", model, path, "--format", "json", *arguments, **words))


def refused(name: str, *arguments: str, **words) -> str:
    """Run a command that is refused; return the one line that it says."""
    with pytest.raises(CommandError) as caught:
        run(name, *arguments, **words)
    assert caught.value.returncode == 2
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def stored() -> list[tuple]:
    return list(Product.objects.order_by("sku").values_list("sku", "name", "stock"))


# bulkupsert -------------------------------------------------------------------------------


def test_upsert(file):
    """A file is written, and written again; the counts are a table, or JSON and nothing else."""
    said = run("bulkupsert", "tests.Product", file(), "--unique", "sku").split()
    assert said[:6] == ["created", "updated", "unchanged", "skipped", "seconds", "rows/s"]
    assert said[6:10] == ["2", "0", "0", "0"]
    found = upsert(file(FILE.replace("Cable", "Wire")), "--unique", "sku")
    assert [found[name] for name in ("created", "updated", "unchanged", "skipped")] == [0, 1, 1, 0]
    assert (found["model"], found["database"]) == ("tests.Product", "default")
    assert found["dry_run"] is False
    assert found["seconds"] > 0 < found["rows_per_second"]
    assert stored() == [("A", "Panel", 1), ("B", "Wire", 2)]


def test_without_rich(file, monkeypatch):
    """Without rich the same is said by plain lines."""
    for name in ("rich", "rich.console", "rich.progress", "rich.table"):
        monkeypatch.setitem(sys.modules, name, None)
    out, told = Terminal(), Terminal()
    call_command("bulkupsert", "tests.Product", file(), unique=["sku"], stdout=out, stderr=told)
    assert out.getvalue().splitlines()[0] == "created  updated  unchanged  skipped  seconds  rows/s"
    assert out.getvalue().splitlines()[1].startswith("      2        0 ")
    assert told.getvalue() == ""


def test_silent(file):
    """With --verbosity 0 nothing is said."""
    told = Terminal()
    assert run("bulkupsert", "tests.Product", file(), "-v", "0", unique=["sku"], stderr=told) == ""
    assert told.getvalue() == ""


def test_options(file):
    """Each option is the method's, or that of CsvRows."""
    Product.objects.create(sku="A", name="old", stock=9)
    assert upsert(file(), "--match", "sku", "--update", "stock")["updated"] == 1
    assert stored()[0] == ("A", "old", 1)
    assert upsert(file(), "--unique", "sku", "--ignore-conflicts")["skipped"] == 2
    twice = file("sku,name,stock\nA,1,1\nA,2,2\n")
    assert upsert(twice, "--unique", "sku", "--duplicates", "last")["skipped"] == 1
    assert stored()[0] == ("A", "2", 2)
    other = file("Number;title;x;price\nA;caf\xe9;1;NIL\n".encode("latin-1"))
    words = ["--map", "Number=sku", "--map", "title=name", "--delimiter", ";", "--null", "NIL"]
    words += ["--encoding", "latin-1", "--unique", "sku"]
    assert upsert(other, "--ignore-extra", *words)["updated"] == 1
    assert upsert(other, "--map", "x=", *words)["unchanged"] == 1
    assert Product.objects.get(sku="A").name == "café"


def test_several_fields_and_constraints(file):
    """Fields are named with commas or one by one; a constraint by its name."""
    path = file("device,channel,value\nA,1,2\n")
    assert upsert(path, "--match", "device,channel", model="tests.Measure")["created"] == 1
    found = upsert(path, "--match", "device", "--match", "channel", model="tests.Measure")
    assert found["unchanged"] == 1
    assert Measure.objects.get().value == 2
    path = file("email,name,orders\nA@b.c,x,1\n")
    words = ["--constraint", "customer_email"]
    assert upsert(path, *words, model="shop.Customer")["created"] == 1
    path = file("email,name,orders\na@B.c,x,1\n")
    found = upsert(path, *words, "--dry-run", model="shop.Customer")
    assert found["sample"]["updated"][0]["changes"] == {"email": ["A@b.c", "a@B.c"]}
    assert Customer.objects.get().email == "A@b.c"


def test_where_newer(file):
    """A row is updated where the file's is newer."""
    for key, day in ((1, 5), (2, 7)):
        Everything.objects.create(key=key, date=datetime.date(2026, 5, day), char="old")
    path = file("key,date,char\n1,2026-05-06,new\n2,2026-05-06,new\n")
    words = ["--unique", "key", "--where-newer", "date"]
    found = upsert(path, *words, model="tests.Everything")
    assert (found["updated"], found["skipped"]) == (1, 1)
    found = Everything.objects.order_by("key").values_list("char", flat=True)
    assert list(found) == ["new", "old"]


def test_stdin(monkeypatch):
    """A dash is stdin; nobody is asked."""
    monkeypatch.setattr(sys, "stdin", Standard(FILE.encode()))
    assert upsert("-", "--unique", "sku")["created"] == 2


def test_long_values(file):
    """Values are as long as PostgreSQL takes them; the limit of others stays."""
    before = csv.field_size_limit()
    found = upsert(file("key,text\n1," + "x" * 200_000 + "\n"), "--unique", "key",
                   model="tests.Everything")  # fmt: skip
    assert found["created"] == 1
    assert csv.field_size_limit() == before


def test_other_database(file):
    """--database is the one that is written to."""
    assert upsert(file(), "--unique", "sku", "--database", "default")["database"] == "default"
    assert "PostgreSQL only" in refused("bulkupsert", "tests.Product", file(), "--database", "lite")


REFUSED = [
    (["tests.Product", "nothing.csv"], "nothing.csv: No such file or directory"),
    (["tests.Product", "."], ".: Is a directory"),
    (["tests.Prodct", "x"], "there is no model 'tests.Prodct'; did you mean tests.Product"),
    (["what", "x"], "there is no model 'what'; a model is named as app.Model"),
    (["tests.Product", "x", "--database", "y"], "there is no database alias 'y'; the settings"),
    (["tests.Product", "FILE", "--map", "sku"], "--map is written as HEADER=FIELD, not 'sku'"),
    (["tests.Product", "FILE", "--delimiter", ";", "--unique", "sku"],
     "--delimiter ',' parts them"),
    (["tests.Product", "FILE", "--map", "Sku=sku"], "--map names 'Sku', not in the header"),
    (["tests.Product", "FILE", "--unique", "name"], "--unique"),
    (["tests.Product", "FILE", "--unique", "skuu"], "--unique: 'skuu' is no field of"),
    (["tests.Product", "FILE", "--constraint", "c"], "constraint"),
    (["tests.Product", "FILE", "--where-newer", "x", "--unique", "sku"], "x"),
    (["tests.Product", "FILE", "--batch-size", "0"], "--batch-size must be a positive integer."),
    (["tests.Product", "FILE", "--delimiter", ";;"], "delimiter is one character"),
    (["tests.Product", "FILE", "--encoding", "klingon"], "encoding: Python knows none"),
    (["tests.City", "FILE", "--unique", "name"], "'sku' and 'stock' of the header are no field of "
     "tests.City; it has id, name, country"),
    (["tests.Product", "FILE", "--unique", "sku", "--ignore-conflicts", "--update", "name"],
     "--ignore-conflicts and --update are mutually exclusive"),
    (["tests.Product", "FILE", "--unique", "sku", "--ignore-conflicts", "--where-newer", "name"],
     "--ignore-conflicts and --where-newer are mutually exclusive"),
    (["Tests.PRODUCTS", "x"], "there is no model 'Tests.PRODUCTS'; did you mean tests.Product"),
    (["tests.City", "FILE", "--map", "name=NAMES"],
     "'NAMES' is no field of tests.City; did you mean name?"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[said for _, said in REFUSED])
def test_refused(file, arguments, message):
    """What is refused is one line on stderr, in the words of the command line, and status 2."""
    path = file()
    said = refused("bulkupsert", *(path if each == "FILE" else each for each in arguments))
    assert message in said
    assert not Product.objects.exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bulkupsert", ["unique", "constraint", "match", "update", "where-newer", "map", "rejects",
                        "database", "encoding", "delimiter", "format", "batch-size"]),
        ("bulkexport", ["fields", "filter", "database", "delimiter"]),
    ],
)  # fmt: skip
def test_options_that_are_empty(file, tmp_path, name, options):
    """What a variable that is not set gives is not taken for no option at all."""
    path = file() if name == "bulkupsert" else str(tmp_path / "out.csv")
    for option in options:
        with pytest.raises(CommandError, match=option.replace("batch-size", "int")):
            run(name, "tests.Product", path, f"--{option}", "")
        with pytest.raises(CommandError, match=option.replace("batch-size", "int")):
            run(name, "tests.Product", path, f"--{option}=")
    assert refused(name, "tests.Product", "") == "FILE is given, but empty"
    assert refused("bulkupsert", "tests.Product", path, "--update", "name", "--update",
                   " ,") == "--update is given, but empty"  # fmt: skip
    assert not Product.objects.exists()
    assert [each.name for each in tmp_path.iterdir()] in (["rows.csv"], [])


def test_models_of_several_tables(tmp_path):
    """They are exported, and not loaded; that is said before the file is looked at."""
    said = refused("bulkupsert", "tests.Pizzeria", str(tmp_path / "nothing.csv"))
    assert said == (
        "tests.Pizzeria keeps its fields in several tables, and no file can be loaded into these; "
        "bulk_upsert() takes its instances"
    )


@pytest.mark.parametrize("option", ["--update", "--match"])
def test_foreign_keys_that_the_header_names_otherwise(file, monkeypatch, option):
    """A name of another field than the one the file gives is not taken for the foreign key."""
    Country.objects.create(code="DE")
    path = file("name,Land\nBerlin,DE\n")
    by = ["--unique", "name"] if option == "--update" else []
    words = ["tests.City", path, *by, "--map", "Land=country__code", option]
    said = refused("bulkupsert", *words, "country__name")
    assert said == f"{option}: no column is 'country__name'; the header has name and Land"
    run("bulkupsert", *words, "country__code")
    monkeypatch.setattr(sys, "stdin", Standard(Path(path).read_bytes()))
    monkeypatch.setattr(sys.stdin.buffer, "seekable", lambda: False, raising=False)
    run("bulkupsert", words[0], "-", *words[2:], "country__code")
    assert City.objects.get().country_id is not None


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("SKUS,x,PRIZE", "the first line has to name the columns; did you mean sku and price?"),
        ("url", "the first line has to name the columns, and it has id, sku, name, stock, price,"),
        ("name,PRIZE", "no field of tests.Product; did you mean price? --map says which field"),
        ("name,url", "sku, name, stock, price, created and updated; --map says which field"),
    ],
)
def test_columns_that_are_no_field(file, header, said):
    """The message reads as sentences; names are near whatever case they have."""
    path = file(f"{header}\n{header}\n")
    assert said in refused("bulkupsert", "tests.Product", path, "--unique", "sku")


def test_refused_rows(file):
    """So is a row, with its line; and what the server refuses."""
    said = refused("bulkupsert", "tests.Product", file(FILE + "C,Bolt,x\n"), "--unique", "sku")
    assert said.startswith("line 4 (row 2), field 'stock': this text can't be read as an integer")
    said = refused("bulkupsert", "tests.Product", file(FILE + "B,C,1\n"), "--unique", "sku")
    assert said.endswith("or say which of its rows counts: --duplicates first or last")
    said = refused("bulkupsert", "tests.Product", file("sku,x\nA,1\n"), "--unique", "sku")
    assert said.endswith("--map says which field a column is, and --ignore-extra leaves out what "
                         "is none")  # fmt: skip
    said = refused("bulkupsert", "tests.Product", file("sku,name,\nA,1,\n"), "--unique", "sku")
    assert said.endswith("no name for column 3; --ignore-extra leaves out columns without one")
    said = refused("bulkupsert", "tests.Product", file("sep=;\nsku;name\n"), "--unique", "sku")
    assert said.endswith("tells Excel the delimiter; remove it, and pass --delimiter ';'")
    said = refused("bulkupsert", "tests.Product", file("x,y\n"))
    assert "no column is a field of tests.Product" in said
    Product.objects.create(sku="A", name="x", stock=1)
    said = refused("bulkupsert", "tests.Product", file())
    assert said.startswith("line 2 (row 0), field 'sku': duplicate key value violates unique")


@pytest.mark.parametrize("kind", [RuntimeError("a field's\nown"), AssertionError()])
def test_what_nobody_expects(file, monkeypatch, kind):
    """Any other error has the status of what is refused, and its kind; its cause is kept."""

    def failing(*_):
        raise kind

    monkeypatch.setattr(progress_module.ProgressLines, "__call__", failing)
    with pytest.raises(CommandError) as caught:
        run("bulkupsert", "tests.Product", file(), "--unique", "sku")
    assert caught.value.returncode == 2
    assert caught.value.__cause__ is kind
    said = {RuntimeError: "RuntimeError: a field's own", AssertionError: "AssertionError"}
    assert str(caught.value) == f"{said[type(kind)]} (--traceback shows where)"
    assert not Product.objects.exists()


def test_codecs_that_are_none_of_texts(file):
    """An encoding that Python knows, but not for texts, is refused as well."""
    said = refused("bulkupsert", "tests.Product", file(), "--unique", "sku", "--encoding", "hex")
    assert "'hex' is none that files of text have" in said


def test_usage():
    """Matches exclude each other."""
    with pytest.raises(CommandError, match="not allowed with argument"):
        run("bulkupsert", "tests.Product", "x", "--unique", "a", "--match", "b")


# A dry run --------------------------------------------------------------------------------


def test_dry_run(file):
    """Nothing is written; the counts are those of the call, and some differences are shown."""
    Shop.objects.bulk_create(
        [Shop(sku=f"S{i:02}", name="old" * 20, price=i, updated=timezone.now()) for i in range(20)]
    )
    lines = [f"S{i:02},{'old' * 20 if i % 2 else 'new'},{i}.50" for i in range(25)]
    path = file("sku,name,price\n" + "\n".join(lines) + "\n")
    said = run("bulkupsert", "shop.Product", path, "--unique", "sku", "--dry-run")
    assert said.count("~ sku=") == 10
    assert said.count("+ sku=") == 3
    assert "~ sku='S00'\n    name: 'oldoldoldoldoldoldoldoldoldoldoldold... -> 'new'\n" in said
    assert "    price: 1.00 -> 1.50\n" in said
    assert "+ sku='S20'\n    name: 'new'\n    price: 20.50\n" in said
    assert "Some of the first 25 rows:" in said
    assert said.endswith("Dry run: nothing was written.\n")
    found = upsert(path, "--unique", "sku", "--dry-run", model="shop.Product")
    assert (found["dry_run"], found["created"], found["updated"]) == (True, 5, 20)
    assert found["sample"]["rows"] == 25
    assert found["sample"]["updated"][1] == {
        "key": {"sku": "S01"}, "changes": {"price": ["1.00", "1.50"]},
    }  # fmt: skip
    assert found["sample"]["created"][0] == {
        "key": {"sku": "S20"}, "values": {"name": "new", "price": "20.50"},
    }  # fmt: skip
    assert Shop.objects.filter(price=decimal.Decimal("1.50")).count() == 0
    assert Shop.objects.count() == 20


def test_columns_without_a_name(file, tmp_path):
    """--ignore-extra leaves them out, also of the file of rejects, which is read again."""
    path, bad = file("sku,stock,x,,x\nA,1,,,\nB,two,,y,\n,,,,\n"), str(tmp_path / "bad.csv")
    with pytest.raises(CommandError, match="1 row was rejected"):
        run("bulkupsert", "tests.Product", path, "--unique=sku", "--ignore-extra", "--rejects", bad)
    lines = Path(bad).read_text().splitlines()
    assert lines[0] == "rejected_line,rejected_reason,sku,stock,x,,x"
    assert lines[1].startswith("3,")
    Path(bad).write_text("\n".join(lines).replace("two", "2"))
    assert upsert(bad, "--unique", "sku", "--ignore-extra", "--dry-run")["created"] == 1


def test_what_a_dry_run_counts(file, monkeypatch):
    """Lines of nothing are no rows, to what a dry run shows either."""
    monkeypatch.setattr(sample_module, "ROWS", 2)
    path = file('sku,name,stock\n\n,,\nA,Panel,1\n,\n"",,\nB,Cable,2\n,,\n')
    found = upsert(path, "--unique", "sku", "--dry-run")
    assert (found["created"], found["sample"]["rows"]) == (2, 2)
    assert [each["key"] for each in found["sample"]["created"]] == [{"sku": "A"}, {"sku": "B"}]
    path = file("sku,name\nA,x\n,\nB,y\n")
    found = upsert(path, "--unique", "sku", "--dry-run", "--null", "NIL")
    assert [each["key"] for each in found["sample"]["created"]] == [{"sku": "A"}, {"sku": ""}]


def test_dry_run_of_stdin(monkeypatch):
    """What can be read once only is kept for the sample."""
    monkeypatch.setattr(sys, "stdin", Standard(FILE.encode()))
    monkeypatch.setattr(sys.stdin.buffer, "seekable", lambda: False, raising=False)
    found = upsert("-", "--unique", "sku", "--dry-run")
    assert len(found["sample"]["created"]) == found["created"] == 2
    assert not Product.objects.exists()


def test_sample_is_of_the_start(file, monkeypatch):
    """Memory is bounded: only so many rows are looked at twice."""
    monkeypatch.setattr(sample_module, "ROWS", 2)
    path = file('sku,name\n\nA,"a\nb"\n\nB,b\nC,c\n')
    found = upsert(path, "--unique", "sku", "--dry-run")
    assert found["created"] == 3
    assert found["sample"]["rows"] == 2
    assert [each["key"]["sku"] for each in found["sample"]["created"]] == ["A", "B"]


def test_sample_of_any_values(file):
    """Values of every type are shown, and are JSON."""
    path = file('key,binary,int_range,duration\n1,\\x0001,"[1,5)",1 day\n')
    found = upsert(path, "--unique", "key", "--dry-run", model="tests.Everything")
    values = found["sample"]["created"][0]["values"]
    assert (values["binary"], values["duration"]) == ("0001", "P1DT00H00M00S")
    assert values["int_range"] == "[1, 5)"
    said = run("bulkupsert", "tests.Everything", path, "--unique", "key", "--dry-run")
    assert "    binary: b'\\x00\\x01'\n" in said


def test_numbers_that_json_lacks(file):
    """They are named in JSON, also within others; and one that stays is no change."""
    names = ["NaN", "Infinity", "-Infinity"]
    for key, name in enumerate(names):
        Everything.objects.create(key=key, float=float(name), char="old")
    path = file("key,float,char\n" + "".join(f"{i},{name},new\n" for i, name in enumerate(names)))
    words = ["--unique", "key", "--dry-run"]
    found = upsert(path, *words, model="tests.Everything")
    changes = [each["changes"] for each in found["sample"]["updated"]]
    assert changes == [{"char": ["old", "new"]}] * 3
    path = file("key,float\n" + "".join(f"{i},{name}\n" for i, name in enumerate(names, 10)))
    said = run("bulkupsert", "tests.Everything", path, *words, "--format", "json")
    found = json.loads(said, parse_constant=pytest.fail)
    assert [each["values"]["float"] for each in found["sample"]["created"]] == names
    shown = sample_module.Sample(created=[({"k": 1}, {"v": {"a": [math.nan, (-math.inf, "x")]}})])
    told = Summary("m", "d", UpsertResult(), 1.0, shown).as_json()
    values = json.loads(told, parse_constant=pytest.fail)["sample"]["created"][0]["values"]
    assert values == {"v": {"a": ["NaN", ["-Infinity", "x"]]}}
    nested = sample_module.named_numbers([decimal.Decimal("NaN"), {"x": math.inf}, 1.5])
    assert nested == ["NaN", {"x": "Infinity"}, 1.5]


def test_key_of_a_constraint(file):
    """A row is shown by the fields of the constraint that it is matched by, if it has some."""
    path = file("sku,price\nA,1\n")
    found = upsert(path, "--constraint", "listing_live", "--dry-run", model="shop.Listing")
    assert found["sample"]["created"][0]["key"] == {"sku": "A"}


def test_nothing_to_show(file):
    """Where nothing changes there is no sample; nor where nothing matches rows."""
    upsert(file(), "--unique", "sku")
    said = run("bulkupsert", "tests.Product", file(), "--unique", "sku", "--dry-run")
    assert "Some" not in said
    said = run("bulkupsert", "tests.Product", file(), "--ignore-conflicts", "--dry-run")
    assert "Dry run" in said


# What is told meanwhile -------------------------------------------------------------------


def test_progress_lines(file, monkeypatch):
    """A line now and then, with what share of the file was read."""
    monkeypatch.setattr(progress_module, "INTERVAL", 0)
    told = io.StringIO()
    upsert(file(), "--unique", "sku", stderr=told)
    told = io.StringIO(told.getvalue().replace("the file is read; merging its rows\n", ""))
    assert told.getvalue().startswith("2 rows (100 % of the file), ")
    assert told.getvalue().splitlines()[0].endswith(" rows/s")


def test_progress_of_the_merge(file, monkeypatch):
    """When the file is read, it is told that the rest is the server's."""
    monkeypatch.setattr(progress_module, "INTERVAL", 0)
    told = io.StringIO()
    lines = "".join(f"S{i},x,1\n" for i in range(6_000))
    upsert(file("sku,name,stock\n" + lines), "--unique", "sku", stderr=told)
    assert "the file is read; merging its rows\n" in told.getvalue()


def test_progress_of_what_has_no_size(monkeypatch):
    """Of stdin the rows are told."""
    monkeypatch.setattr(progress_module, "INTERVAL", 0)
    monkeypatch.setattr(sys, "stdin", Standard(FILE.encode()))
    told = io.StringIO()
    upsert("-", "--unique", "sku", stderr=told)
    assert "\n2 rows, " in told.getvalue()


def test_progress_bar(file):
    """A bar on a terminal, if rich is there."""
    pytest.importorskip("rich")
    told = Terminal()
    upsert(file(), "--unique", "sku", stderr=told, no_input=True)
    assert "2 rows" in told.getvalue()


# Who is asked -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words", "created", "asked"),
    [
        ("y\n", [], 2, True),
        ("n\n", [], 0, True),
        ("", [], 0, True),
        ("", ["--no-input"], 2, False),
        ("", ["--dry-run"], 0, False),
    ],
)
def test_confirmation(file, monkeypatch, *, answer, words, created, asked):
    """Somebody at a terminal is asked once, on stderr."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    told = io.StringIO()
    arguments = ["bulkupsert", "tests.Product", file(), "--unique", "sku", *words]
    if asked and not created:
        assert refused(*arguments, stderr=told) == "Nothing was written."
    else:
        run(*arguments, stderr=told)
    assert ("to tests.Product in the database" in told.getvalue()) == asked
    assert Product.objects.count() == created


# Interrupted ------------------------------------------------------------------------------


def test_interrupted(file, monkeypatch):
    """Ctrl-C leaves nothing written, and says so."""

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(progress_module.ProgressLines, "__call__", interrupted)
    with pytest.raises(CommandError, match=r"^Interrupted; nothing was written\.$") as caught:
        run("bulkupsert", "tests.Product", file(), "--unique", "sku")
    assert caught.value.returncode == 130
    assert not Product.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_statement_is_interrupted(file):
    """Ctrl-C ends the statement that runs, rather than wait for it."""
    Product.objects.create(sku="A", name="old", stock=1)
    handler = signal.getsignal(signal.SIGINT)
    held, done = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            Product.objects.filter(sku="A").select_for_update().get()
            held.set()
            done.wait(20)
        connection.close()

    holding = threading.Thread(target=hold)
    interrupt = threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT))
    holding.start()
    held.wait(20)
    interrupt.start()
    start = time.monotonic()
    try:
        with pytest.raises(CommandError, match="Interrupted") as caught:
            run("bulkupsert", "tests.Product", file(), "--unique", "sku")
        assert time.monotonic() - start < 10
    finally:
        interrupt.join()
        done.set()
        holding.join()
    assert caught.value.returncode == 130
    assert stored() == [("A", "old", 1)]
    assert signal.getsignal(signal.SIGINT) is handler


def test_other_threads(file):
    """Signals are the main thread's: elsewhere the command runs without."""
    found: list = []

    def work():
        try:
            path = file("sku\n")
            found.append(upsert(path, "--unique", "sku"))
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0]["created"] == 0


def python(
    *arguments: str, data: bytes = b"", closed: str = "", **words
) -> subprocess.CompletedProcess:
    """Run a command as a program, on the database of the tests; the shell closes ``<&-``."""
    code = (
        "import os, sys, django; django.setup()\n"
        "from django.db import connections\n"
        "connections['default'].settings_dict['NAME'] = os.environ['NAME']\n"
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(['manage.py', *sys.argv[1:]])"
    )
    name = connection.settings_dict["NAME"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "NAME": name}
    environment.update(words.pop("env", {}))
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh"] if closed else []
    return subprocess.run(
        [*shell, sys.executable, "-c", code, *arguments],
        input=data,
        cwd=ROOT,
        env=environment,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **words},
    )


@pytest.mark.django_db(transaction=True)
def test_programs(file):
    """As programs: the status, one line on stderr, stdout for what was asked alone."""
    ended = python("bulkupsert", "tests.Product", "-", "--unique=sku", "--format=json",
                   data=FILE.encode())  # fmt: skip
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["created"] == 2
    assert ended.stderr == b""
    assert len(stored()) == 2
    ended = python("bulkexport", "tests.Product", "-", "--fields=sku,name,stock")
    assert (ended.returncode, ended.stdout.decode()) == (0, FILE)
    ended = python("bulkupsert", "tests.Product", "nothing.csv")
    assert ended.returncode == 2
    assert ended.stderr == b"CommandError: nothing.csv: No such file or directory\n"
    assert ended.stdout == b""
    ended = python("bulkupsert", "tests.Nothing", "x", "--traceback")
    assert b"Traceback" in ended.stderr
    assert ended.returncode == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("form", ["table", "json"])
def test_nobody_reads_the_summary(file, tmp_path, form):
    """A reader that goes away changes neither the status nor the rows, and nothing is said."""
    for text, status in ((FILE, 0), (FILE + "C,x,y\n", 1)):
        read, write = os.pipe()
        os.close(read)
        words = ["--format", form, "--unique", "sku", "--rejects", str(tmp_path / "bad.csv")]
        ended = python("bulkupsert", "tests.Product", file(text), *words, stdout=write)
        os.close(write)
        assert ended.returncode == status
        said = ended.stderr.decode()
        assert said.startswith("CommandError: 1 row was rejected") if status else not said
        assert len(stored()) == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_no_room_for_the_summary(file):
    """What was done is said where the summary can't be written; the status is the rows'."""
    words = ["bulkupsert", "tests.Product", file(), "--unique", "sku"]
    ways = [(["--dry-run"], "nothing was written"), ([], "the rows are written")]
    for more, done in ways:
        with open("/dev/full", "wb") as full:
            ended = python(*words, *more, stdout=full)
        said = f"{done}, but the summary can't be shown: No space left on device\n"
        assert (ended.returncode, ended.stderr.decode()) == (0, said)
        assert len(stored()) == (0 if more else 2)
    with open("/dev/full", "wb") as full:
        ended = python("bulkexport", "tests.Product", os.devnull, stderr=full)
        assert ended.returncode == 0
        for more in ([], ["--traceback"]):  # nor where an error can't
            ended = python("bulkupsert", "tests.Product", "nothing.csv", *more, stderr=full)
            assert ended.returncode == 2


@pytest.mark.django_db(transaction=True)
def test_a_closed_stderr(file):
    """A refusal has its status where it can't be said, as some daemons have it."""
    for words, status in (["nothing.csv"], 2), ([file(), "--unique", "sku", "-v", "0"], 0):
        ended = python("bulkupsert", "tests.Product", *words, closed="2>&-")
        assert ended.returncode == status


@pytest.mark.parametrize("terminal", [False, True])
def test_counts_are_never_cut(terminal):
    """However many digits they have, and however narrow the terminal is."""
    result = UpsertResult(*(10**12 + i for i in range(4)), retries=10**9)
    text = Summary("a.B", "default", result, 1.5, collects=True).as_text(terminal=terminal)
    for count in (result.created, result.updated, result.unchanged, result.skipped, result.retries):
        assert f"{count:,}" in text
    assert "…" not in text


def test_no_room_in_a_call(file):
    """Where a program calls the command, its stdout stays what it is."""

    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

        def fileno(self):
            raise AssertionError("of use to the caller")

    told = io.StringIO()
    call_command("bulkupsert", "tests.Product", file(), "--match", "sku", stdout=Full(),
                 stderr=told)  # fmt: skip
    assert told.getvalue().startswith("the rows are written, but the summary can't be shown: No")
    told = Full()
    call_command("bulkexport", "tests.Product", os.devnull, stderr=told)
    assert "2 rows written" in told.getvalue()


@pytest.mark.django_db(transaction=True)
def test_characters_that_stdout_lacks(file):
    """They are escaped."""
    path = file("sku,name\nA,caf\xe9 \u2028\n")
    words = ["--unique", "sku", "--dry-run"]
    ended = python("bulkupsert", "tests.Product", path, *words, env={"PYTHONIOENCODING": "ascii"})
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"name: 'caf\\xe9 \\u2028'\n" in ended.stdout


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(os.name != "posix", reason="descriptors are closed otherwise elsewhere")
def test_closed_streams(file, tmp_path):
    """Without stdin nobody is asked, and it is no file; without stdout a summary is not wanted."""
    words = ["--unique", "sku"]
    ended = python("bulkupsert", "tests.Product", "-", *words, closed="<&-")
    assert (ended.returncode, ended.stderr) == (2, b"CommandError: -: stdin is closed\n")
    ended = python("bulkupsert", "tests.Product", file(), *words, closed="<&-")
    assert (ended.returncode, ended.stderr) == (0, b"")
    path = tmp_path / "out.csv"
    path.write_text("precious")
    ended = python("bulkexport", "tests.Product", str(path), closed="<&-")
    said = f"CommandError: {path} is there already; --force overwrites it\n"
    assert (ended.returncode, ended.stderr.decode()) == (2, said)
    ended = python("bulkupsert", "tests.Product", file(), *words, closed=">&-")
    assert (ended.returncode, ended.stderr) == (0, b"")
    ended = python("bulkexport", "tests.Product", "-", closed=">&-")
    assert (ended.returncode, ended.stderr) == (2, b"CommandError: -: stdout is closed\n")


# bulkexport -------------------------------------------------------------------------------


def export(path: str, *arguments: str, model: str = "tests.Product", **words) -> None:
    run("bulkexport", model, path, *arguments, **words)


def everything() -> list[dict]:
    """Values of every type that are easily lost on the way."""
    country = Country.objects.create(code="DE")
    code = Code.objects.create(code="007")
    moment = datetime.datetime(2026, 5, 1, 12, 30, 15, 123456, UTC)
    autumn = datetime.datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    hard = 'a,"b"\r\n\tc\\ \N{SNOWMAN}\U0001f600\u2028'
    return [
        {},
        {
            "big": -(2**63), "binary": b"", "boolean": False, "char": "", "date": datetime.date.max,
            "datetime": moment, "decimal": decimal.Decimal("-0.000001"),
            "duration": -datetime.timedelta(days=1, microseconds=1), "email": "", "file": "",
            "float": math.nan, "integer": 0, "ip": "::1", "json": None, "positive": 0,
            "text": "", "time": datetime.time(0), "uuid": uuid.UUID(int=0), "relation": country,
            "one": code, "integers": [], "texts": ["", None, "NULL", hard[:20]],
            "nested": [[hard], [""]], "moments": [moment, autumn], "decimals": [],
            "int_range": NumericRange(empty=True), "big_range": NumericRange(None, None),
            "decimal_range": NumericRange(decimal.Decimal("1.5"), None, "(]"),
            "date_range": DateRange(datetime.date.min, None),
            "moment_range": DateTimeTZRange(autumn, moment.replace(year=2027), "[]"),
        },
        {
            "binary": bytes(range(256)), "boolean": True, "char": "\\N", "date": datetime.date.min,
            "datetime": autumn, "duration": datetime.timedelta(days=400, hours=-1),
            "float": -math.inf, "json": strategies.JSON_NULL, "ip": "10.0.0.1", "text": hard,
            "time": datetime.time(23, 59, 59, 999999), "texts": [],
        },
        {
            "datetime": autumn + datetime.timedelta(hours=1), "float": 0.1 + 0.2, "char": " a ",
            "json": {"a": [1.50, None, hard]}, "duration": datetime.timedelta(0), "text": "\\.",
            "json_encoded": "null",
        },
    ]  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_round_trip(image, tmp_path, delimiter):
    """What is exported and taken back is what it was, of every type, to the last bit."""
    Everything.objects.bulk_create(
        [Everything(key=key, **row) for key, row in enumerate(everything())]
    )
    path, words = str(tmp_path / "out.csv"), ["--null", "<NULL>", "--delimiter", delimiter]
    before = image(Everything, without=())
    with connection.cursor() as cursor, timezone.override("America/St_Johns"):
        cursor.execute("SET LOCAL TimeZone = 'America/St_Johns'")
        cursor.execute("SET LOCAL IntervalStyle = 'sql_standard'")
        cursor.execute("SET LOCAL DateStyle = 'German'")
        cursor.execute("SET LOCAL extra_float_digits = 0")
        cursor.execute("SET LOCAL bytea_output = 'escape'")
        export(path, *words, model="tests.Everything")
        cursor.execute("SHOW IntervalStyle")
        assert cursor.fetchone()[0] == "sql_standard"  # what was set stays
        for name in ("TimeZone", "IntervalStyle", "DateStyle", "extra_float_digits"):
            cursor.execute(f"SET LOCAL {name} TO DEFAULT")
        cursor.execute("SET LOCAL bytea_output TO DEFAULT")
        cursor.execute("SET LOCAL TimeZone = 'UTC'")
    assert upsert(path, *words, "--unique", "key", model="tests.Everything")["unchanged"] == 4
    Everything.objects.all().delete()
    assert upsert(path, *words, "--unique", "key", model="tests.Everything")["created"] == 4
    assert image(Everything, without=()) == before


@given(rows=strategies.rows())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_round_trip_of_anything(tmp_path, rows):
    """Whatever Django's fields hold comes back unchanged, also by CsvRows."""
    with transaction.atomic():
        Everything.objects.bulk_upsert(rows, unique_fields=["key"])
        path = str(tmp_path / "out.csv")
        export(path, "--null", "<NULL>", "--force", model="tests.Everything")
        back = CsvRows(path, null="<NULL>")
        result = Everything.objects.bulk_upsert(back, unique_fields=["key"])
        assert result.unchanged == len(rows)
        Everything.objects.all().delete()
        assert Everything.objects.bulk_copy(back) == len(rows)
        again = Everything.objects.bulk_upsert(rows, unique_fields=["key"])
        assert again.unchanged == len(rows)
        transaction.set_rollback(True)


@pytest.mark.parametrize("interval", ["1 year 2 mons -3 days +04:05:06.7", "30:00:00", "-1 mons",
                                      "-00:00:00.000001", "2 days -01:00:00"])  # fmt: skip
def test_intervals_that_are_no_timedeltas(image, tmp_path, interval):
    """An interval is read by the server, which has months, and hours beside days."""
    row = Everything.objects.create(key=1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tests_everything SET duration = %s::interval", [interval])
    path, before = str(tmp_path / "out.csv"), image(Everything)
    export(path, model="tests.Everything")
    row.save()
    assert upsert(path, "--unique", "key", model="tests.Everything")["updated"] == 1
    assert image(Everything) == before


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("decimal", "NaN"),
        ("integers", "[0:1]={1,2}"),
        ("date", "infinity"),
        ("date", "0044-03-15 BC"),
    ],
)
def test_what_is_not_read_back(tmp_path, field, text):
    """What the server has, and Python's values don't, is exported, and refused when it is read."""
    Everything.objects.create(key=1)
    name = Everything._meta.get_field(field).column
    kind = {"decimal": "numeric", "integers": "integer[]"}.get(field, "date")
    with connection.cursor() as cursor:
        cursor.execute(f'UPDATE tests_everything SET "{name}" = %s::{kind}', [text])
    path = str(tmp_path / "out.csv")
    export(path, "--fields", f"key,{field}", model="tests.Everything")
    assert text in Path(path).read_text()
    said = refused("bulkupsert", "tests.Everything", path, "--unique", "key")
    assert f"line 2 (row 0), field '{field}'" in said


def test_fields_and_filters(tmp_path, capsysbinary):
    """Some fields of some rows, in the order of their keys."""
    germany = Country.objects.create(code="DE", name="100 % 'D'")
    for name, country in (("Berlin", germany), ("Paris", None)):
        run("bulkupsert", "tests.City", _written(tmp_path, name, country), "--unique", "name")
    found = {}
    for words in ((), ("--filter", "country__name=100 % 'D'"), ("--filter", "country__isnull=true"),
                  ("--filter", "name__in=Paris,Rome"), ("--filter", "name__in=")):  # fmt: skip
        out = io.StringIO()
        call_command("bulkexport", "tests.City", "-", "--fields", "name,country__code", *words,
                     stdout=out, stderr=io.StringIO())  # fmt: skip
        found[words[-1:]] = out.getvalue()
    head = "name,country__code\n"
    assert list(found.values()) == [
        f"{head}Berlin,DE\nParis,\n", f"{head}Berlin,DE\n", f"{head}Paris,\n", f"{head}Paris,\n",
        head,
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["load", "dry run"])
@pytest.mark.parametrize("count", [2, 3_000])
def test_a_foreign_key_that_is_none_names_its_line(file, words, count):
    """Though it is checked at the end, the rows are asked which one it is."""
    pk = Country.objects.create(code="DE").pk
    lines = [f"{number},{pk}\n" for number in range(count)]
    path = file("name,country\n" + "".join(lines) + f"bad,{pk + 999}\n")
    said = rf"^line {count + 2} \(row {count}\), field 'country': no row of tests.Country has"
    with pytest.raises(CommandError, match=said) as caught:
        run("bulkupsert", "tests.City", path, "--unique", "name", *words)
    assert caught.value.returncode == 2
    assert not City.objects.exists()
    run("bulkupsert", "tests.City", file("name,country\n" + "".join(lines)), "--unique", "name")
    assert City.objects.count() == count


def test_foreign_keys_named_as_the_header_does(tmp_path):
    """Options take country__code for country: to match by, and to update."""
    codes = ["DE", "FR", "IT"]
    Country.objects.bulk_create(Country(code=code) for code in codes)
    path = tmp_path / "cities.csv"
    path.write_text("country__code,name\n" + "".join(f"{code},C-{code}\n" for code in codes))
    by = ["tests.City", str(path), "--match", "country__code"]
    run("bulkupsert", *by)
    City.objects.update(name=Concat("name", Value("!")))
    shown = run("bulkupsert", *by, "--dry-run")
    assert "'C-DE!' -> 'C-DE'" in shown
    run("bulkupsert", *by)
    assert set(City.objects.values_list("name", flat=True)) == {f"C-{code}" for code in codes}
    City.objects.update(country=None)
    run("bulkupsert", *by[:2], "--unique", "name", "--update", "country__code")
    assert not City.objects.filter(country=None).exists()
    path.write_text("city__name,name\nC-DE,Ann\nC-IT,Bob\n")
    for _ in range(2):
        run("bulkupsert", "tests.Mayor", str(path), "--unique", "city__name")
    assert set(Mayor.objects.values_list("city__name", "name")) == {
        ("C-DE", "Ann"),
        ("C-IT", "Bob"),
    }
    path.write_text("name,country__code\nA,DE\nB,XX\nC,YY\n")
    assert "has this code: 'XX' and 'YY'" in refused(
        "bulkupsert", "tests.City", str(path), "--unique", "name"
    )


FILTERS = [
    ("country__isnull=maybe", "neither true nor false"),
    ("id__range=1", "a range is two values, FROM,TO"),
    ("id__range=1,2,3", "a range is two values, FROM,TO"),
    ("country__isnull__gt=1", "Unsupported lookup 'isnull"),
    ("name__regex=(", "invalid regular expression: parentheses () not balanced"),
    ("id__in=1,x", "Field 'id' expected a number but got 'x'."),
    ("=x", "Cannot resolve keyword '' into field."),
    ("nmae=x", "Cannot resolve keyword 'nmae' into field."),
    ("name__like=x", "Unsupported lookup 'like' for"),
    ("country__sure=maybe", "Unsupported lookup 'sure' for"),
]


@pytest.mark.parametrize(("given", "message"), FILTERS, ids=[given for given, _ in FILTERS])
def test_filters_that_mean_nothing(tmp_path, given, message):
    """A value that its lookup can't take is refused, by the name of the option."""
    City.objects.create(name="Berlin")
    path = tmp_path / "out.csv"
    others = ["--filter", "id__gt=0", "--filter", "name=Berlin"]
    said = refused("bulkexport", "tests.City", str(path), *others, "--filter", given)
    assert said.startswith(f"--filter {given}: {message}")
    assert "LINE" not in said
    assert not path.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("boolean=maybe", "neither true nor false"),
        ("boolean__in=true,maybe", "neither true nor false"),
        ("datetime__gte=soon", "\u201csoon\u201d value has an invalid format."),
        ("uuid=x", "\u201cx\u201d is not a valid UUID."),
        ("ip=x", ""),  # a driver's words, or the server's
    ],
)
def test_filters_of_fields(tmp_path, given, message):
    """So is one that the field, or the server, can't read."""
    Everything.objects.create(key=1)
    words = [str(tmp_path / "out.csv"), "--null", "-", "--filter", given]
    said = refused("bulkexport", "tests.Everything", *words)
    assert said.startswith(f"--filter {given}: {message}")
    assert "LINE" not in said


def test_a_table_that_is_not_there(tmp_path):
    """What is no filter's is not told of one."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tests_measure RENAME TO elsewhere")
    said = refused("bulkexport", "tests.Measure", str(tmp_path / "x"), "--filter", "value=1")
    assert said.startswith('relation "tests_measure" does not exist')
    assert "--filter" not in said


def test_what_no_filter_is_guilty_of(tmp_path, monkeypatch):
    """Nor is what fails beside them."""
    Product.objects.create(sku="A", name="n")

    def failing(*_):
        raise DataError("of another kind")

    monkeypatch.setattr(progress_module.ProgressLines, "__call__", failing)
    said = refused("bulkexport", "tests.Product", str(tmp_path / "x"), "--filter", "sku=A")
    assert said == "of another kind"


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ("boolean=true", "1"), ("boolean=Yes", "1"), ("boolean__exact=0", "2"),
        ("boolean=f", "2"), ("boolean__in=no,1", "12"), ("datetime__lt=2026-05-01 01:00", "1"),
        ("datetime__gte=2026-05-01T01:00", "2"), ("datetime=2026-04-30T22:30Z", "1"),
        ("datetime__range=2026-05-01,2026-05-02", "12"), ("datetime__date=2026-05-01", "12"),
        ("datetime__date__gt=2026-05-01", ""),
    ],
)  # fmt: skip
def test_filters_read_values_as_files_do(tmp_path, given, keys):
    """Booleans in any of their forms; a date and time without a zone is of the current one."""
    moment = datetime.datetime(2026, 4, 30, 22, 30, tzinfo=UTC)
    for key, boolean in ((1, True), (2, False)):
        Everything.objects.create(key=key, boolean=boolean, datetime=moment)
        moment += datetime.timedelta(hours=1)
    path = tmp_path / "out.csv"
    with timezone.override("Europe/Berlin"):
        words = ["--fields", "key", "--filter", given]
        export(str(path), *words, model="tests.Everything")
    assert "".join(path.read_text().split()[1:]) == keys


def test_rows_are_exported_once(tmp_path):
    """A row of which several others fulfil a filter is in the file once."""
    path = tmp_path / "out.csv"
    germany = Country.objects.create(code="DE", name="x")
    Country.objects.create(code="FR", name="x")
    for name in ("Berlin", "Bremen"):
        City.objects.create(name=name, country=germany)
    words = ["--fields", "code", "--force", "--filter"]
    export(str(path), *words, "city__name__startswith=B", model="tests.Country")
    assert path.read_text() == "code\nDE\n"
    export(str(path), *words, "city__isnull=true", model="tests.Country")
    assert path.read_text() == "code\nFR\n"
    export(str(path), *words, "city__name__in=", model="tests.Country")
    assert path.read_text() == "code\n"


def _written(tmp_path, name, country):
    path = tmp_path / f"{name}.csv"
    path.write_text(f"name,country__code\n{name},{country.code if country else ''}\n")
    return str(path)


def test_nulls_are_told_from_texts(tmp_path):
    """Where the empty text would come back as NULL, the export says so, and what to do."""
    path = str(tmp_path / "out.csv")
    words = [path, "--force"]
    Everything.objects.create(key=1, text="x")
    export(*words, model="tests.Everything")
    Everything.objects.create(key=2, text="", char="\\N")
    said = refused("bulkexport", "tests.Everything", *words)
    assert said.startswith("'text' of some rows is the text '', which would come back as NULL")
    assert "such as '\\N'" in said
    export(*words, "--null", "", model="tests.Everything")
    said = refused("bulkexport", "tests.Everything", *words, "--null", "\\N")
    assert said.startswith("'char' of some rows is the text '\\\\N'")
    said = refused("bulkexport", "tests.Everything", *words, "--null", "1")
    assert said.startswith("'key'")
    Product.objects.create(sku="", name="")
    export(*words)  # a field without NULLs keeps its empty texts
    assert upsert(path, "--unique", "sku")["unchanged"] == 1


def test_clocks(tmp_path):
    """A field that keeps the time keeps that of the call, here as everywhere."""
    then = datetime.datetime(2020, 1, 1, tzinfo=UTC)
    Product.objects.create(sku="A", name="x")
    Product.objects.update(created=then, updated=then)
    path = str(tmp_path / "out.csv")
    export(path)
    assert upsert(path, "--unique", "sku")["unchanged"] == 1
    Product.objects.all().delete()
    upsert(path, "--unique", "sku")
    assert Product.objects.get().created > then


def test_a_lone_null(tmp_path):
    """A NULL alone on its line would be a blank one."""
    Measure.objects.create(note="x")
    path = str(tmp_path / "out.csv")
    said = refused("bulkexport", "tests.Measure", path, "--fields", "channel")
    assert "'channel' of some rows is the empty text, or a NULL on a line of its own" in said
    export(path, "--fields", "channel", "--null", "\\N", model="tests.Measure")
    assert Path(path).read_text() == "channel\n\\N\n"


def test_rows_of_nothing(tmp_path):
    """A row without any value would be a line of delimiters, which is none."""
    path = str(tmp_path / "out.csv")
    words = [path, "--force", "--fields"]
    Measure.objects.create(note="x", value=1.5)
    Product.objects.create(sku="")
    City.objects.create(name="", country=Country.objects.create(code="D", name="Germany"))
    export(*words, "value,channel", model="tests.Measure")
    export(*words, "sku,stock")
    export(*words, "name,country__code", model="tests.City")
    Measure.objects.create(note="")
    for fields in ("channel,value", "device,note,value"):
        said = refused("bulkexport", "tests.Measure", *words, fields)
        assert "is the empty text or NULL, on a line of nothing but delimiters, which" in said
        assert said.endswith("such as '\\N'")
    export(*words, "id,channel,value", model="tests.Measure")
    assert "'sku' and 'name' of some rows" in refused("bulkexport", "tests.Product", *words,
                                                      "sku,name")  # fmt: skip
    City.objects.update(country=None)
    assert "delimiters" in refused("bulkexport", "tests.City", *words, "name,country__code")
    export(*words, "channel,value", "--null", "\\N", model="tests.Measure")
    assert Path(path).read_text() == "channel,value\n\\N,1.5\n\\N,\\N\n"
    assert Measure.objects.bulk_copy(CsvRows(path, null="\\N")) == 2


def test_custom_columns(tmp_path):
    """A field with a column of another name, and fields of one's own."""
    Custom.objects.create(key=1)
    export(str(tmp_path / "out.csv"), model="tests.Custom")
    head = (tmp_path / "out.csv").read_text().splitlines()[0]
    assert head == ",".join(field.name for field in Custom._meta.concrete_fields)


def test_names_that_need_quoting(tmp_path):
    """Columns are named as fields, whatever they are called in the table."""
    Odd.objects.bulk_upsert([{"key": 1, "percent": "100%"}], unique_fields=["key"])
    path = tmp_path / "out.csv"
    export(str(path), "--fields", "key,percent,select", model="tests.Odd")
    assert path.read_text() == "key,percent,select\n1,100%,1\n"
    assert upsert(str(path), "--unique", "key", model="tests.Odd")["unchanged"] == 1


def test_several_tables(tmp_path):
    """A model with parents is exported with their fields."""
    Pizzeria.objects.create(name="Da Mario", stars=2)
    path = tmp_path / "out.csv"
    export(str(path), "--null", "\\N", "--filter", "stars__gt=1", model="tests.Pizzeria")
    head, line = csv.reader(path.read_text().splitlines())
    assert head == [field.name for field in Pizzeria._meta.concrete_fields]
    assert dict(zip(head, line, strict=True))["name"] == "Da Mario"


def test_tabs_and_signs(tmp_path):
    """A tab may be written as one does; a header may hold the sign that ends it, and so a value."""
    path = tmp_path / "out.csv"
    path.write_text("a=b\tname\nx=y\tn\n")
    words = ["--delimiter", "\\t", "--map", "a=b=sku", "--unique", "sku"]
    assert upsert(str(path), *words)["created"] == 1
    words = ["--delimiter", "\\t", "--fields", "sku,name", "--filter", "sku=x=y"]
    export(str(path), "--force", *words)
    assert path.read_text() == "sku\tname\nx=y\tn\n"


def test_overwriting(tmp_path, monkeypatch):
    """A file that is there stays, unless it is said otherwise; a failure leaves it."""
    path = tmp_path / "out.csv"
    path.write_text("precious")
    arguments = ["bulkexport", "tests.Product", str(path)]
    assert refused(*arguments) == f"{path} is there already; --force overwrites it"
    monkeypatch.setattr(sys, "stdin", Terminal("n\ny\n"))
    assert refused(*arguments) == "Nothing was written."
    assert refused(*arguments, "--force", "--null", "\n").startswith("--null is a text without")
    assert refused(*arguments, "--force", "--delimiter", "é").startswith("--delimiter is one")
    assert path.read_text() == "precious"
    run(*arguments)
    assert path.read_text() == "id,sku,name,stock,price,created,updated\n"
    assert list(tmp_path.iterdir()) == [path]
    assert "no field of tests.Product" in refused(*arguments, "--fields", "nmae", "--force")
    assert "names a field twice" in refused(*arguments, "--fields", "sku,sku", "--force")
    assert "names no field" in refused(*arguments, "--fields", ",", "--force")
    assert refused(*arguments, "--filter", "sku", "--force").startswith("--filter is written as")
    assert "expected a number" in refused(*arguments, "--filter", "stock=x", "--force")
    assert "Cannot resolve" in refused(*arguments, "--filter", "x=x", "--force")
    nowhere = str(tmp_path / "a" / "b")
    said = refused("bulkexport", "tests.Product", nowhere)
    assert said == f"{nowhere}: No such file or directory"


def test_a_device(tmp_path):
    """What is no file is written to, not replaced."""
    export(os.devnull)
    assert not Path(os.devnull).is_file()
    assert not Path(f"{os.devnull}.part").exists()


@pytest.mark.django_db(transaction=True)
def test_a_reader_that_goes_away(monkeypatch):
    """The error is told, and the connection is of use."""
    Product.objects.bulk_create([Product(sku=f"{i}", name="n") for i in range(50)])

    class Pipe:
        def write(self, data):
            raise BrokenPipeError(32, "Broken pipe")

        def fileno(self):
            raise OSError

    class Closed(io.StringIO):
        buffer = Pipe()

    with pytest.raises(CommandError, match="Broken pipe") as caught:
        call_command("bulkexport", "tests.Product", "-", stdout=Closed(), stderr=io.StringIO())
    assert caught.value.returncode == 2
    assert Product.objects.count() == 50


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk(tmp_path, monkeypatch, kind):
    """What fails half way leaves no file, and the connection is of use."""
    Product.objects.bulk_create([Product(sku=f"{i}", name="n") for i in range(50)])
    seen: list[int] = []

    def failing(self, count, total=None):
        seen.append(count)
        if count == 10:
            raise kind

    monkeypatch.setattr(progress_module.ProgressLines, "__call__", failing)
    with pytest.raises(CommandError, match=r"No space left|Interrupted"):
        export(str(tmp_path / "out.csv"))
    assert seen[-1] == 10
    assert list(tmp_path.iterdir()) == []
    assert Product.objects.count() == 50


def test_what_is_told(tmp_path):
    """How many rows were written is told on stderr, unless nothing is to be told."""
    Product.objects.create(sku="A", name="n")
    for words, expected in (([], "1 rows written to stdout in "), (["-v", "0"], "")):
        told = io.StringIO()
        export("-", *words, stderr=told)
        assert told.getvalue().startswith(expected)
        assert bool(told.getvalue()) == bool(expected)


def test_the_reference_has_every_option():
    """Each option of each command stands in the reference."""
    from django_bulkupsert.management.commands import bulkexport

    text = (ROOT / "docs" / "reference.rst").read_text()
    for module, name in ((command_module, "bulkupsert"), (bulkexport, "bulkexport")):
        section = text.split(f"``{name}``\n", 1)[1]
        parser = module.Command().create_parser("manage.py", name)
        known = set(module.Command.base_options) if hasattr(module.Command, "base_options") else ()
        for action in parser._actions:
            option = next((o for o in action.option_strings if o.startswith("--")), None)
            if option and action.dest not in known and option not in DJANGOS:
                assert f"``{option}" in section, option


DJANGOS = {
    "--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback",
    "--no-color", "--force-color", "--skip-checks",
}  # fmt: skip


# Rejects ----------------------------------------------------------------------------------


MESSY = 'sku,name,stock\nA,Panel,1\nB,"Ca""ble, x",two\nC,x\nD,"x"y,4\nE,x,5\nF,z,six\n'


def rejecting(path: str, out: Path, *arguments: str) -> tuple[str, str]:
    """Run the command; return what it ends with, and what it says."""
    said = io.StringIO()
    words = ["tests.Product", path, "--unique", "sku", "--rejects", str(out), *arguments]
    with pytest.raises(CommandError) as caught:
        call_command("bulkupsert", *words, stdout=said, stderr=io.StringIO())
    assert caught.value.returncode == 1
    return str(caught.value), said.getvalue()


def test_rejects(file, tmp_path):
    """The good rows are in, and the bad ones in a file, which can be mended and read again."""
    out = tmp_path / "rejects.csv"
    error, said = rejecting(file(MESSY), out)
    assert error == (
        f"4 rows were rejected; they are in {out}. "
        "The first: line 3: stock: this text can't be read as an integer"
    )
    assert said.split()[:5] == ["created", "updated", "unchanged", "skipped", "rejected"]
    assert [row[0] for row in stored()] == ["A", "E"]
    assert out.read_text() == (
        "rejected_line,rejected_reason,sku,name,stock\n"
        '3,stock: this text can\'t be read as an integer,B,"Ca""ble, x",two\n'
        '4,"2 values, where the header names 3",C,x\n'
        '5,"\',\' expected after \'""\'","D,""x""y,4"\n'
        "7,stock: this text can't be read as an integer,F,z,six\n"
    )
    mended = out.read_text().replace("two", "2").replace(",C,x", ",C,x,3")
    mended = mended.replace('"D,""x""y,4"', "D,xy,4")
    path = tmp_path / "mended.csv"
    path.write_text(mended)
    error, _ = rejecting(str(path), out, "--format", "json")
    assert [row[0] for row in stored()] == ["A", "B", "C", "D", "E"]
    assert stored()[1] == ("B", 'Ca"ble, x', 2)
    assert out.read_text().splitlines() == [
        "rejected_line,rejected_reason,sku,name,stock",
        "5,stock: this text can't be read as an integer,F,z,six",
    ]


def test_no_rejects(file, tmp_path):
    """Where no row is bad there is no file, not even one of a call before; the status is 0."""
    out = tmp_path / "rejects.csv"
    counts = upsert(file(), "--unique", "sku", "--rejects", str(out))
    assert (counts["created"], counts["rejected"]) == (2, 0)
    assert not out.exists()
    rejecting(file(MESSY), out)
    assert out.exists()
    upsert(file(), "--unique", "sku", "--rejects", str(out))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.django_db(transaction=True)
def test_rejects_that_cannot_be_written(file, tmp_path):
    """Where they can't be, no row is."""
    words = ["--unique", "sku", "--rejects"]
    for out, message in ((tmp_path / "a" / "b.csv", "No such file"), (tmp_path, "Is a directory")):
        said = refused("bulkupsert", "tests.Product", file(MESSY), *words, str(out))
        assert said.startswith(f"{out}: {message}")
        assert not Product.objects.exists()
    if Path("/dev/full").exists():
        said = refused("bulkupsert", "tests.Product", file(MESSY), *words, "/dev/full")
        assert "No space left" in said
        assert not Product.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_rejects_are_not_lost(file, tmp_path, monkeypatch):
    """What can't be put in its place after the commit stays where it is, and is told."""
    out = tmp_path / "rejects.csv"
    monkeypatch.setattr(
        progress_module.ProgressLines, "__call__", lambda *_: out.mkdir(exist_ok=True)
    )
    error, _ = rejecting(file(MESSY), out)
    assert error == (
        f"{out} can't be replaced: Is a directory; the rows that were rejected are in {out}.part"
    )
    assert len(Path(f"{out}.part").read_text().splitlines()) == 5
    assert len(stored()) == 2
    path = file()
    (tmp_path / "rejects.csv").rmdir()
    with pytest.raises(CommandError, match=r"can't be removed: Is a directory") as caught:
        upsert(path, "--unique", "sku", "--rejects", str(out))
    assert caught.value.returncode == 1
    assert str(caught.value).startswith("no row was rejected, but ")


@pytest.mark.django_db(transaction=True)
def test_interrupted_at_the_rejects(file, tmp_path, monkeypatch):
    """Ctrl-C before the commit leaves nothing; after it, it does nothing."""
    path, out = file(MESSY), tmp_path / "rejects.csv"
    words = ["bulkupsert", "tests.Product", path, "--unique", "sku", "--rejects", str(out)]
    handler = signal.getsignal(signal.SIGINT)

    def interrupted(*_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)

    monkeypatch.setattr(load_module, "write_rejects", interrupted)
    with pytest.raises(CommandError, match=r"^Interrupted; nothing was written\.$") as caught:
        run(*words)
    assert caught.value.returncode == 130
    assert not Product.objects.exists()
    assert [each.name for each in tmp_path.iterdir()] == ["rows.csv"]
    monkeypatch.undo()

    def replace(*paths):
        interrupted()
        os.rename(*paths)

    monkeypatch.setattr(os, "replace", replace)
    rejecting(path, out)
    assert len(stored()) == 2
    assert len(out.read_text().splitlines()) == 5
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("name", ["rows.csv", "link.csv", "hard.csv", "rows"])
def test_rejects_do_not_replace_the_file(file, tmp_path, name):
    """The file that is read stays, whatever it is called."""
    path = file(MESSY)
    (tmp_path / "link.csv").symlink_to(path)
    os.link(path, tmp_path / "hard.csv")
    os.link(path, tmp_path / "rows.part")
    said = refused(
        "bulkupsert", "tests.Product", path, "--unique", "sku", "--rejects", str(tmp_path / name)
    )
    assert said.endswith("is the file that is read, and would be replaced; name another")
    assert Path(path).read_text() == MESSY
    assert not Product.objects.exists()


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8"])
def test_rejects_have_the_encoding_of_the_file(file, tmp_path, encoding):
    """The file is read again by the same words."""
    out = tmp_path / "rejects.csv"
    words = ["--encoding", encoding]
    given = "sku,name,stock\nA,caf\xe9,one\nB,x,1\nC,th\xe9,two\n"
    rejecting(file(given.encode(encoding)), out, *words)
    text = out.read_bytes().decode(encoding)
    assert text.count("\ufeff") == 0
    mended = file(text.replace("one", "1").replace("two", "2").encode(encoding))
    assert upsert(mended, "--unique", "sku", *words)["created"] == 2
    assert stored() == [("A", "caf\xe9", 1), ("B", "x", 1), ("C", "th\xe9", 2)]


def test_reasons_in_other_characters(file, tmp_path):
    """What is wrong may be said in characters that the file's encoding lacks."""
    out = tmp_path / "rejects.csv"
    with translation.override("ru"):
        rejecting(file("sku,name\nA,\n"), out, "--validate", "--encoding", "latin-1")
    assert "\\u0" in out.read_text("latin-1")


def test_rejects_on_stdout(file):
    """Nothing else is on stdout then."""
    path = file(MESSY.encode("latin-1"))
    said = refused(
        "bulkupsert", "tests.Product", path, "--unique", "sku", "--rejects", "-", "--format", "json"
    )
    assert said == "--rejects - and --format json would both be on stdout; name a file"
    assert not Product.objects.exists()
    out, told = io.StringIO(), io.StringIO()
    words = ["tests.Product", path, "--unique", "sku", "--rejects", "-", "--encoding", "latin-1"]
    with pytest.raises(CommandError, match="4 rows were rejected; they are on stdout"):
        call_command("bulkupsert", *words, stdout=out, stderr=told)
    assert len(out.getvalue().splitlines()) == 5
    assert "rejected" in told.getvalue()


def test_rejects_of_stdin(monkeypatch, tmp_path):
    """What can be read once only is kept, for the rows that are rejected."""
    monkeypatch.setattr(sys, "stdin", Standard(MESSY.encode()))
    monkeypatch.setattr(sys.stdin.buffer, "seekable", lambda: False, raising=False)
    out = tmp_path / "rejects.csv"
    rejecting("-", out, "--dry-run")
    assert len(out.read_text().splitlines()) == 5
    assert not Product.objects.exists()


def test_rejects_of_the_server(file, tmp_path):
    """What a constraint refuses is in the file, too; and what a validator does."""
    out = tmp_path / "rejects.csv"
    error, _ = rejecting(file("sku,name,stock\nA,,1\nB,x,2\nB,x,3\n"), out, "--validate")
    assert error.startswith("3 rows were rejected")
    assert [line.split(",")[1] for line in out.read_text().splitlines()[1:]] == [
        "name: This field cannot be blank.", "the same (sku) in lines 3 and 4",
        "the same (sku) in lines 3 and 4",
    ]  # fmt: skip


def test_validate(file):
    """--validate without --rejects refuses the file."""
    assert "line 2 (row 0), field 'name': This field cannot be blank." in refused(
        "bulkupsert", "tests.Product", file("sku,name\nA,\n"), "--unique", "sku", "--validate"
    )


def test_batch_size(file, monkeypatch):
    """A COPY sends so many rows at most; it is one call all the same."""
    sizes = []
    send = StagingRelation.copy

    def copy(self, chunk, lines):
        sizes.append(chunk.count)
        send(self, chunk, lines)

    monkeypatch.setattr(StagingRelation, "copy", copy)
    lines = "".join(f"S{n},x,{n}\n" for n in range(2_500))
    counts = upsert(file(FILE + lines), "--unique", "sku", "--batch-size", "600")
    assert counts["created"] == sum(sizes) == 2_502
    assert max(sizes) == 600
