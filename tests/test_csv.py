"""Files of CSV as rows: what they may look like, what their texts mean, and what is refused."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import itertools
import os
import pickle
import uuid
import zoneinfo
from collections.abc import Callable

import pytest
from django.db import connection
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from django_bulkupsert import (
    CsvError,
    CsvRows,
    DuplicateKeysError,
    OptionError,
    RowConstraintError,
    RowError,
    RowFieldsError,
    RowValueError,
    UnknownFieldError,
)
from django_bulkupsert.csvs.lines import Lines
from tests.conftest import counts
from tests.models import Code, Everything, Product, ShowroomProduct

pytestmark = pytest.mark.django_db

FILE = "sku,name,stock\nA,Panel,1\nB,Cable,2\n"


def rows(text: str | bytes = FILE, **words) -> CsvRows:
    """Return the rows of a file of bytes."""
    return CsvRows(io.BytesIO(text if isinstance(text, bytes) else text.encode()), **words)


def upsert(text: str | bytes = FILE, strategy: str | None = None, **words):
    return Product.objects.bulk_upsert(
        rows(text, **words), unique_fields=["sku"], strategy=strategy
    )


def stored() -> list[tuple]:
    return list(Product.objects.order_by("sku").values_list("sku", "name", "stock"))


# What is read -----------------------------------------------------------------------------


def test_every_relation(strategy):
    """A file's rows are written and matched as any others are."""
    assert counts(upsert(strategy=strategy)) == (2, 0, 0, 0)
    assert counts(upsert(FILE.replace("Cable", "Wire"), strategy)) == (0, 1, 1, 0)
    assert stored() == [("A", "Panel", 1), ("B", "Wire", 2)]


def test_update():
    """bulk_update takes a file's rows, matched by primary key or by other fields."""
    upsert()
    a, b = Product.objects.order_by("sku").values_list("pk", flat=True)
    file = f"id,stock,sku\n{a},10,other\n{b},20,other\n"
    assert Product.objects.bulk_update(rows(file), ["stock"]) == 2
    assert stored() == [("A", "Panel", 10), ("B", "Cable", 20)]
    result = Product.objects.filter(name="Cable").bulk_update(
        rows("sku,name\nA,x\nB,x\nC,x\n"), ["name"], match_fields=["sku"]
    )
    assert result == 1
    assert stored() == [("A", "Panel", 10), ("B", "x", 20)]


def test_update_refuses():
    """A column that is missing is named, and so is a row without a primary key."""
    with pytest.raises(OptionError, match="the header has no 'stock'; it has id and name"):
        Product.objects.bulk_update(rows("id,name\n1,x\n"), ["stock"])
    with pytest.raises(RowFieldsError, match=r"line 3 \(row 1\): All bulk_update"):
        Product.objects.bulk_update(rows("id,stock\n1,2\n,3\n"), ["stock"])
    with pytest.raises(RowValueError, match=r"line 2 \(row 0\), field 'stock': this text"):
        Product.objects.bulk_update(rows("id,stock\n1,x\n"), ["stock"])
    assert Product.objects.bulk_update(rows("id,stock\n"), ["stock"]) == 0


