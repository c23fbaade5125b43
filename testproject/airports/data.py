"""Real rows: the CSV that the airportsdata package ships, and edits as a new edition brings."""

from __future__ import annotations

import csv
import random
from importlib.resources import files
from typing import Any

Row = dict[str, Any]


#: The file as it is shipped, and the options by which the command reads it.
FILE = files("airportsdata").joinpath("airports.csv")
OPTIONS = ["--map=subd=region", "--map=lat=latitude", "--map=lon=longitude", "--map=tz=timezone",
           "--map=lid="]  # fmt: skip


def airports() -> list[Row]:
    """Read the 28,000 airports, as mappings of Airport's fields."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return [
            {
                "icao": line["icao"],
                "iata": line["iata"] or None,
                "name": line["name"],
                "city": line["city"],
                "region": line["subd"],
                "country": line["country"],
                "elevation": float(line["elevation"]),
                "latitude": float(line["lat"]),
                "longitude": float(line["lon"]),
                "timezone": line["tz"],
            }
            for line in csv.DictReader(file)
        ]


def edited(rows: list[Row], count: int = 412, seed: int = 2026) -> list[Row]:
    """Return the rows of a later edition, ``count`` of them changed in one field each."""
    chance = random.Random(seed)
    rows = [dict(row) for row in rows]
    for row in chance.sample(rows, count):
        edit = chance.choice(["renamed", "surveyed", "moved", "coded"])
        if edit == "renamed":
            row["name"] += " International"
        elif edit == "surveyed":
            row["elevation"] += chance.choice([-7, -2, 3, 11])
        elif edit == "moved":
            row["latitude"] = round(row["latitude"] + chance.uniform(0.001, 0.01), 6)
        else:
            row["iata"] = None if row["iata"] else "".join(chance.sample("BCDFGHJKLM", 3))
    return rows
