"""What a table has, by PostgreSQL's catalog: constraints, indexes, triggers."""

from __future__ import annotations

from ..sql import Fragment, compose, raw, value

#: Of a trigger: a user's, BEFORE, FOR EACH ROW.
BEFORE = raw("NOT tgisinternal AND tgtype & 3 = 3")


def checks(table: Fragment) -> Fragment:
    """Return the query of a table's CHECK constraints: name, expression, and its columns."""
    return compose(
        "SELECT c.conname, pg_get_expr(c.conbin, c.conrelid), array_agg(a.attname::text) "
        "FROM pg_catalog.pg_constraint AS c JOIN pg_catalog.pg_attribute AS a "
        "ON a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey) "
        "WHERE c.conrelid = to_regclass({table}) AND c.contype = 'c' "
        # PostgreSQL 18 has some that are not enforced.
        "AND to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false' "
        "GROUP BY c.oid ORDER BY c.conname",
        table=value(table.plain()),
    )


def foreign_key_columns(table: Fragment) -> Fragment:
    """Return the query of a table's columns that are a foreign key each, and of its name."""
    return compose(
        "SELECT a.attname::text, c.conname::text FROM pg_catalog.pg_constraint AS c "
        "JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] "
        "WHERE c.conrelid = to_regclass({table}) AND c.contype = 'f' "
        "AND cardinality(c.conkey) = 1 "
        "AND to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false'",
        table=value(table.plain()),
    )


def has_before_triggers(table: Fragment) -> Fragment:
    """Return the query of whether a trigger may change a row before it is written."""
    return compose(
        "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger WHERE tgrelid = to_regclass({table}) "
        "AND {before})",
        table=value(table.plain()),
        before=BEFORE,
    )


def writes_all(table: Fragment) -> Fragment:
    """Return the query of whether a table takes each row as it is proposed.

    Nothing may see it before: a trigger (which those of partitions are too), or a rule.
    """
    return compose(
        "SELECT c.relkind = 'r' AND NOT c.relhasrules AND NOT EXISTS "
        "(SELECT 1 FROM pg_catalog.pg_trigger WHERE tgrelid = c.oid AND {before}) "
        "FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass({table})",
        table=value(table.plain()),
        before=BEFORE,
    )


def deferred(table: Fragment) -> Fragment:
    """Return the query of a table's constraints that may be checked at the end, by their names.

    Not of foreign keys. NULL, if there are none.
    """
    return compose(
        "SELECT string_agg(format('%%I.%%I', n.nspname, c.conname), ', ') "
        "FROM pg_catalog.pg_constraint AS c "
        "JOIN pg_catalog.pg_namespace AS n ON n.oid = c.connamespace "
        "WHERE c.conrelid = to_regclass({table}) AND c.condeferrable AND c.contype <> 'f'",
        table=value(table.plain()),
    )


def check_now(names: str) -> Fragment:
    """Return the statement that checks constraints, whose names the server has quoted itself."""
    return compose("SET CONSTRAINTS {names} IMMEDIATE", names=raw(names))


def unique_columns(table: Fragment, index: str) -> Fragment:
    """Return the query of a unique index's columns; no row, unless it is over columns alone."""
    return compose(
        "SELECT array_agg(a.attname::text) FROM pg_catalog.pg_index AS i "
        "JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid "
        "JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) "
        "WHERE i.indrelid = to_regclass({table}) AND c.relname = {index} AND i.indisunique "
        "AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnatts = i.indnkeyatts "
        # PostgreSQL 15 has some in which a NULL is a value like any.
        "AND to_jsonb(i) ->> 'indnullsnotdistinct' IS DISTINCT FROM 'true'",
        table=value(table.plain()),
        index=value(index),
    )