def test_copy():
    """bulk_copy takes a file's rows, and names the line of one that is refused."""
    assert Product.objects.bulk_copy(rows()) == 2
    with pytest.raises(RowConstraintError, match=r"^line 3 \(row 1\): duplicate key"):
        Product.objects.bulk_copy(rows("sku\nC\nA\n"))
    assert len(stored()) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\ufeff" + FILE, {}),
        (FILE.replace("\n", "\r\n"), {}),
        (FILE.replace("\n", "\r"), {}),
        (FILE.rstrip("\n"), {}),
        (FILE.replace("\n", "\n\n"), {}),
        ("\n\n" + FILE, {}),
        (FILE.replace(",", ";"), {"delimiter": ";"}),
        (FILE.replace(",", "\t"), {"delimiter": "\t"}),
        (FILE.replace("Panel", '"Panel"'), {}),
        (FILE.replace("Panel", "'Panel'"), {"quotechar": "'"}),
        (FILE.replace("sku", '" sku "'), {}),
        (FILE.replace("sku", "Number"), {"columns": {"Number": "sku"}}),
        ("x,sku,name,stock\n1,A,Panel,1\n2,B,Cable,2\n", {"columns": {"x": None}}),
        ("x,sku,name,stock\n1,A,Panel,1\n2,B,Cable,2\n", {"ignore_extra": True}),
        ("sku,name,stock,,\nA,Panel,1,,\nB,Cable,2,x,y\n", {"ignore_extra": True}),
        ("x,sku,,name,x,stock\n,A,,Panel,,1\n,B,,Cable,,2\n", {"ignore_extra": True}),
        ("x,sku,name,stock,x\n1,A,Panel,1,2\n2,B,Cable,2,\n", {"columns": {"x": None}}),
        (FILE.replace("sku", "SKU").replace("stock", "Stock"), {}),  # by verbose names
    ],
)
def test_forms(text, words):
    """The same rows, in the forms that files have."""
    assert counts(upsert(text, **words)) == (2, 0, 0, 0)
    assert stored() == [("A", "Panel", 1), ("B", "Cable", 2)]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings(encoding, packed):
    """Texts of any encoding, compressed or not."""
    data = FILE.replace("Cable", "Kabel, ü").replace("Kabel, ü", '"Kabel, ü"').encode(encoding)
    upsert(gzip.compress(data) if packed else data, encoding=encoding)
    assert stored()[1] == ("B", "Kabel, ü", 2)


def test_quoted_lines():
    """A value may hold the ends of lines, quotes and the delimiter."""
    upsert('sku,name\nA,"one\ntwo ""three"", 4"\nB,"five\r\nsix"\n')
    names = Product.objects.order_by("sku").values_list("name", flat=True)
    assert list(names) == ['one\ntwo "three", 4', "five\r\nsix"]


class Trickle(io.RawIOBase):
    """A file of bytes that gives only a few at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        self.data, self.most = data, most

    def read(self, size=-1):
        some, self.data = self.data[: self.most], self.data[self.most :]
        return some


@pytest.mark.parametrize("most", [1, 2, 3, 7])
@pytest.mark.parametrize("packed", [False, True])
def test_files_that_give_little(most, packed):
    """What ends a line, a character, or the sign of gzip, may be cut anywhere."""
    data = FILE.replace("\n", "\r\n").replace("Cable", "Käbel €").encode()
    result = Product.objects.bulk_upsert(
        CsvRows(Trickle(gzip.compress(data) if packed else data, most)), unique_fields=["sku"]
    )
    assert counts(result) == (2, 0, 0, 0)
    assert stored()[1] == ("B", "Käbel €", 2)


@settings(max_examples=200)
@given(st.text("ab\r\n\u2028\x0b\x1c", max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_lines_are_those_of_text_files(text, cuts):
    """However a text is cut, its lines are those that Python's own files give."""
    places = [0, *sorted(each for each in cuts if each < len(text)), len(text)]
    blocks = [text[a:b] for a, b in itertools.pairwise(places)]
    assert list(Lines(iter(blocks))) == list(io.StringIO(text, newline=""))


def test_text_files_and_paths(tmp_path):
    """An open text file, and a path; what was passed open stays open, and what was not, doesn't."""
    file = io.StringIO("\ufeff" + FILE)
    Product.objects.bulk_upsert(CsvRows(file), unique_fields=["sku"])
    assert not file.closed
    path = tmp_path / "products.csv"
    path.write_text(FILE)
    for each in (path, str(path)):
        again = CsvRows(each)
        for _ in range(2):  # a path can be read as often as one likes
            result = Product.objects.bulk_upsert(again, unique_fields=["sku"])
            assert result.unchanged == 2
    with path.open("rb") as opened:
        Product.objects.bulk_upsert(CsvRows(opened), unique_fields=["sku"])
        assert not opened.closed


def test_a_file_is_let_go_of(tmp_path, monkeypatch):
    """What was opened here is closed, also where the call fails half way."""
    path = tmp_path / "products.csv"
    path.write_text(FILE.replace("Cable", "x" * 30))
    opened = []
    real = open
    monkeypatch.setattr(
        "builtins.open", lambda *args, **words: opened.append(real(*args, **words)) or opened[-1]
    )
    with pytest.raises(RowValueError) as caught:
        Product.objects.bulk_upsert(CsvRows(path), unique_fields=["sku"])
    files = [each for each in opened if str(each.name) == str(path)]
    assert files
    assert all(each.closed for each in files)
    assert caught.value.line == 3


