"""What a type checker must see; checked by ``make types``, never run."""

from collections.abc import Sequence

from django.db.models import F, Q
from django.db.models.functions import Lower
from typing_extensions import assert_type

from django_bulkupsert import (
    BulkUpsertManager,
    Excluded,
    ReturnedRow,
    Status,
    UpdateResult,
    UpsertResult,
)
from testproject.readings.models import Reading

rows = [{"device": "roof", "watts": 1.0}]
assert_type(Reading.objects, BulkUpsertManager[Reading])
assert_type(Reading.objects.bulk_upsert(rows, unique_fields=["device"]), UpsertResult)
assert_type(Reading.objects.using("other").bulk_upsert(iter(rows)), UpsertResult)
assert_type(Reading.objects.filter(device="roof").bulk_upsert(rows).created, int)
result = Reading.objects.bulk_upsert(
    rows,
    constraint="readings",
    update_fields={"watts": F("watts") + Excluded("watts")},
    where=Q(watts__lt=Excluded("watts")),
    transform={"device": Lower("device")},
    duplicates="last",
    returning=["watts"],
    returning_old=True,
)
assert_type(result.rows, Sequence[ReturnedRow])
assert_type(result.rows[0].status, Status)
assert_type(result.retries, int)
Reading.objects.bulk_upsert(rows, match_fields=["device"], lock="table", mixed_keys=True)
assert_type(Reading.objects.get(), Reading)
readings = Reading.objects.all()
assert_type(Reading.objects.bulk_update(readings, ["watts"]), UpdateResult)
assert_type(
    Reading.objects.filter(device="roof").bulk_update(iter(readings), ["watts"], 5), UpdateResult
)
total: int = Reading.objects.bulk_update(
    readings,
    ["watts"],
    match_fields=["device"],
    where=Q(watts__lt=Excluded("watts")),
    returning=True,
)


class Frame:
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


assert_type(Reading.objects.bulk_upsert(Frame()), UpsertResult)
assert_type(Reading.objects.bulk_copy(Frame()), int)
Reading.objects.bulk_update(readings)  # type: ignore[call-arg]
Reading.objects.bulk_update([1], ["watts"])  # type: ignore[list-item]
Reading.objects.bulk_upsert(rows, no_such_option=1)  # type: ignore[call-arg]
Reading.objects.bulk_upsert(5)  # type: ignore[arg-type]
Reading.objects.bulk_upsert(rows, transform=["device"])  # type: ignore[arg-type]
Reading.objects.bulk_upsert(rows, returning="watts", mixed_keys="no")  # type: ignore[arg-type]
