"""A simulated solar meter: watts every five minutes, sent in blocks that overlap."""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Iterator
from typing import Any

STEP = datetime.timedelta(minutes=5)
BLOCK = datetime.timedelta(days=16)
START = datetime.datetime(2026, 5, 1, tzinfo=datetime.timezone.utc)


def watts(device: str, moment: datetime.datetime) -> float:
    """Return the power of a 9 kW roof: a day's arc, and clouds that pass."""
    hour = moment.hour + moment.minute / 60
    sun = max(0.0, math.sin((hour - 5) / 14 * math.pi)) if 5 < hour < 19 else 0.0
    cloud = random.Random(f"{device} {moment:%Y-%m-%d %H}").uniform(0.3, 1.0)
    return round(9000 * sun * cloud, 1)


def block(device: str, end: datetime.datetime) -> Iterator[dict[str, Any]]:
    """Yield the 16 days of readings up to ``end``, as the meter sends them."""
    moment = end - BLOCK
    while moment < end:
        yield {"device": device, "timestamp": moment, "watts": watts(device, moment)}
        moment += STEP