def test_a_file_is_read_once():
    """Rows of an open file can't be read twice, and say so."""
    once = rows()
    Product.objects.bulk_upsert(once, unique_fields=["sku"])
    with pytest.raises(OptionError, match="this CsvRows was read already"):
        Product.objects.bulk_upsert(once, unique_fields=["sku"])


def test_empty():
    """A file without rows writes none, but its header is looked at."""
    assert counts(upsert("sku,name\n")) == (0, 0, 0, 0)
    assert Product.objects.bulk_copy(rows("sku,name\n")) == 0
    words = {"unique_fields": ["sku"], "on_error": "collect"}
    assert not Product.objects.bulk_upsert(rows("sku,name\n"), **words).rejected
    for call in (
        lambda file: Product.objects.bulk_upsert(file, **words),
        lambda file: Product.objects.bulk_update(file, ["name"], match_fields=["sku"]),
        Product.objects.bulk_copy,
    ):
        for more in ("", "1,2\n"):
            with pytest.raises(UnknownFieldError, match="no column is a field of tests"):
                call(rows(f"x,y\n{more}"))


EMPTY = [",,", '"","",""', ',"",', ",", ",,,,", '"",', '""']


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("empty", EMPTY)
def test_lines_of_delimiters(empty, end, strategy):
    """A line of nothing but delimiters is no row, wherever it is; lines are told as ever."""
    lines = ["sku,name,stock", empty, "A,Panel,1", empty, "", empty, "B,Cable,2", empty]
    assert counts(upsert(end.join(lines), strategy)) == (2, 0, 0, 0)
    assert stored() == [("A", "Panel", 1), ("B", "Cable", 2)]
    bad = end.join([*lines, "C,x,three", empty, ""])
    with pytest.raises(RowValueError, match=r"^line 9 \(row 2\), field 'stock'"):
        upsert(bad, strategy)
    words = {"unique_fields": ["sku"], "on_error": "collect"}
    (rejected,) = Product.objects.bulk_upsert(rows(bad), **words).rejected
    assert (rejected.index, rejected.line) == (2, 9)


def test_empty_texts_that_are_a_row():
    """Where another text is NULL, empty texts are a row; and so is one in a file of one column."""
    assert counts(upsert("sku,name\nA,x\n,\n", null="\\N")) == (2, 0, 0, 0)
    assert stored()[0] == ("", "", 0)
    assert counts(upsert('sku\nA\n\n""\n')) == (0, 0, 2, 0)
    with pytest.raises(RowFieldsError, match=r"line 3 \(row 1\): 3 values"):
        upsert("sku,name\nA,x\n,,\n", null="\\N")
    with pytest.raises(RowFieldsError, match=r"line 3 \(row 1\): 2 values"):
        upsert("sku\nA\n,\n")
    assert Product.objects.bulk_update(rows("id,name\n,\n"), ["name"]) == 0
    assert Product.objects.bulk_copy(rows("name,sku\n,\n")) == 0


def test_a_broken_row_is_no_empty_one():
    """A row that can't be read has no values, and is told nevertheless."""
    result = Product.objects.bulk_upsert(
        rows('sku,name\nA,x\n""x"",\n,\nB,y\n'), unique_fields=["sku"], on_error="collect"
    )
    assert [(each.index, each.line) for each in result.rejected] == [(1, 3)]
    assert result.created == 2


# What texts mean --------------------------------------------------------------------------


