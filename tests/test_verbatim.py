"""Rows of files that the server reads as they stand: that they are, and make no difference."""

from __future__ import annotations

import csv
import datetime
import io
import itertools
import json

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_bulkupsert import CsvError, CsvRows, RowConstraintError, RowError, RowValueError
from django_bulkupsert.columns import Column
from django_bulkupsert.csvs import CsvHeader, lines, source
from django_bulkupsert.csvs.lines import Lines
from django_bulkupsert.csvs.verbatim import Verbatim
from django_bulkupsert.relations import StagingRelation, sieved
from django_bulkupsert.rows import Rows
from django_bulkupsert.sql import compose, value
from tests.models import Listed, Measure, Product, Sometimes

pytestmark = pytest.mark.django_db

#: Texts that some road or other takes for a value, and texts that none does.
TEXTS = {
    "integers": [
        "0", "1", "-1", "12", "+5", " 7", "7 ", "007", "-0", "1_000", "0x1F", "0b1", "1.0", "1e3",
        "99", "9999", "32767", "32768", "-32768", "99999", "2147483647", "2147483648",
        "9223372036854775807", "9223372036854775808", "\u0661\u0662", "one", "", "-", "NULL",
    ],
    "numbers": [
        "0", "1.5", "-1.50", ".5", "5.", "1e2", "1E-2", "1.005", "1.004999", "9999.99", "9999.995",
        "99999", "NaN", "nan", "inf", "-Infinity", "Infinity", "1_0.5", " 1", "1 ", "-0", "-0.0",
        "0.1", "123456789012345.123456789012345", "1e99", "1e400", "0x10", "1,5", "", "NULL",
    ],
    "booleans": [
        "t", "f", "T", "true", "False", "TRUE", "tru", "yes", "YES", "n", "on", "off", "of", "1",
        "0", "2", " t", "t ", "", "NULL", "null",
    ],
    "moments": [
        "2026-01-31", "2026-02-28", "2026-02-29", "2024-02-29", "2026-04-31", "2026-1-5", "today",
        "now", "epoch", "infinity", "tomorrow", "20260105", "01/02/2026", "Jan 5 2026",
        "0000-01-01", "0001-01-01", "9999-12-31", "2026-01-31 10:00", "2026-01-31T10:00:00Z",
        "10:00", "24:00",
        "2026-01-31 10:00:00.1234567+00", "2026-01-31 10:00:00.123456+02:00", "10:00:00.5",
        "2026-01-31 10:00:60Z", "2026-01-31 25:00:00Z", "2026-07-01T00:00:00-0330", "10:00:00+02",
        "2026-01-31 10:00:00+15:00", "2026-01-31 10:00:00 UTC", "allballs", "2026-W05", "", "NULL",
    ],
    "uuids": [
        "12345678-1234-1234-1234-1234567890ab", "12345678123412341234123456789ABC", "1234", "",
        "{12345678-1234-1234-1234-1234567890ab}", "1234-5678123412341234123456789abc", "NULL",
    ],
    "texts": [
        "", "a", "abcd", "abcd ", "abcde", "abc  ", " a", "é€ü\U0001f600", "a\tb", "NULL", "null",
        "a,b", 'a"b', '"', '""', "a;b", "'", "\\N", "\\.", "a\nb", "a\r\nb", "\\", "x\0y",
    ],
    "documents": [
        "1", "null", '"a"', '{"a": 1}', '{"a": [1, "b, c"]}', "[]", "{", "nope", "", "NULL",
        '{"a": "\\u0000"}', "1e400", '{"a": NaN}',
    ],
}  # fmt: skip
KINDS = {
    "small": "integers", "positive": "integers", "big": "integers", "decimal": "numbers",
    "whole": "numbers", "float": "numbers", "boolean": "booleans", "sure": "booleans",
    "date": "moments", "moment": "moments", "time": "moments", "uuid": "uuids", "short": "texts",
    "short_or_null": "texts", "text": "texts", "json": "documents", "document": "documents",
    "code": "texts",
}  # fmt: skip
#: A value that every field takes, so that one row at least is sent as it stands.
PLAIN = {
    "integers": "1", "numbers": "1.5", "booleans": "t", "uuids": TEXTS["uuids"][0], "texts": "a",
    "documents": "1", "date": "2026-01-31", "moment": "2026-01-31 10:00Z", "time": "10:00",
    "whole": "1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Rows are sent as they stand from the second one on."""
    monkeypatch.setattr(source, "FIRST_ROWS", 1)


def few(monkeypatch, count: int) -> None:
    """Have so many characters looked at, at a time."""
    monkeypatch.setattr(source, "VERBATIM_CHARS", count)
    monkeypatch.setattr(source, "LOOKED_AT_CHARS", count)
    monkeypatch.setattr(lines, "BLOCK_BYTES", count)


class Sent:
    """Knows how many rows each COPY sent as they stand."""

    def __init__(self, monkeypatch) -> None:
        self.counts: list[int] = []
        see = Rows._see

        def counted(rows, block, pk):
            self.counts.append(len(block))
            return see(rows, block, pk)

        monkeypatch.setattr(Rows, "_see", counted)

    @property
    def count(self) -> int:
        return len(self.counts)


@pytest.fixture
def sent(monkeypatch) -> Sent:
    return Sent(monkeypatch)


def made(rows, columns, *, dialect=None, header=None) -> str:
    """Return a file."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, **{"lineterminator": "\n", **(dialect or {})})
    writer.writerow(header or columns)
    # Python 3.10 writes no NUL.
    writer.writerows([[text.replace("\0", "\ue000") for text in row] for row in rows])
    return out.getvalue().replace("\ue000", "\0")


def plain(field: str) -> str:
    return PLAIN.get(field, PLAIN.get(KINDS.get(field, ""), "1"))


def outcome(text: str, allowed: bool, **words):
    """Return what is stored of a file, or why nothing is."""
    held = Rows.allow_verbatim
    if not allowed:
        Rows.allow_verbatim = lambda rows: None
    names = [
        each.name for each in Listed._meta.concrete_fields if each.name not in ("id", "touched")
    ]
    try:
        with transaction.atomic():
            try:
                with transaction.atomic():
                    result = Listed.objects.bulk_upsert(
                        CsvRows(io.StringIO(text, newline=""), **words),
                        unique_fields=["key"],
                        strategy="copy",
                    )
                    found = list(
                        Listed.objects.order_by("key")
                        .values_list(*names)
                        .extra(
                            select={
                                "image": "ROW(small, decimal, whole, float, moment, short)::text"
                            }
                        )
                    )
                return result.created, repr(found)  # a NaN is no other
            except (RowError, CsvError) as error:
                return type(error).__name__, str(error)
            finally:
                transaction.set_rollback(True)
    finally:
        Rows.allow_verbatim = held


cells = st.sampled_from(sorted(KINDS)).flatmap(
    lambda field: st.tuples(
        st.just(field), st.lists(st.sampled_from(TEXTS[KINDS[field]]), max_size=4)
    )
)
dialects = st.fixed_dictionaries(
    {},
    optional={
        "quoting": st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
        "delimiter": st.sampled_from(";\t|"),
        "quotechar": st.just("'"),
        "lineterminator": st.just("\r\n"),
    },
)


@settings(max_examples=150)
@given(st.lists(cells, min_size=1, max_size=4, unique_by=lambda each: each[0]), dialects,
       st.sampled_from(["", "NULL", "\\N"]), st.booleans())  # fmt: skip
def test_no_difference(columns, dialect, null, ends):
    """Whatever a file holds, the same comes of it as if all of it were read here.

    Of several bad rows the one is told of that is found first, which depends on what is read
    together.
    """
    fields = [field for field, _ in columns]
    depth = max(len(values) for _, values in columns)
    rows = [["0", *map(plain, fields)]]
    for at in range(depth):
        rows.append(
            [str(at + 1), *(v[at] if at < len(v) else plain(field) for field, v in columns)]
        )
    text = made(rows, ["key", *fields], dialect=dialect)
    if not ends:
        text = text.rstrip("\r\n")
    words = {name: dialect[name] for name in ("delimiter", "quotechar") if name in dialect}
    words["null"] = null
    mine, other = outcome(text, True, **words), outcome(text, False, **words)
    assert mine == other or (isinstance(mine[0], str) and isinstance(other[0], str))


@pytest.mark.parametrize("field", sorted(KINDS))
@pytest.mark.parametrize("null", ["", "NULL"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_no_difference_of_any_text(field, null, quoting):
    """One text after the other, each alone, so that no error hides another."""
    for text in TEXTS[KINDS[field]]:
        rows = [["0", plain(field)], ["1", text], ["2", plain(field)]]
        file = made(rows, ["key", field], dialect={"quoting": quoting})
        assert outcome(file, True, null=null) == outcome(file, False, null=null), text


def test_they_are_sent(sent):
    """Plain values of every field are sent as they stand."""
    fields = ["key", *KINDS]
    rows = [[str(at), *map(plain, KINDS)] for at in range(10)]
    rows[5] = ["5", *("" for _ in KINDS)]
    for field in ("small", "whole", "sure", "document", "short"):
        rows[5][fields.index(field)] = plain(field)
    Listed.objects.bulk_upsert(
        CsvRows(io.StringIO(made(rows, fields))), unique_fields=["key"], strategy="copy"
    )
    assert sent.count == 1
    first, *_, last = Listed.objects.order_by("key")
    assert last.moment == datetime.datetime(2026, 1, 31, 10, tzinfo=datetime.timezone.utc)
    for field in map(Listed._meta.get_field, KINDS):
        assert getattr(first, field.attname) == getattr(last, field.attname), field
    assert Listed.objects.get(key=5).decimal is None
    assert last.touched


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,sku,y,name,stock,z\n,,,,,\n", {"ignore_extra": True}),
        ("x|sku|y|name|stock|z\n|||||\n", {"ignore_extra": True, "delimiter": "|"}),
        ("sku,name,stock\n,,\n", {}),
        ("stock;name;sku\n;;\n", {"delimiter": ";"}),
    ],
)
def test_columns_in_any_order(text, words, end, sent):
    """Columns in any order, and between them some that are left out."""
    delimiter = words.get("delimiter", ",")
    header, empty, _ = text.split("\n")
    names = header.split(delimiter)
    lines = [header]
    for at in range(5):
        values = dict(zip(names, empty.split(delimiter), strict=True))
        values.update(sku=f"S{at}", name=f'"n{delimiter} ""{at}"""', stock=str(at))
        values.update({each: "junk" for each in "xyz" if each in values})
        lines.append(delimiter.join(values.values()))
    text = end.join([*lines, ""])
    result = Product.objects.bulk_upsert(
        CsvRows(io.StringIO(text, newline=""), **words), unique_fields=["sku"], strategy="copy"
    )
    assert result.created == 5
    assert sent.count == 1
    found = Product.objects.order_by("sku").values_list("sku", "name", "stock")
    assert list(found) == [(f"S{at}", f'n{delimiter} "{at}"', at) for at in range(5)]


def many(count: int, **changed: str) -> list[list[str]]:
    """Return rows of a sku, a name and a stock; ``_3="x"`` is the third one's stock."""
    rows = [[f"S{at}", f"name {at}", str(at)] for at in range(count)]
    for at, stock in changed.items():
        rows[int(at[1:])][2] = stock
    return rows


NAMES = ["sku", "name", "stock"]


def test_some_are_read(sent, monkeypatch):
    """A row that has to be read has some others read beside it; then they are sent again."""
    few(monkeypatch, 200)
    text = made(many(200, _50=" 5", _120="+7"), NAMES)
    result = Product.objects.bulk_upsert(
        CsvRows(io.StringIO(text)), unique_fields=["sku"], strategy="copy", batch_size=7
    )
    assert result.created == 200
    assert sent.count > 10
    found = dict(Product.objects.values_list("sku", "stock"))
    assert found == {f"S{at}": {50: 5, 120: 7}.get(at, at) for at in range(200)}


def test_batches(sent):
    """No more rows are sent at a time than asked for, in their order."""
    text = made(many(100), NAMES)
    result = Product.objects.bulk_upsert(
        CsvRows(io.StringIO(text)), unique_fields=["sku"], batch_size=8, returning=["stock"],
        strategy="copy",
    )  # fmt: skip
    assert sent.counts == [8] * 12 + [3]
    assert [each["stock"] for each in result.rows] == list(range(100))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("empty", [",,", '"","",""', ',"",', ",", ",,,,"])
@pytest.mark.parametrize("extra", [False, True])
def test_lines_of_delimiters(empty, end, extra, monkeypatch, sent):
    """They are no rows, on whichever road; and rows after them have the lines that they have."""
    few(monkeypatch, 60)
    lines = ["x,note,device" if extra else "note,device,channel"]
    lines += [f"a{at},b,{at}" for at in range(60)]
    lines[10:10], lines[41:41] = [empty, empty], [empty]
    lines += [empty] * 40

    def copied(*more: str) -> int:
        file = io.StringIO(end.join([*lines, *more]), newline="")
        return Measure.objects.bulk_copy(CsvRows(file, ignore_extra=extra))

    assert copied() == copied("") == 60
    assert sent.count > 5
    assert Measure.objects.filter(device=None, channel=None).count() == 0
    with pytest.raises(RowValueError, match=r"^line 105 \(row 60\), field 'device'"):
        copied(f"a,{'b' * 11},1", empty) if not extra else copied(f"a,b,{'c' * 11}", empty)


@pytest.mark.parametrize("collects", [False, True])
@pytest.mark.parametrize("column", ["json", "document"])
@pytest.mark.parametrize("first", [0, 1])
def test_lines_of_errors(collects, column, first, sent):
    """What only the server can tell is told of the right line, whatever lines values take."""
    rows = [[str(at), "a\nb" if at % 3 == 0 else "c", "1"] for at in range(20)]
    rows[10][2] = "{nope"
    rows[15][2] = '{"a": "b'

    def line_of(index):
        return 2 + sum(each[1].count("\n") + 1 for each in rows[:index])

    text = made(rows, ["key", "text", column])
    line = 2 + sum(each[1].count("\n") + 1 for each in rows[:10])

    def upsert():
        return Listed.objects.bulk_upsert(
            CsvRows(io.StringIO(text)),
            unique_fields=["key"],
            strategy="copy",
            on_error="collect" if collects else "raise",
        )

    if collects:
        result = upsert()
        assert [(each.index, each.line, each.field, each.value) for each in result.rejected] == [
            (10, line, column, "{nope"),
            (15, line_of(15), column, '{"a": "b'),
        ]
        assert result.created == 18
    else:
        with pytest.raises(RowValueError) as caught:
            upsert()
        assert (caught.value.index, caught.value.line) == (10, line)
        assert caught.value.field == column
        assert not Listed.objects.exists()
    assert sent.count == 1


def test_lines_go_on(monkeypatch, sent):
    """After rows that were sent as they stand, lines are those of the file."""
    few(monkeypatch, 100)
    rows = [[str(at), "a\nb\nc" if at % 4 == 0 else "c", "1"] for at in range(50)]
    rows[41][2] = "one"
    text = made(rows, ["key", "text", "small"])
    line = 2 + sum(each[1].count("\n") + 1 for each in rows[:41])
    with pytest.raises(RowValueError, match=rf"^line {line} \(row 41\), field 'small'"):
        Listed.objects.bulk_upsert(
            CsvRows(io.StringIO(text)), unique_fields=["key"], strategy="copy"
        )
    assert sent.count
    text = made([*rows[:41], rows[1]], ["key", "text", "small"])
    with pytest.raises(RowConstraintError, match=rf"^line {line} \(row 41\): duplicate key"):
        Listed.objects.bulk_copy(CsvRows(io.StringIO(text)))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("S9,n", r"^line 11 \(row 9\): 2 values, where the header names 3"),
        ('S9,"n"x,1', r"^line 11: "),
        ('S9,"n,1', r"^line 11: a quote that is opened in this row is never closed"),
        ("S9,n,1,2", r"^line 11 \(row 9\): 4 values"),
        ("S9,n,99999999999", r"^line 11 \(row 9\), field 'stock'"),
        ("S9,n,", r"^line 11 \(row 9\), field 'stock'"),
        ("S9," + "n" * 21 + ",1", r"^line 11 \(row 9\), field 'name': text of 21 characters"),
    ],
)
def test_what_is_broken(broken, message, monkeypatch):
    """A row that is broken is told as ever, after rows that were sent as they stand."""
    few(monkeypatch, 30)
    rows = made(many(9), NAMES) + broken + "\n" + "X,x,1\n"
    with pytest.raises((RowError, CsvError), match=message):
        Product.objects.bulk_upsert(
            CsvRows(io.StringIO(rows)), unique_fields=["sku"], strategy="copy"
        )
    assert not Product.objects.exists()


