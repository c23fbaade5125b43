"""A view that takes an upload, CSV or JSON lines, and says what became of each row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from django_bulkupsert import BulkUpsertError, CsvRows

from .models import Airport

#: Rejected rows that an answer lists.
MOST = 100


@csrf_exempt  # for programs, which a real view would ask for a token
@require_POST
def upload(request: HttpRequest) -> JsonResponse:
    """Upsert the airports of a file that is sent as a form's field, or as the body itself."""
    file: Any = request.FILES.get("file", request)
    if file is request and request.content_type == "multipart/form-data":
        return JsonResponse({"error": "the form has no file; its field is 'file'"}, status=400)
    rows: Any = CsvRows(file) if is_csv(file) else json_lines(file)
    try:
        result = Airport.objects.bulk_upsert(
            rows, unique_fields=["icao"], on_error="collect", validate=True
        )
    except BulkUpsertError as error:  # of the file as a whole
        return JsonResponse({"error": str(error)}, status=400)
    rejected = [
        {"row": each.index, "line": each.line, "field": each.field, "message": each.message}
        for each in result.rejected[:MOST]
    ]
    counts = {
        "created": result.created,
        "updated": result.updated,
        "unchanged": result.unchanged,
        "rejected": len(result.rejected),
    }
    return JsonResponse({**counts, "rejects": rejected}, status=200 if not rejected else 422)


def is_csv(file: Any) -> bool:
    """Whether it is CSV, by its type, or by its name: to browsers on Windows it is Excel's."""
    name = getattr(file, "name", None) or ""
    return file.content_type == "text/csv" or name.lower().endswith(".csv")


def json_lines(lines: Iterable[bytes]) -> Iterator[Any]:
    """Give the object on each line; a line that is none is given as it is, and rejected."""
    for line in lines:
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):  # the latter of what is nested without end
            yield line