def test_nulls():
    """The text for NULL is NULL where a field takes it, or no empty text; else it is a text."""
    upsert("sku,name,price\nA,,\n")
    assert Product.objects.get().name == ""
    assert Product.objects.get().price is None
    upsert("sku,name,price\nA,\\N x,\\N\n", null="\\N")
    assert Product.objects.get().name == "\\N x"
    with pytest.raises(RowConstraintError, match=r"line 2 .*'name': None, where the column takes"):
        upsert("sku,name\nA,NULL\n", null="NULL")
    with pytest.raises(RowValueError, match="field 'price': this text can't be read as a finite"):
        upsert("sku,price\nA,\n", null="\\N")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("integer", " 12 ", 12),
        ("float", "1e3", 1000.0),
        ("decimal", "-1.50", decimal.Decimal("-1.50")),
        ("boolean", "Yes", True),
        ("boolean", "f", False),
        ("date", "2026-05-01", datetime.date(2026, 5, 1)),
        ("date", "2026-5-1", datetime.date(2026, 5, 1)),
        ("time", "10:30", datetime.time(10, 30)),
        ("duration", "1 02:00:00", datetime.timedelta(days=1, hours=2)),
        ("uuid", "00000000-0000-0000-0000-000000000001", uuid.UUID(int=1)),
        ("json", '{"a": [1, null]}', {"a": [1, None]}),
        ("json", '"text"', "text"),
        ("binary", "\\x00ff", b"\x00\xff"),
        ("binary", "AP8=", b"\x00\xff"),
        ("ip", "::1", "::1"),
        ("integers", "{1,NULL,3}", [1, None, 3]),
        ("integers", "[1, null, 3]", [1, None, 3]),
        ("texts", '{"a,b","c\\"d"}', ["a,b", 'c"d']),
        ("nested", "{{a},{b}}", [["a"], ["b"]]),
        ("int_range", "[1,5)", NumericRange(1, 5)),
        ("int_range", '{"lower": 1, "upper": 5}', NumericRange(1, 5)),
        ("int_range", "empty", NumericRange(empty=True)),
    ],
)
def test_values(strategy, field, text, value):
    """Texts mean what a person means by them, by every relation."""
    file = io.StringIO()
    csv.writer(file).writerows([["key", field], [1, text]])
    Everything.objects.bulk_upsert(rows(file.getvalue()), unique_fields=["key"], strategy=strategy)
    got = getattr(Everything.objects.get(), field)
    assert (bytes(got) if isinstance(got, memoryview) else got) == value


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("integer", "twelve"), ("float", "1,5"), ("decimal", "1,5"), ("boolean", "perhaps"),
        ("date", "01/02/2024"), ("date", "today"), ("date", "infinity"), ("datetime", "now"),
        ("time", "25:00"), ("duration", "long"), ("uuid", "1234"), ("json", "{"), ("json", "NaN"),
        ("binary", "\\xyz"), ("binary", "!"), ("ip", "1.2.3"), ("integers", "{1,x}"),
        ("integers", "1,2"), ("int_range", "[1,x)"), ("int_range", "1-5"), ("positive", "-1"),
        ("small", "40000"),
    ],
)  # fmt: skip
def test_values_that_are_none(strategy, field, text):
    """What is no value of the field is refused with its line and the field's name."""
    file = io.StringIO()
    csv.writer(file).writerows([["key", field], [1, ""], [2, text]])
    with pytest.raises(RowValueError, match=rf"^line 3 \(row 1\), field '{field}': ") as caught:
        Everything.objects.bulk_upsert(
            rows(file.getvalue()), unique_fields=["key"], strategy=strategy
        )
    assert text not in str(caught.value)


def test_moments():
    """A moment with an offset is that one; one without is of the current time zone."""
    moments = ["2026-05-01T12:00:00+00:00", "2026-05-01 12:00+02:00", "2026-05-01 12:00"]
    file = "key,datetime\n" + "".join(f"{i},{moment}\n" for i, moment in enumerate(moments))
    with timezone.override(zoneinfo.ZoneInfo("America/New_York")):
        Everything.objects.bulk_upsert(rows(file), unique_fields=["key"])
    got = Everything.objects.order_by("key").values_list("datetime", flat=True)
    assert [each.astimezone(datetime.timezone.utc).hour for each in got] == [12, 10, 16]


# What is refused --------------------------------------------------------------------------

