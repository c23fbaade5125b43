"""The example view: an upload is upserted, and its answer says what became of each row."""

from __future__ import annotations

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


@pytest.mark.parametrize("form", [None, ("a", "text/csv"), ("A.CSV", "application/vnd.ms-excel")])
def test_csv(form):
    """A file in a form, or a body of CSV; bad rows come back, and the good ones are in."""
    text = (HEADER + GOOD + BAD).encode()
    if form:
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


def test_json_lines():
    """A body of JSON lines."""
    names = HEADER.strip().split(",")
    row = dict(zip(names, GOOD.strip().split(","), strict=True))
    lines = [json.dumps(row), "{nonsense", json.dumps({**row, "icao": "EDDF", "city": ""})]
    body = "\n".join(lines)
    status, said = answer(data=body, content_type="application/x-ndjson")
    assert (status, said["created"], said["rejected"]) == (422, 1, 2)
    assert [(each["row"], each["field"]) for each in said["rejects"]] == [(1, None), (2, "city")]
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
