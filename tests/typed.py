"""What a type checker must see; checked by ``make types``, never run."""

from django.db.models import Q
from typing_extensions import assert_type

from django_bulkupsert import BulkUpsertManager, Excluded, UpdateResult, UpsertResult
from testproject.readings.models import Reading

rows = [{"device": "roof", "watts": 1.0}]
assert_type(Reading.objects, BulkUpsertManager[Reading])
assert_type(Reading.objects.bulk_upsert(rows, unique_fields=["device"]), UpsertResult)
assert_type(Reading.objects.using("other").bulk_upsert(iter(rows)), UpsertResult)
assert_type(Reading.objects.filter(device="roof").bulk_upsert(rows).created, int)
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
Reading.objects.bulk_update(readings)  # type: ignore[call-arg]
Reading.objects.bulk_update([1], ["watts"])  # type: ignore[list-item]
Reading.objects.bulk_upsert(rows, no_such_option=1)  # type: ignore[call-arg]
Reading.objects.bulk_upsert(5)  # type: ignore[arg-type]