BROKEN = [
    ("", {}, CsvError, "line 1: the file is empty; its first line names the columns"),
    ("\n\n", {}, CsvError, "line 1: the file is empty"),
    (
        "sku,,name,\nA,B,C,D\n",
        {},
        CsvError,
        "line 1: the header has no name for column 2; ignore_extra=True leaves out columns without",
    ),
    ("sku,nmae,\nA,B,\n", {}, UnknownFieldError, "'nmae' of the header is no field of"),
    ("A,,Panel\nB,,Cable\n", {}, UnknownFieldError, "no column is a field of tests.Product: 'A'"),
    (",,\nA,B,C\n", {"ignore_extra": True}, UnknownFieldError, "no column is a field"),
    ("sku,sku\nA,B\n", {"ignore_extra": True}, CsvError, "line 1: the header has 'sku' twice"),
    ("sku,x,x\nA,1,2\n", {}, UnknownFieldError, "'x' of the header is no field of"),
    ("sku,x,x\nA,1,2\n", {"columns": {"x": "name"}}, CsvError, "the header has 'x' twice"),
    ("sep=;\nsku;name\nA;x\n", {}, CsvError, "remove it, and pass delimiter=';'"),
    ("SEP=;\r\nsku;name\r\n", {"delimiter": ";"}, CsvError, "remove it, and pass delimiter=';'"),
    ('"sep=,"\nsku,name\nA,x\n', {}, CsvError, "line 1: this line tells Excel the delimiter"),
    ("sep=\t\nsku\tname\n", {}, CsvError, "remove it, and pass delimiter='\\t'"),
    ("x,y\n", {}, UnknownFieldError, "no column is a field of tests.Product"),
    ("sku,x\n\n,\n", {}, UnknownFieldError, "'x' of the header is no field of tests.Product"),
    ("name\n", {}, OptionError, "unique_fields names 'sku', which the rows don't give"),
    ("sku,name,sku\nA,B,C\n", {}, CsvError, "line 1: the header has 'sku' twice"),
    (
        "A,Panel,1\nB,Cable,2\n",
        {},
        UnknownFieldError,
        "no column is a field of tests.Product: 'A',",
    ),
    ("sku,nmae\nA,B\n", {}, UnknownFieldError, "'nmae' of the header is no field of tests.Product"),
    ("sku,x,y\nA,1,2\n", {}, UnknownFieldError, "'x' and 'y' of the header are no field"),
    ("x,y\n1,2\n", {"ignore_extra": True}, UnknownFieldError, "no column is a field"),
    (FILE, {"columns": {"Sku": "sku"}}, OptionError, "columns names 'Sku', not in the header"),
    (FILE, {"columns": {"sku": "skuu"}}, UnknownFieldError, "columns: 'skuu' is no field"),
    (FILE, {"columns": {"name": "sku"}}, OptionError, "the header names 'sku' twice: sku and name"),
    ("sku;name\nA;B\n", {}, UnknownFieldError, "no column is a field of tests.Product: 'sku;name'"),
    ("sku,name\nA\n", {}, RowFieldsError, "line 2 (row 0): 1 values, where the header names 2"),
    ("sku,name\nA,B\nC,D,E\n", {}, RowFieldsError, "line 3 (row 1): 3 values, where"),
    ("sku,name\n\nA,B\n\nC\n", {}, RowFieldsError, "line 5 (row 1): 1 values"),
    ('sku,name\n"A\nB",x\nC\n', {}, RowFieldsError, "line 4 (row 1): 1 values"),
    ('sku,name\nA,"B"C\n', {}, CsvError, "line 2: ',' expected after '\"'"),
    ('sku,name\nA,B\nC,"D\nE\n', {}, CsvError, "line 3: a quote that is opened in this row is"),
    (b"sku,name\nA,\xe9\n", {}, CsvError, "line 2: not utf-8: invalid continuation byte; pass"),
    (b"sku,name\nA,\xc3", {}, CsvError, "line 2: not utf-8: unexpected end of data"),
    (gzip.compress(FILE.encode())[:-9], {}, CsvError, "the compressed file is damaged, or cut"),
    (gzip.compress(FILE.encode())[:-8] + b"x" * 8, {}, CsvError, "the compressed file is damaged"),
    (gzip.compress(FILE.encode()) + b"more", {}, CsvError, "the compressed file is damaged"),
    ("sku,name\nA," + "x" * 140_000 + "\n", {}, CsvError, "csv.field_size_limit() raises it"),
    ("sku,stock\nA,1\nB,x\n", {}, RowValueError, "line 3 (row 1), field 'stock': this text can't"),
    ("sku,stock\nA,1.5\n", {}, RowValueError, "field 'stock': this text can't be read as an int"),
    ("sku,stock\nA,\n", {}, RowConstraintError, "line 2 (row 0), field 'stock': None, where"),
    ("sku,stock\nA,99999999999\n", {}, RowValueError, "field 'stock': integer out of the column's"),
    ("sku,price\nA,abc\n", {}, RowValueError, "field 'price': this text can't be read as a finite"),
    ('sku,price\nA,"1,5"\n', {}, RowValueError, "field 'price': this text can't be read as a"),
    ("sku,price\nA,NaN\n", {}, RowValueError, "field 'price'"),
    ("sku,price\nA,Infinity\n", {}, RowValueError, "field 'price'"),
    ("sku,price\nA,1000000\n", {}, RowValueError, "number of more than 6 digits before the point"),
    ("sku,name\nA,B\x00\n", {}, (RowValueError, CsvError), "NUL"),
    (
        "sku,name\nA," + "x" * 21 + "\n",
        {},
        RowValueError,
        "text of 21 characters, where the column",
    ),
    ("sku,name\nA,x\nB,x\nA,x\n", {}, DuplicateKeysError, "(sku) = (A) in lines 2 and 4"),
    ("sku,name,stock\nA,x,1\nB,x,two\nC\n", {}, RowValueError, "line 3 (row 1), field 'stock'"),
    (
        "sku,name,stock\nA,x,1\nB,x\nC,x,three\n",
        {},
        RowFieldsError,
        "line 3 (row 1): 2 values, where",
    ),
    ("sku;name\nA;x\n", {}, UnknownFieldError, "it may be that delimiter=';' parts them"),
    ("sku\tname\nA\tx\n", {}, UnknownFieldError, "it may be that delimiter='\\t' parts them"),
    ("name\nPanel\n", {}, OptionError, "unique_fields names 'sku', which the rows don't give"),
    (FILE, {"delimiter": ";;"}, OptionError, "delimiter is one character, not ';;'"),
    (FILE, {"delimiter": "\n"}, OptionError, "delimiter is one character"),
    (FILE, {"delimiter": '"'}, OptionError, "delimiter and quotechar are both"),
    (FILE, {"quotechar": ""}, OptionError, "quotechar is one character"),
    (FILE, {"null": ","}, OptionError, "null is a text without the delimiter"),
    (FILE, {"null": None}, OptionError, "null is a text"),
    (FILE, {"encoding": "klingon"}, OptionError, "encoding: Python knows none that is called"),
    (FILE, {"encoding": "utf\0"}, OptionError, "encoding: Python knows none that is called"),
    (FILE, {"encoding": "rot13"}, OptionError, "encoding: 'rot13' is none that files of text have"),
    (FILE, {"encoding": "hex"}, OptionError, "encoding: 'hex' is none that files of text have"),
    (FILE, {"encoding": "zip"}, OptionError, "encoding: 'zip' is none that files of text have"),
    (FILE, {"columns": ["sku"]}, OptionError, "columns takes a dict"),
    (FILE, {"columns": {"sku": 5}}, OptionError, "columns takes a dict of names in the header and"),
    (FILE, {"columns": {5: "sku"}}, OptionError, "names of fields, or None; not 5: 'sku'"),
]


