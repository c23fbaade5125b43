"""The pure middle: text forms, COPY lines, array literals, SQL fragments; no database."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import ipaddress
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_bulkupsert import sql
from django_bulkupsert.casts import cast_type
from django_bulkupsert.encode import (
    Fault,
    NoText,
    Texts,
    array_literal,
    check_text,
    copy_lines,
    text_of,
)

from .models import Level, Mood

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("abc", "abc"),
        (Mood.GOOD, "good"),
        (Level.HIGH, "2"),
        (True, "t"),
        (False, "f"),
        (-5, "-5"),
        (0.1, "0.1"),
        (float("inf"), "inf"),
        (decimal.Decimal("1E+3"), "1E+3"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.date(1, 2, 3), "0001-02-03"),
        (datetime.time(1, 2, 3, 4), "01:02:03.000004"),
        (
            datetime.datetime(2026, 5, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-3.5))),
            "2026-05-01T00:00:00-03:30",
        ),
        (datetime.timedelta(microseconds=-1), "-1 days +86399 seconds +999999 microseconds"),
        (b"\0\xff", "\\x00ff"),
        (bytearray(b"a"), "\\x61"),
        (memoryview(b"a"), "\\x61"),
        (ipaddress.ip_address("::1"), "::1"),
        ([1, None, 2], '{"1",NULL,"2"}'),
        ([["a"], ["NULL"]], '{{"a"},{"NULL"}}'),
        ([], "{}"),
        (("a,b", 'q"\\'), '{"a,b","q\\"\\\\"}'),
        ({"a": "1", "b": None}, '"a"=>"1", "b"=>NULL'),
        ({}, ""),
    ],
)
def test_text_of(value, text):
    """The text form of each type that Django's fields prepare."""
    assert text_of(value) == text


def test_text_of_unknown():
    """A type that is not known is for the driver."""
    with pytest.raises(NoText):
        text_of(object())


def read_copy(data: bytes) -> list[list[str | None]]:
    """Read COPY's text format back, as its description says."""
    escapes = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
    rows = []
    for line in data.decode().removesuffix("\n").split("\n"):
        cells: list[str | None] = []
        for cell in line.split("\t"):
            if cell == "\\N":
                cells.append(None)
                continue
            out, chars = [], iter(cell)
            for char in chars:
                out.append(escapes[next(chars)] if char == "\\" else char)
            cells.append("".join(out))
        rows.append(cells)
    return rows


@given(st.lists(st.tuples(st.none() | texts, texts), min_size=1))
def test_copy_lines(rows):
    """Any text, and NULL, survives COPY's quoting."""
    first, second = (list(column) for column in zip(*rows, strict=True))
    present = [text for text in first if text is not None]
    columns = [
        Texts(first, nulls=None in first, escape=check_text(present)),
        Texts(second, nulls=False, escape=check_text(second)),
    ]
    read = read_copy(copy_lines(columns))
    assert read == [[a, b] for a, b in rows]


def read_array(literal: str) -> list[str | None]:
    """Read a one-dimensional array literal whose elements are all quoted, or bare."""
    inner = literal[1:-1]
    if not inner:
        return []
    if '"' not in inner:
        return [None if cell == "NULL" else cell for cell in inner.split(",")]
    found = next(csv.reader(io.StringIO(inner, newline=""), escapechar="\\", doublequote=False))
    quoted = [cell.startswith('"') for cell in _cells(inner)]
    return [cell if q else None for cell, q in zip(found, quoted, strict=True)]


def _cells(inner: str) -> list[str]:
    cells, depth, start, i = [], False, 0, 0
    while i < len(inner):
        if inner[i] == "\\":
            i += 1
        elif inner[i] == '"':
            depth = not depth
        elif inner[i] == "," and not depth:
            cells.append(inner[start:i])
            start = i + 1
        i += 1
    return [*cells, inner[start:]]


@given(st.lists(st.none() | texts.filter(lambda t: "\r" not in t and "\n" not in t), min_size=1))
def test_array_literal(values):
    """Any text, and NULL, survives the quoting of arrays."""
    literal = array_literal(Texts(values, nulls=None in values))
    assert read_array(literal) == values


def test_array_literal_of_bare_texts():
    """Numbers go without quotes."""
    assert array_literal(Texts(["1", None], True, escape=False, quote=False)) == "{1,NULL}"
    assert array_literal(Texts(["1", "2"], False, escape=False, quote=False)) == "{1,2}"
    assert array_literal(Texts([""], False)) == '{""}'


@pytest.mark.parametrize("bad", ["a\0", "\ud800", "too long"])
def test_check_text_names_the_offset(bad):
    """The text at fault is found among the others."""
    with pytest.raises(Fault) as caught:
        check_text(["a", "b", bad, "\0"] if bad == "a\0" else ["a", "é", bad], 5)
    assert caught.value.offset == 2


@pytest.mark.parametrize(
    ("db_type", "known"),
    [
        ("integer", "integer"),
        ("varchar(3)", "varchar"),
        ("character varying(3)", "varchar"),
        ("varchar", "varchar"),
        ("char(3)", None),
        ("CHAR(3)", None),
        ("VARCHAR(3)", None),
        ("nchar(3)", None),
        ("some_domain", None),
        ("varchar(3)[]", "varchar[]"),
        ("varchar(3)[2][]", "varchar[][]"),
        ("char(3)[]", None),
        ("numeric(5, 2)", "numeric(5, 2)"),
        ("numeric(5, 2)[3]", "numeric(5, 2)[]"),
        ("bit(3)", None),
        ("timestamp(0) with time zone", "timestamp(0) with time zone"),
        ("double precision", "double precision"),
        ("geometry(POINT,4326)", None),
        ("interval", "interval"),
    ],
)
def test_cast_type(db_type, known):
    """A cast never carries a length that cuts; of an unknown type nothing is claimed."""
    assert cast_type(db_type) == known


# SQL ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("plain", '"plain"'),
        ("Mixed Case", '"Mixed Case"'),
        ('a"b', '"a""b"'),
        ("100%", '"100%%"'),
        ('"schema"."table"', '"schema"."table"'),
        ('"a"; DROP TABLE x; --"', '"""a""; DROP TABLE x; --"""'),
        ('"', '""""'),
        ("select", '"select"'),
    ],
)
def test_identifier(name, quoted):
    """Names are quoted once; Django's way to name a schema is left as it is."""
    assert sql.identifier(name).text == quoted


def test_identifier_with_nul():
    """A NUL would cut the name on its way."""
    with pytest.raises(ValueError, match="NUL"):
        sql.identifier("a\0b")


def test_compose():
    """Placeholders and their values stay together, in order."""
    fragment = sql.compose(
        "SELECT {a}, {b} FROM {c}",
        a=sql.value(1),
        b=sql.compose("{x} + {y}", x=sql.value(2), y=sql.value(3)),
        c=sql.identifier("t"),
    )
    assert fragment == sql.Fragment('SELECT %s, %s + %s FROM "t"', (1, 2, 3))
    assert sql.comma([sql.value(1), sql.raw("5 % 2")]) == sql.Fragment("%s, 5 %% 2", (1,))


def test_plain():
    """A fragment without values is sent as it reads; one with values has no plain text."""
    assert sql.identifier("100%").plain() == '"100%"'
    with pytest.raises(ValueError, match="no plain text"):
        sql.value(1).plain()
