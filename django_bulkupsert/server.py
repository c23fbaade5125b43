"""What the server can tell and do, asked once per connection."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from .sql import Fragment

_plain_tables: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()
_enums: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()
_locks: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()
_citus: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


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


def locks_rows(connection: Any, table: Fragment) -> bool | None:
    """Whether the server locks rows of a table in a SELECT; None: it was not asked yet."""
    return _locks.get(connection, {}).get(table.plain())


def note_locks(connection: Any, table: Fragment, *, locks: bool) -> None:
    """Remember whether it does."""
    _locks.setdefault(connection, {})[table.plain()] = locks


def is_enum(connection: Any, name: str) -> bool:
    """Whether a type is an enum, which texts have to be cast to."""
    known = _enums.setdefault(connection, {})
    if name not in known:
        with connection.cursor() as cursor:
            cursor.execute("SELECT typtype = 'e' FROM pg_type WHERE oid = to_regtype(%s)", [name])
            known[name] = bool((cursor.fetchone() or [False])[0])
    return known[name]


def copy_refusal(connection: Any, table: Fragment) -> str | None:
    """Return what a table is that COPY can't fill, or None where it can.

    Asked in each call: who may see which rows is of the session, and may change.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relkind, row_security_active(c.oid), EXISTS (SELECT 1 FROM pg_trigger AS t "
            "WHERE t.tgrelid = c.oid AND t.tgtype & 68 = 68) "  # INSTEAD OF, INSERT
            "FROM pg_class AS c WHERE c.oid = to_regclass(%s)",
            [table.plain()],
        )
        kind, secured, replaced = cursor.fetchone() or ("", False, False)
    if secured:
        return "has row-level security, which COPY can't go through"
    if kind == "v" and not replaced:
        return "is a view, which COPY can't fill"
    if kind == "m":
        return "is a materialized view, which nothing but a refresh fills"
    return None


def has_citus(connection: Any) -> bool:
    """Whether the server has Citus, which can't lock rows of some tables, nor join as it likes.

    Asked by a cursor of the driver's own, so that nobody's count of queries is one too high.
    """
    if connection not in _citus:
        with connection.connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL")
            _citus[connection] = cursor.fetchone()[0]
    return _citus[connection]