@pytest.mark.parametrize(("text", "words", "kind", "message"), BROKEN)
def test_broken(text, words, kind, message):
    """What is wrong with a file, or with what is said of it, is told; and nothing is written."""
    with pytest.raises(kind) as caught:
        upsert(text, **words)
    assert message in str(caught.value)
    assert not Product.objects.exists()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("encoding", "bad"),
    [
        ("utf-8", b"\xff"),
        ("utf-8", b"\xe2\x82"),
        ("utf-16", b"\x00\xdc"),
        ("utf-16-be", b"\xdc\x00"),
        ("shift_jis", b"\x81\xff"),
        ("ascii", b"\xe9"),
    ],
)
@pytest.mark.parametrize("before", [0, 20_000, 16_383])
def test_the_line_of_bytes_that_are_no_text(encoding, bad, end, before):
    """Of bytes that are none of the encoding's the line is told on which they are."""
    start = "" if before % 2 else "T7,"
    text = f"sku,name{end}" + f"T6,x{end}" * before + start
    data = text.encode(encoding) + bad + f"{end}T8,y{end}".encode(encoding)
    for each in (data, gzip.compress(data, 1)):
        with pytest.raises(CsvError, match=r": not .*; pass the file's encoding$") as caught:
            upsert(each, encoding=encoding)
        assert caught.value.line == before + 2