def test_left_out(monkeypatch, sent):
    """Rows that are broken are left out, and the others sent, with the places they have."""
    few(monkeypatch, 60)
    lines = made(many(60, _40="x"), NAMES).splitlines()
    lines[21] = "S20,oops"
    result = Product.objects.bulk_upsert(
        CsvRows(io.StringIO("\n".join(lines) + "\n")), unique_fields=["sku"], on_error="collect",
        batch_size=5,
    )  # fmt: skip
    assert [(each.index, each.line) for each in result.rejected] == [(20, 22), (40, 42)]
    assert result.created == 58
    assert sent.count
    assert not Product.objects.filter(sku__in=["S20", "S40"]).exists()


@pytest.mark.parametrize("null", ["0", "7", "f", "1.5", "x", ""])
def test_null_that_is_a_value(null):
    """A text that stands for NULL does so whatever it is, in numbers of rows too."""
    for field in KINDS:
        rows = [[str(at + 20), plain(field)] for at in range(10)]
        rows[3][1] = null
        file = made(rows, ["key", field])
        assert outcome(file, True, null=null) == outcome(file, False, null=null), field
    rows = [["5", "B"], ["6", "C"], [null, "D"], ["9", "E"]]
    text = made(rows, ["id", "sku"])

    result = Product.objects.bulk_upsert(CsvRows(io.StringIO(text), null=null), strategy="copy")
    assert result.created == 4
    assert not Product.objects.filter(pk__in=[int(null)] if null.isdigit() else []).exists()


