"""The example view: an upload is upserted, and its answer says what became of each row."""

from __future__ import annotations

import gzip
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory

from testproject.airports.models import Airport
from testproject.airports.views import upload

pytestmark = pytest.mark.django_db

HEADER = "icao,name,city,region,country,elevation,latitude,longitude,timezone\n"
GOOD = "EDDB,Berlin,Berlin,BB,DE,157,52.36,13.5,Europe/Berlin\n"
BAD = "EDDX,Nowhere,Berlin,BB,DE,high,52.36,13.5,Europe/Berlin\n"


def answer(**words):
    response = upload(RequestFactory().post("/upload", **words))
    return response.status_code, json.loads(response.content)


@pytest.mark.parametrize(
    "form",
    [
        None,
        ("a", "text/csv"),
        ("A.CSV", "application/vnd.ms-excel"),
        ("A.CSV.gz", "application/gzip"),
    ],
)
def test_csv(form):
    """A file in a form, or a body of CSV; bad rows come back, and the good ones are in."""
    text = (HEADER + GOOD + BAD).encode()
    if form:
        text = gzip.compress(text) if form[0].endswith(".gz") else text
        name, kind = form
        words = {"data": {"file": SimpleUploadedFile(name, text, kind)}}
    else:
        words = {"data": text, "content_type": "text/csv"}
    status, said = answer(**words)
    assert (status, said["created"], said["rejected"]) == (422, 1, 1)
    assert said["rejects"] == [
        {
            "row": 1,
            "line": 3,
            "field": "elevation",
            "message": "this text can't be read as a number",
        }
    ]
    assert Airport.objects.get().icao == "EDDB"


@pytest.mark.parametrize("form", [False, True])
def test_charset(form):
    """CSV is in the charset that its type names; one that is unknown is an error."""
    text = (HEADER + GOOD.replace("Berlin", "Köln", 1)).encode("latin-1")

    def sent(charset):
        kind = f"text/csv{charset}"
        if form:
            return answer(data={"file": SimpleUploadedFile("a.csv", text, kind)})
        response = upload(RequestFactory().generic("POST", "/upload", text, content_type=kind))
        return response.status_code, json.loads(response.content)

    status, said = sent("")
    assert (status, "not utf-8" in said["error"]) == (400, True)
    status, said = sent("; charset=klingon")
    assert (status, "knows none that is called 'klingon'" in said["error"]) == (400, True)
    status, said = sent('; charset="Latin-1"')
    assert (status, said["created"]) == (200, 1)
    assert Airport.objects.get().name == "Köln"


def test_json_lines():
    """A body of JSON lines."""
    names = HEADER.strip().split(",")
    row = dict(zip(names, GOOD.strip().split(","), strict=True))
    lines = [json.dumps(row), "{nonsense", json.dumps({**row, "icao": "EDDF", "city": ""})]
    body = "\n".join(lines)
    status, said = answer(data=body, content_type="application/x-ndjson")
    assert (status, said["created"], said["rejected"]) == (422, 1, 2)
    assert [(each["row"], each["field"]) for each in said["rejects"]] == [(1, None), (2, "city")]
    assert said["rejects"][0]["message"] == "no JSON object"
    status, said = answer(data=lines[0], content_type="application/x-ndjson")
    assert (status, said["unchanged"]) == (200, 1)


def test_blank_lines_are_none():
    """Blank lines before, between and after those of JSON are no rows."""
    names = HEADER.strip().split(",")
    row = json.dumps(dict(zip(names, GOOD.strip().split(","), strict=True)))
    status, said = answer(data=f"\n{row}\r\n \r\n\n", content_type="application/x-ndjson")
    assert (status, said["created"], said["rejected"]) == (200, 1, 0)


def test_endless_nesting():
    """A line that is nested deeper than Python reads is rejected as others are."""
    names = HEADER.strip().split(",")
    row = json.dumps(dict(zip(names, GOOD.strip().split(","), strict=True)))
    body = f"{row}\n{'[' * 100_000}\n"
    status, said = answer(data=body, content_type="application/x-ndjson")
    assert (status, said["created"], said["rejected"]) == (422, 1, 1)


@pytest.mark.parametrize("wrong", ["[1, 2]", '"text"', "5", "null", "{", "[{}]", "\xff"])
def test_lines_that_are_no_objects(wrong):
    """A line of something else is rejected, wherever it is, in words for who sent it."""
    names = HEADER.strip().split(",")
    row = json.dumps(dict(zip(names, GOOD.strip().split(","), strict=True)))
    body = f"{wrong}\n\n{row}\n{wrong}".encode("latin-1")
    for words in (
        {"data": body, "content_type": "application/jsonl"},
        {"data": {"file": SimpleUploadedFile("A.ndjson", body, "application/octet-stream")}},
    ):
        status, said = answer(**words)
        assert (status, said["rejected"]) == (422, 2)
        assert [(each["row"], each["message"]) for each in said["rejects"]] == [
            (0, "no JSON object"),
            (2, "no JSON object"),
        ]
    assert Airport.objects.count() == 1


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", '[{"icao": "EDDB"}]', 400),
        ("application/json", '[\n{\n"icao": "EDDB"\n}\n]', 400),
        ("application/json", '"text"', 400),
        ("application/x-ndjson", "what", 400),
        ("application/x-www-form-urlencoded", "icao=EDDB", 415),
        ("application/x-www-form-urlencoded", "", 415),
        ("text/plain", HEADER + GOOD, 415),
        ("", HEADER + GOOD, 415),
    ],
)
def test_what_is_neither(kind, body, status):
    """Anything else is refused in words for who sent it."""
    request = RequestFactory().generic("POST", "/upload", body, content_type=kind)
    response = upload(request)
    assert response.status_code == status
    assert json.loads(response.content) == {"error": "neither CSV nor JSON lines"}
    assert not Airport.objects.exists()


def test_a_form_of_something_else():
    """A spreadsheet in a form is neither as well."""
    file = SimpleUploadedFile("a.xlsx", b"PK\x03\x04", "application/vnd.ms-excel")
    assert answer(data={"file": file}) == (415, {"error": "neither CSV nor JSON lines"})


def test_a_file_that_is_none():
    """What can't be read as a whole is an error, and nothing is written."""
    status, said = answer(data=b"a,b\n1,2\n", content_type="text/csv")
    assert status == 400
    assert "no column is a field of airports.Airport" in said["error"]
    assert upload(RequestFactory().get("/upload")).status_code == 405


def test_no_file():
    """A form without one, and an empty one, are no upload of no rows."""
    empty = SimpleUploadedFile("a.csv", b"", "text/csv")
    factory = RequestFactory()
    for request, message in (
        (factory.post("/upload", {"other": "x"}), "the form has no file; its field is 'file'"),
        (factory.post("/upload", {"file": empty}), "the file is empty"),
        (factory.generic("POST", "/upload", CONTENT_TYPE="text/csv"), "the file is empty"),
    ):
        response = upload(request)
        assert response.status_code == 400
        assert message in json.loads(response.content)["error"]


def test_large_uploads_are_streamed():
    """The body is read as it is needed, not held."""
    text = HEADER.encode() + b"".join(
        GOOD.replace("EDDB", f"{n:04}").encode() for n in range(9_000)
    )
    request = RequestFactory().post("/upload", data=text, content_type="text/csv")
    response = upload(request)
    assert json.loads(response.content)["created"] == 9_000
    assert not hasattr(request, "_body")