def test_the_line_of_bytes_in_a_value_of_several_lines():
    """The line is that of the bytes, not that on which the row begins."""
    with pytest.raises(CsvError, match=r"^line 4: not utf-8"):
        upsert(b'sku,name\nA,"x\ny\nz\xff"\n')


@pytest.mark.parametrize("file", [None, 5, ["sku", "A"], b"sku\nA\n"])
def test_what_is_no_file(file):
    """What can't be read is refused at once."""
    with pytest.raises(OptionError, match="CsvRows takes an open file, or the path of one"):
        CsvRows(file)


def test_a_path_that_is_not_there(tmp_path):
    """The error is Python's own, and names the path."""
    with pytest.raises(FileNotFoundError, match=r"no\.csv"):
        Product.objects.bulk_upsert(CsvRows(tmp_path / "no.csv"), unique_fields=["sku"])


def test_an_error_of_the_file_itself():
    """What reading raises comes up as it is, and the connection stays usable."""

    class Failing(io.RawIOBase):
        def read(self, size=-1):
            raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        Product.objects.bulk_upsert(CsvRows(Failing()), unique_fields=["sku"])
    assert not Product.objects.exists()


LONG = "z" * 140_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'B,"{LONG}\nEVIL,in,6\nend",2\n', "csv.field_size_limit() raises it"),
        (f'B,"\n{LONG}\nEVIL,in,6\nend",2\n', "csv.field_size_limit() raises it"),
        (f"B,{LONG},2\nEVIL,in,6\n", "csv.field_size_limit() raises it"),
        ('B,"5" pipe\nEVIL,in,6\nx",2\n', "line 3: ',' expected after '\"'; where this row ends"),
        ('B,"5" pipe,1\nEVIL,in,6\nx",2\n', "line 3: ',' expected after '\"'; where this row"),
        ('B,"5"" and 6" pipe\nEVIL,in,6\nx",2\n', "line 3: ',' expected after '\"'; where"),
        ('B,"a\nb" c,1\nEVIL,in,6\n', "line 4: ',' expected after '\"'; where this row ends"),
        ('B,"x"y,"z\nEVIL,in,6\nx",2\n', "line 3: ',' expected after '\"'; where this row ends"),
        ('B,"x"y,""z\nEVIL,in,6\nx",2\n', "line 3: ',' expected after '\"'; where this row ends"),
        ('B,"5" pipe,1\nD,"ok",6\n', "line 3: ',' expected after '\"'; where this row ends can't"),
        ('B,"\nEVIL,in,6\n', "line 3: a quote that is opened in this row is never closed"),
    ],
)
def test_what_a_broken_row_leaves(text, message):
    """Where a broken row may go on, what follows is never taken for rows."""
    with pytest.raises(CsvError) as caught:
        Product.objects.bulk_upsert(
            rows("sku,name,stock\nA,ok,1\n" + text + "C,ok,3\n"),
            unique_fields=["sku"],
            on_error="collect",
        )
    assert message in str(caught.value)
    assert stored() == []


def test_a_broken_header_is_no_row():
    """Without a header nothing can be read."""
    with pytest.raises(CsvError, match=r"^line 1: ',' expected after"):
        Product.objects.bulk_upsert(
            rows('"sku"x"y",name\nA,ok\n'), unique_fields=["sku"], on_error="collect"
        )