def test_a_key_of_text_that_is_not_given():
    """A foreign key that takes no NULL has no empty text."""
    rows = [[str(at), "x"] for at in range(5)]
    rows[3][1] = ""
    text = made(rows, ["key", "coded"])
    with pytest.raises(RowConstraintError, match=r"^line 5 \(row 3\), field 'coded'"):
        Sometimes.objects.bulk_upsert(
            CsvRows(io.StringIO(text)), unique_fields=["key"], strategy="copy"
        )


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("last", ["31.01.2026", " 5", '"'])
@pytest.mark.parametrize("null", ["", "NULL"])
def test_what_is_not_known_is_found_soon(quoting, last, null):
    """No text is known in two ways, or it would take ages to see that a row isn't."""
    header = CsvHeader(tuple(f"c{at}" for at in range(41)), (), False, null, ",", '"')
    texts = [
        Column.of(Listed._meta.get_field(name), connection)
        for name in ("text", "short_or_null", "short", "json", "decimal")
    ]
    columns = [*texts * 8, Column.of(Listed._meta.get_field("small"), connection)]
    form = Verbatim.of(header, range(41), columns, {}, naive=False)
    values = [["a", "ab", "abc", "1", "1.5"] * 8, [null, null, "x", "1", null] * 8]
    text = made([[*row, last] for row in values * 50], header.names, dialect={"quoting": quoting})
    assert form.block(text) is None
    good = made(
        [[*row, "5"] for row in values * 50], header.names[:0], dialect={"quoting": quoting}
    )
    assert len(form.block(good.lstrip("\n"))) == 100


