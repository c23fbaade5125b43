"""What a type checker must see; checked by ``make types``, never run."""

from typing_extensions import assert_type

from django_bulkupsert import BulkUpsertManager, UpsertResult
from testproject.readings.models import Reading

rows = [{"device": "roof", "watts": 1.0}]
assert_type(Reading.objects, BulkUpsertManager[Reading])
assert_type(Reading.objects.bulk_upsert(rows, unique_fields=["device"]), UpsertResult)
assert_type(Reading.objects.using("other").bulk_upsert(iter(rows)), UpsertResult)
assert_type(Reading.objects.filter(device="roof").bulk_upsert(rows).created, int)
assert_type(Reading.objects.get(), Reading)
Reading.objects.bulk_upsert(rows, no_such_option=1)  # type: ignore[call-arg]
Reading.objects.bulk_upsert(5)  # type: ignore[arg-type]