@pytest.mark.parametrize(
    "text",
    [
        'B,"x"y,2', 'B,"x"y"z",2', 'B,""x"",2', 'B,"a ""big"" "5" pipe",2', '"B"x,"y","2"',
        "B,'x'y'z',2",
    ],
)  # fmt: skip
def test_a_broken_row_that_ends_with_its_line(text):
    """A row of one line is left out if its quotes are closed, or no quote follows."""
    quote = "'" if "'" in text else '"'
    result = Product.objects.bulk_upsert(
        rows(f"sku,name,stock\nA,ok,1\n{text}\nC,ok,3\n", quotechar=quote),
        unique_fields=["sku"],
        on_error="collect",
    )
    assert [(each.line, each.index) for each in result.rejected] == [(3, 1)]
    assert stored() == [("A", "ok", 1), ("C", "ok", 3)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("before", [0, 1, 40, 70_000])
def test_a_file_that_does_not_wait(packed, before, strategy):
    """Where more of a file is still to come, what came is not taken for all of it."""

    class Pending(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.left = [data[:before], None, data[before:]]

        def read(self, size=-1):
            some = self.left.pop(0) if self.left else b""
            return some if some != b"" or not self.left else self.left.pop(0)

    lines = "".join(f"S{at * 2654435761 % 2**32:x},x,1\n" for at in range(20_000))
    data = f"sku,name,stock\n{lines}".encode()
    with pytest.raises(OptionError, match="rows: the file has no more data yet"):
        Product.objects.bulk_upsert(
            CsvRows(Pending(gzip.compress(data) if packed else data)),
            unique_fields=["sku"],
            strategy=strategy,
        )
    assert not Product.objects.exists()


def test_a_pipe_that_does_not_wait():
    """So it is with Python's own files."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(reading, "rb") as file, open(writing, "wb", buffering=0) as out:
        out.write(FILE.encode())
        with pytest.raises(OptionError, match="pass one that is blocking"):
            Product.objects.bulk_copy(CsvRows(file))
    assert not Product.objects.exists()


def test_lines_of_long_files(strategy):
    """The line is told of rows beyond the first chunk, after values of several lines."""
    lines = ["sku,name,stock"]
    lines += [f'S{i},"a\nb",1' if i % 1000 == 0 else f"S{i},x,1" for i in range(7_000)]
    lines.append("last,x,bad")
    text = "\n".join(lines) + "\n"
    line = text[: text.index("last,")].count("\n") + 1
    with pytest.raises(RowValueError) as caught:
        upsert(text, strategy)
    assert (caught.value.index, caught.value.line, caught.value.field) == (7_000, line, "stock")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.line) == (str(caught.value), line)


def test_errors_of_rows_have_no_line_otherwise():
    """Rows of no file are told by their index."""
    with pytest.raises(RowError) as caught:
        Product.objects.bulk_upsert([{"sku": "A", "stock": "x"}], unique_fields=["sku"])
    assert caught.value.line is None


def test_progress():
    """The number of all is not known, and that of the rows is told."""
    told: list[tuple[int, int | None]] = []
    progress: Callable[[int, int | None], object] = lambda *at: told.append(at)  # noqa: E731
    Product.objects.bulk_upsert(rows(), unique_fields=["sku"], progress=progress)
    assert told[-1] == (2, None)


def test_a_code_that_looks_like_a_number():
    """Texts stay texts: 007 is not 7."""
    Code.objects.bulk_upsert(rows("code,value\n007,1\n"))
    assert Code.objects.get().pk == "007"


def test_files_that_are_not_taken():
    """Models with several tables, and rows whose keys differ, take no file."""
    with pytest.raises(OptionError, match="keeps its fields in several tables, not CsvRows"):
        ShowroomProduct.objects.bulk_upsert(rows())
    with pytest.raises(OptionError, match="mixed_keys is for rows that are mappings, not CsvRows"):
        Product.objects.bulk_upsert(rows(), unique_fields=["sku"], mixed_keys=True)


@pytest.mark.parametrize("style", ["postgres", "sql_standard", "iso_8601"])
@pytest.mark.parametrize("count", [1, 400])
def test_durations_mean_one_thing(style, count, strategy):
    """Whatever the session's IntervalStyle: a sign is that of its part alone."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL intervalstyle = '{style}'")
    day, hour = datetime.timedelta(days=1), datetime.timedelta(hours=1)
    texts = {
        "-1 days 02:00:00": 2 * hour - day,
        "-1 day +02:00:00": 2 * hour - day,
        "-1 day -02:00:00": -2 * hour - day,
        "-2 days": -2 * day,
        "-02:00:00": -2 * hour,
        "3 days -01:00:00": 3 * day - hour,
        "1 day 01:00:00": day + hour,
    }
    lines = [f"{key},{text}\n" for key, text in enumerate(list(texts) * count)]
    rows = CsvRows(io.StringIO("key,duration\n" + "".join(lines)))
    Everything.objects.bulk_upsert(rows, unique_fields=["key"], strategy=strategy)
    with connection.cursor() as cursor:  # which drivers read
        cursor.execute("SET LOCAL intervalstyle = 'postgres'")
    found = list(Everything.objects.order_by("key").values_list("duration", flat=True))
    assert found == list(texts.values()) * count