def test_copy(sent):
    """bulk_copy sends them too, with the values that all rows have."""
    text = made([[f"S{at}", f'a"{at}'] for at in range(10)], ["sku", "name"])
    before = timezone.now()
    assert Product.objects.bulk_copy(CsvRows(io.StringIO(text))) == 10
    assert sent.count == 1
    last = Product.objects.get(sku="S9")
    assert (last.name, last.stock, last.price) == ('a"9', 0, None)
    assert last.created >= before
    with pytest.raises(RowConstraintError, match=r"^line 4 \(row 2\): duplicate key"):
        Product.objects.bulk_copy(CsvRows(io.StringIO("sku,name\nX,\nY,\nS3,\nZ,\n")))


def test_defaults_that_are_called(sent):
    """What is made for each row goes with it, quotes and line ends and None too."""
    Sometimes.turns = 0
    text = made([[str(at), f"t{at}"] for at in range(8)], ["key", "text"])
    file = CsvRows(io.StringIO(text))
    assert Sometimes.objects.bulk_upsert(file, unique_fields=["key"], strategy="copy").created == 8
    assert sent.count == 1
    found = list(Sometimes.objects.order_by("key").values_list("turn", "text"))
    turns = [None if at % 3 == 2 else f'"{at}",\n' for at in range(8)]
    assert found == [(turn, f"t{at}") for at, turn in enumerate(turns)]
    assert len(set(Sometimes.objects.values_list("id", flat=True))) == 8
    text = made([[str(at), ""] for at in range(8, 12)], ["key", "text"])
    assert Sometimes.objects.bulk_copy(CsvRows(io.StringIO(text))) == 4
    assert Sometimes.objects.get(key=11).turn is None
    text = made([["20", "a"], ["21", "b"], ["22", "c"], ["21", "d"]], ["key", "text"])
    with pytest.raises(RowConstraintError, match=r"^line 5 \(row 3\): duplicate key"):
        Sometimes.objects.bulk_copy(CsvRows(io.StringIO(text)))


