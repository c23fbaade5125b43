"""A view that takes an upload, CSV or JSON lines, and says what became of each row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.utils.encoding import force_str
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from django_bulkupsert import BulkUpsertError, CsvRows, RowTypeError

from .models import Airport

#: Rejected rows that an answer lists.
MOST = 100

NEITHER = "neither CSV nor JSON lines"


@csrf_exempt  # for programs, which a real view would ask for a token
@require_POST
def upload(request: HttpRequest) -> JsonResponse:
    """Upsert the airports of a file that is sent as a form's field, or as the body itself."""
    file: Any = request.FILES.get("file", request)
    if file is request and request.content_type == "multipart/form-data":
        return refused("the form has no file; its field is 'file'")
    name, kind = (getattr(file, "name", None) or "").lower(), file.content_type or ""
    no_objects: set[int] = set()
    try:
        # By its name, too: to browsers on Windows it is Excel's.
        if kind == "text/csv" or name.endswith((".csv", ".csv.gz")):
            charset = getattr(file, "charset", request.content_params.get("charset"))
            encoding = force_str(charset or "utf-8", errors="replace")  # a form's is of bytes
            rows: Any = CsvRows(file, encoding=encoding)
        elif "json" in kind or name.endswith((".jsonl", ".ndjson")):
            rows = json_lines(file, no_objects)
        else:
            return refused(NEITHER, 415)
        result = Airport.objects.bulk_upsert(
            rows, unique_fields=["icao"], on_error="collect", validate=True
        )
    except RowTypeError:  # no line is an object
        return refused(NEITHER)
    except BulkUpsertError as error:  # of the file as a whole
        return refused(str(error))
    rejected = [
        {
            "row": each.index,
            "line": each.line,
            "field": each.field,
            "message": "no JSON object" if each.index in no_objects else each.message,
        }
        for each in result.rejected[:MOST]
    ]
    counts = {
        "created": result.created,
        "updated": result.updated,
        "unchanged": result.unchanged,
        "rejected": len(result.rejected),
    }
    return JsonResponse({**counts, "rejects": rejected}, status=200 if not rejected else 422)


def refused(error: str, status: int = 400) -> JsonResponse:
    """Say what is wrong with the whole."""
    return JsonResponse({"error": error}, status=status)


def json_lines(lines: Iterable[bytes], no_objects: set[int]) -> Iterator[Any]:
    """Give the object on each line, or None, which is rejected; note which these are."""
    for index, line in enumerate(each for each in lines if each.strip()):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # the latter of what is nested without end
            row = None
        if not isinstance(row, dict):
            no_objects.add(index)
            row = None
        yield row
