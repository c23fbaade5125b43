"""What the server can tell and do; what can't change is asked once per connection."""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakKeyDictionary

from .driver import Diagnostics
from .ours import our_own
from .sql import Fragment

logger = logging.getLogger("django_bulkupsert")

_plain_tables: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()
_enums: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()
_locks: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()
_citus: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
#: By the driver's connection: another session may be another role's.
_stages: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def created_by(connection: Any, table: Fragment) -> str:
    """Return how an insert can be told from an update; see ``Upsert.created_by``."""
    if connection.pg_version >= 180000:
        return "old"
    known = _plain_tables.setdefault(connection, {})
    name = table.plain()
    if name not in known:
        with our_own(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT relkind = 'r' FROM pg_catalog.pg_class WHERE oid = to_regclass(%s)", [name]
            )
            known[name] = bool((cursor.fetchone() or [False])[0])
    return "xmax" if known[name] else "join"


def forget_kind(connection: Any, table: Fragment) -> bool:
    """Ask again how an insert can be told, since a table may be made anew; whether it was known.

    Only of one that was a plain table something else may be asked than it has.
    """
    return _plain_tables.get(connection, {}).pop(table.plain(), None) is True


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
        with our_own(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT typtype = 'e' FROM pg_catalog.pg_type WHERE oid = to_regtype(%s)", [name]
            )
            known[name] = bool((cursor.fetchone() or [False])[0])
    return known[name]


def sees_anew(cursor: Any) -> bool:
    """Whether each statement sees what was committed before it: in READ COMMITTED.

    Asked of the server: a role's or a database's setting may have another default.
    """
    with our_own():
        cursor.execute("SHOW transaction_isolation")
    return bool(cursor.fetchone()[0] == "read committed")


def copy_refusal(connection: Any, table: Fragment) -> tuple[str | None, bool]:
    """Return what a table is that COPY can't fill, or None where it can; and whether it may defer.

    It may, if a constraint could be checked as late as at the end of the transaction: that is done
    by triggers. Asked in each call: who may see which rows is of the session, and may change.
    """
    with our_own(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relkind, row_security_active(c.oid), "
            "EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid "
            "AND t.tgtype & 68 = 68), "  # INSTEAD OF, INSERT
            "EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = c.oid "
            "AND r.ev_type = '3' AND r.ev_enabled <> 'D'), "  # ON INSERT
            "c.relhastriggers OR c.relkind = 'p' "  # those of partitions are not among its own
            "FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass(%s)",
            [table.plain()],
        )
        found = cursor.fetchone() or ("", False, False, False, False)
    kind, secured, replaced, ruled, defers = found
    refusal = None
    if secured:
        refusal = "has row-level security, which COPY can't go through; bulk_upsert() inserts there"
    elif kind == "v" and not replaced:
        refusal = "is a view, which COPY can't fill; bulk_upsert() inserts there"
    elif kind == "m":
        refusal = "is a materialized view, which nothing but a refresh fills"
    elif ruled:
        refusal = "has a rule ON INSERT, which COPY goes past; a trigger can take its place"
    return refusal, defers


def constrained(connection: Any, table: Fragment, refused: Diagnostics) -> list[str]:
    """Return the columns of the constraint of a table, or of a partition of it, that refused a row.

    None, if it is another table's, or a constraint over no columns.
    """
    with our_own(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.attname FROM pg_catalog.pg_constraint AS n "
            "JOIN pg_catalog.pg_class AS c ON c.oid = n.conrelid AND c.relname = %s "
            "CROSS JOIN unnest(n.conkey) WITH ORDINALITY AS k(number, place) "
            "JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.number "
            "WHERE n.conname = %s AND (c.oid = to_regclass(%s) "
            "OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass(%s)))) ORDER BY k.place",
            [refused.table, refused.constraint, table.plain(), table.plain()],
        )
        return [name for (name,) in cursor.fetchall()]


def has_citus(connection: Any) -> bool:
    """Whether the server has Citus, which can't lock rows of some tables, nor join as it likes.

    Asked by a cursor of the driver's own, so that nobody's count of queries is one too high.
    """
    if connection not in _citus:
        with our_own(), connection.wrap_database_errors, connection.connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL")
            _citus[connection] = cursor.fetchone()[0]
    return _citus[connection]


def may_stage(connection: Any) -> bool:
    """Whether the role may make temporary tables; that it may not is logged.

    Asked once for each session, by a cursor of the driver's own, as above.
    """
    connection.ensure_connection()
    session = connection.connection
    if session not in _stages:
        with our_own(), connection.wrap_database_errors, session.cursor() as cursor:
            cursor.execute("SELECT has_database_privilege(current_database(), 'TEMPORARY')")
            _stages[session] = cursor.fetchone()[0]
        if not _stages[session]:
            logger.warning(
                "the role of database %r may not make temporary tables: all rows of a call are "
                "held in memory, and sent in one statement; to have them staged, "
                "GRANT TEMPORARY ON DATABASE",
                connection.alias,
            )
    return _stages[session]


def forget_stages(connection: Any) -> None:
    """Ask again: the role is another one by now."""
    _stages.pop(connection.connection, None)