def test_update(sent):
    """bulk_update sends them too."""
    Product.objects.bulk_copy(CsvRows(io.StringIO(made(many(10), NAMES))))
    text = made([[f"S{at}", "left out", str(at + 1)] for at in range(10)], NAMES)
    result = Product.objects.bulk_update(
        CsvRows(io.StringIO(text)), ["stock"], match_fields=["sku"], strategy="copy"
    )
    assert result == 10
    assert sent.count == 2
    assert Product.objects.get(sku="S4").stock == 5
    assert Product.objects.get(sku="S4").name == "name 4"


def test_by_primary_key(sent):
    """Rows with a primary key, and then some without."""
    Product.objects.create(id=1_000_001, sku="old")
    text = "id,sku\n1000001,A\n1000002,B\n1000003,C\n,D\n,E\n"
    result = Product.objects.bulk_upsert(CsvRows(io.StringIO(text)), strategy="copy")
    assert (result.created, result.updated) == (4, 1)
    text = "id,sku\n1000001,AA\n1000002,BB\n1000003,CC\n"
    assert Product.objects.bulk_upsert(CsvRows(io.StringIO(text)), strategy="copy").updated == 3
    assert sent.count == 1


def test_moments_without_a_zone(sent, settings):
    """They are sent where that is UTC here and there, and are of the current time zone."""
    text = "key,moment\n1,2026-07-01 10:00\n2,2026-07-01 10:00\n3,2026-07-01 10:00\n"

    def upsert():
        Listed.objects.bulk_upsert(
            CsvRows(io.StringIO(text)), unique_fields=["key"], strategy="copy"
        )
        (found,) = set(Listed.objects.values_list("moment", flat=True))
        return found.astimezone(datetime.timezone.utc).hour

    with timezone.override("UTC"):
        assert upsert() == 10
    assert sent.count == (connection.timezone_name == "UTC")
    with timezone.override("Asia/Tokyo"):
        assert upsert() == 1
    assert sent.count == (connection.timezone_name == "UTC")


