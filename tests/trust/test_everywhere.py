"""The same calls leave the same tables, and say the same, on every server, driver and Django.

What they leave and say is in ``images.txt``; ``TRUST_WRITE=1`` writes it anew. Each environment of
tox compares its own, and the long form asks each version of PostgreSQL whose programs are here.
"""

from __future__ import annotations

import datetime
import decimal
import os
import random
import subprocess
import sys
import uuid
from pathlib import Path

import django
import pytest
from django.db import connection, transaction
from django.db.backends.postgresql.base import Database
from django.db.backends.postgresql.psycopg_any import DateRange, NumericRange
from django.db.models import F, Q
from django.db.models.functions import Lower

from django_bulkupsert import DuplicateKeysError, Excluded, RowError
from tests.models import Everything, Product, TwoKeys
from tests.trust.servers import VERSIONS, binaries, running

pytestmark = pytest.mark.django_db

IMAGES = Path(__file__).with_name("images.txt")

TEXTS = [
    "",
    "a",
    "NULL",
    "\\N",
    "\\.",
    'q"uote',
    "it's",
    "{a,b}",
    "tab\tnew\nline\r",
    "é€😀",
    " a ",
]


def everything(chance: random.Random, key: int) -> dict:
    """Return a row with a value for most field classes, or None."""
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(
        microseconds=chance.randrange(10**15)
    )
    low = chance.randrange(-1000, 1000)
    values = {
        "big": chance.randrange(-(2**63), 2**63),
        "binary": chance.randbytes(chance.randrange(20)),
        "boolean": chance.random() < 0.5,
        "char": chance.choice(TEXTS),
        "date": moment.date(),
        "datetime": moment,
        "decimal": decimal.Decimal(chance.randrange(-(10**15), 10**15)).scaleb(-6),
        "duration": datetime.timedelta(microseconds=chance.randrange(-(10**14), 10**14)),
        "float": chance.uniform(-1e9, 1e9),
        "integer": chance.randrange(-(2**31), 2**31),
        "ip": f"10.{chance.randrange(256)}.0.1",
        "json": {"a": [1, None, chance.choice(TEXTS)], "b": chance.random()},
        "positive": chance.randrange(2**31),
        "slug": "a-b_c",
        "small": chance.randrange(-(2**15), 2**15),
        "text": "".join(chance.choices(TEXTS, k=3)),
        "time": moment.time(),
        "uuid": uuid.UUID(int=chance.getrandbits(128)),
        "integers": [chance.randrange(100) for _ in range(chance.randrange(4))],
        "texts": [chance.choice([*TEXTS, None]) for _ in range(chance.randrange(4))],
        "nested": [[chance.choice(TEXTS), "x"] for _ in range(chance.randrange(3))],
        "moments": [moment],
        "int_range": NumericRange(low, low + chance.randrange(1, 9)),
        "date_range": DateRange(moment.date(), None),
    }
    given = {name: value if chance.random() < 0.85 else None for name, value in values.items()}
    return {"key": key, **given}


def image(model, *names: str, by: str = "key") -> list[str]:
    """Return the rows of a table as the server prints them."""
    fields = [model._meta.get_field(name) for name in names] or [
        field for field in model._meta.concrete_fields if not field.primary_key
    ]
    columns = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'UTC'; SET LOCAL intervalstyle = 'postgres'")
        cursor.execute(
            f"SELECT ROW({columns})::text FROM {connection.ops.quote_name(model._meta.db_table)} "
            f"ORDER BY {connection.ops.quote_name(model._meta.get_field(by).column)}"
        )
        return [row[0].replace("\n", "\\n").replace("\r", "\\r") for row in cursor.fetchall()]


def told(result) -> list[str]:
    lines = [str(result)]
    lines += [f"  {row.index} {row.status} {row.values} {row.old}" for row in result.rows]
    return lines


