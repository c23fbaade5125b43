"""What the server can tell, asked once per connection."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from .sql import Fragment

_plain_tables: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()


def created_by(connection: Any, table: Fragment) -> str:
    """Return how an insert can be told from an update; see ``Upsert.created_by``."""
    if connection.pg_version >= 180000:
        return "old"
    known = _plain_tables.setdefault(connection, {})
    name = table.plain()
    if name not in known:
        with connection.cursor() as cursor:
            cursor.execute("SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(%s)", [name])
            known[name] = bool((cursor.fetchone() or [False])[0])
    return "xmax" if known[name] else "join"