def test_what_is_asked_is_not_sent(sent):
    """Fields that look at their values: those rows are read."""
    text = made(many(10), NAMES)
    Product.objects.bulk_upsert(
        CsvRows(io.StringIO(text)), unique_fields=["sku"], strategy="copy", validate=True
    )
    assert sent.count == 0


@settings(max_examples=200)
@given(
    st.lists(st.text("ab\r\n", max_size=6), max_size=8),
    st.lists(st.tuples(st.sampled_from(["line", "take", "back"]), st.integers(1, 8)), max_size=12),
)
@example(["a\r", "\nb"], [("take", 1), ("back", 1), ("line", 1)])
def test_lines_however_they_are_taken(blocks, steps):
    """Lines one by one, many at once, given back and taken again: all come, once and in order."""
    lines = Lines(iter([each for each in blocks if each]))
    walk = iter(lines)
    given_ = []
    for step, most in steps:
        if step == "line":
            line = next(walk, None)
            if line is None:
                break
            given_.append(line)
            continue
        taken = lines.take(most)
        if step == "back":
            lines.give_back(taken)
        else:
            given_.append(taken)
    given_ += walk
    text = "".join(blocks)
    assert "".join(given_) == text
    ends = set(itertools.accumulate(map(len, io.StringIO(text, newline=""))))
    assert set(itertools.accumulate(map(len, given_))) <= ends | {0}