def calls(strategy: str) -> list[str]:
    """Make every kind of call; return what they leave and say."""
    chance = random.Random(7)
    out: list[str] = []

    def upsert(model, rows, **options):
        return model.objects.bulk_upsert(iter(rows), strategy=strategy, **options)

    rows = [everything(chance, key) for key in range(30)]
    out += told(upsert(Everything, rows, unique_fields=["key"]))
    out += image(Everything)
    changed = [everything(chance, key) for key in range(20, 40)] + rows[:10]
    out += told(upsert(Everything, changed, unique_fields=["key"]))
    out += image(Everything)

    products = [
        {"sku": f"{'aB'[n % 2]}{n}", "name": "n", "stock": n, "price": f"{n}.50"}
        for n in range(12)
    ]  # fmt: skip
    unique = {"unique_fields": ["sku"]}
    out += told(upsert(Product, products, **unique, returning=["sku", "stock", "price"]))
    names = ["sku", "name", "stock", "price"]
    again = [{**row, "stock": row["stock"] + n % 3} for n, row in enumerate(products[4:])]
    again.append({"sku": "new", "name": "m", "stock": 1, "price": None})
    out += told(
        upsert(Product, again, **unique, returning=["sku", "stock"], returning_old=True)
    )  # fmt: skip
    out += told(upsert(Product, again, **unique, ignore_conflicts=True))
    out += told(
        upsert(
            Product,
            again,
            **unique,
            update_fields={"stock": F("stock") + Excluded("stock")},
            where=Q(stock__gt=Excluded("stock") - 2),
        )
    )
    out += told(upsert(Product, [*again, {**again[0], "stock": 77}], **unique, duplicates="last"))
    out += told(upsert(Product, products, **unique, transform={"sku": Lower("sku")}))
    out += told(upsert(Product, [{"name": "n", "stock": 5}], match_fields=["name"]))
    out += image(Product, *names, by="sku")
    for bad in (
        [*products, products[0]],
        [*products, {**products[1], "sku": "x" * 13}],
        [*products, {**products[2], "price": "1e9"}],
    ):
        with pytest.raises((DuplicateKeysError, RowError)) as caught, transaction.atomic():
            upsert(Product, bad, **unique)
        out.append(f"{type(caught.value).__name__}: {caught.value}")

    objs = list(Product.objects.order_by("sku"))
    for n, each in enumerate(objs):
        each.stock = F("stock") * 2 if n % 2 else -n
    found = Product.objects.bulk_update(
        iter(objs), ["stock"], strategy=strategy, skip_unchanged=True, returning=["sku", "stock"]
    )
    out.append(f"{int(found)} {found.updated} {found.unchanged} {found.skipped}")
    out += sorted(f"  {row.index} {row.values}" for row in found.rows)
    objs = [TwoKeys(code=f"c{n}", key=n, value=n) for n in range(8)]
    out += told(upsert(TwoKeys, objs, unique_fields=["key"], preserve_sequence=True))
    assert [each.pk for each in objs] == list(
        TwoKeys.objects.order_by("key").values_list("pk", flat=True)
    )
    out.append(str(TwoKeys.objects.bulk_copy({"code": f"d{n}", "key": n} for n in range(8, 12))))
    out += image(TwoKeys, "code", "key", "value")
    out += image(Product, *names, by="sku")
    return out


@pytest.mark.parametrize("strategy", ["values", "unnest", "copy"])
def test_the_same_everywhere(strategy):
    found = "\n".join(calls(strategy)) + "\n"
    if os.environ.get("TRUST_WRITE"):
        IMAGES.write_text(found, encoding="utf-8")
    assert found == IMAGES.read_text(encoding="utf-8")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_on_each_server(version, size, tell):
    found = binaries()
    if not size.long:
        pytest.skip("a server of each version takes its time: make trust")
    if version not in found:
        pytest.skip(f"PostgreSQL {version} is not here: make servers")
    with running(found[version]) as server:
        ran = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                "tests/trust/test_everywhere.py", "tests/trust/test_meeting.py",
                "tests/trust/test_second_index.py", "tests/trust/test_values.py",
                "tests/test_write.py", "tests/test_update.py", "tests/test_conflict_edges.py",
            ],
            env={**os.environ, "DATABASE_URL": server.url, "TRUST": "short"},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-4_000:]
    driver = f"{Database.__name__} {Database.__version__.split()[0]}"
    tell(
        "the same everywhere",
        f"PostgreSQL {version}, {driver}, Django {django.get_version()}",
        f"3 relations, {len(IMAGES.read_text().splitlines())} lines",
        "the same tables and results; " + ran.stdout.strip().splitlines()[-1].split(" in ")[0],
    )