def test_taken_before_an_error():
    """What is before bytes of another encoding is given first."""
    file = io.BytesIO(b"sku,stock\nA,1\nB,2\nC,3\nD\xff,4\n")
    with pytest.raises(CsvError, match=r"^line 5: not utf-8"):
        Product.objects.bulk_upsert(CsvRows(file), unique_fields=["sku"], strategy="copy")


def test_exported_files_are_sent(sent, tmp_path):
    """What bulkexport writes is read by the server."""
    from django.core.management import call_command

    rows = [[str(at), *map(plain, KINDS)] for at in range(10)]
    text = made(rows, ["key", *KINDS])
    Listed.objects.bulk_upsert(CsvRows(io.StringIO(text)), unique_fields=["key"])
    path = tmp_path / "listed.csv"
    call_command("bulkexport", "tests.Listed", str(path), verbosity=0)
    result = Listed.objects.bulk_upsert(CsvRows(path), unique_fields=["key"], strategy="copy")
    assert result.total == 10
    assert sent.count == 1
    assert json.loads(json.dumps(Listed.objects.first().json)) == 1


@pytest.mark.parametrize("version", [None, 150_000])
@pytest.mark.parametrize("kind", ["file", "read"])
def test_texts_that_only_the_server_knows(version, kind, monkeypatch):
    """Of texts that it can't read, all of a column are asked for at once, where it can tell."""
    if version:
        monkeypatch.setattr(connection, "pg_version", version)
    rows = [
        {"key": n, "json": f'{{"a": [{n}, "x"]}}' if n % 3 else f"{{{n}", "document": "1"}
        for n in range(3_000 if version is None else 300)
    ]
    rows[8]["document"] = "nope"
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    if kind == "read":
        monkeypatch.setattr(Rows, "allow_verbatim", lambda self: None)
    copies = []
    copy = StagingRelation.copy
    monkeypatch.setattr(
        StagingRelation,
        "copy",
        lambda self, chunk, lines: copies.append(chunk.count) or copy(self, chunk, lines),
    )
    result = Listed.objects.bulk_upsert(
        CsvRows(io.StringIO(out.getvalue())), unique_fields=["key"], on_error="collect"
    )
    bad = {8, *range(0, len(rows), 3)}
    assert [each.index for each in result.rejected] == sorted(bad)
    assert {each.message for each in result.rejected} == {"invalid input syntax for type json"}
    assert {each.sqlstate for each in result.rejected} == {"22P02"}
    assert {(each.index, each.value) for each in result.rejected} == {
        (n, "nope" if n == 8 else f"{{{n}") for n in bad
    }
    assert result.created == len(rows) - len(bad) == Listed.objects.count()
    assert (len(copies) < 20) == (connection.pg_version >= 160_000)


def test_a_time_limit_is_not_taken_for_a_type_that_cannot_tell(monkeypatch):
    """What ends the question ends the call."""
    if connection.pg_version < 160_000:
        pytest.skip("servers before 16 are not asked")
    monkeypatch.setattr(
        sieved, "unreadable", lambda *_: compose("SELECT pg_sleep({s})", s=value(5))
    )
    text = "key,json\n1,{\n2,{\n3,1\n"
    with pytest.raises(OperationalError, match="statement timeout"), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 200")
        Listed.objects.bulk_upsert(
            CsvRows(io.StringIO(text)), unique_fields=["key"], on_error="collect"
        )
