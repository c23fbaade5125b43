"""What is asked of staged rows before they are written: which of them a constraint would refuse."""

from __future__ import annotations

from collections.abc import Sequence

from ..columns import Column
from ..relations import Relation, Slot
from ..sql import Fragment, comma, compose, raw, value
from .keyed import Keyed


def checks(table: Fragment) -> Fragment:
    """Return the query of a table's CHECK constraints: name, expression, and its columns."""
    return compose(
        "SELECT c.conname, pg_get_expr(c.conbin, c.conrelid), array_agg(a.attname::text) "
        "FROM pg_constraint AS c JOIN pg_attribute AS a "
        "ON a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey) "
        "WHERE c.conrelid = to_regclass({table}) AND c.contype = 'c' "
        # PostgreSQL 18 has some that are not enforced.
        "AND to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false' "
        "GROUP BY c.oid ORDER BY c.conname",
        table=value(table.plain()),
    )


def unchecked(over: Keyed, expressions: Sequence[str], columns: Sequence[Column]) -> Fragment:
    """Return: the positions of rows that constraints refuse, and which, by its number.

    Args:
        over: The rows.
        expressions: What the constraints say, in the server's own words, over bare columns.
        columns: Those columns.
    """
    named = comma(
        compose("{value} AS {name}", value=over.incoming(column), name=column.name)
        for column in columns
    )
    cases = comma(
        compose("({number}, ({check}))", number=raw(str(number)), check=raw(check))
        for number, check in enumerate(expressions)
    )
    return compose(
        "{prelude}SELECT bu_c.bu_ord, bu_k.number FROM "
        "(SELECT bu_r.ord AS bu_ord, {named} FROM {source}) AS bu_c, "
        "LATERAL (VALUES {cases}) AS bu_k (number, holds) "
        "WHERE bu_k.holds IS FALSE ORDER BY 1, 2",
        prelude=over.prelude(),
        named=named,
        source=over.relation.source(),
        cases=cases,
    )


def orphans(over: Keyed, column: Column, target: Column) -> Fragment:
    """Return: the positions of rows that point to no stored row, nor to one of the rows.

    Args:
        over: The rows.
        column: The foreign key.
        target: The column that it points to.
    """
    given = over.incoming(column)
    own = raw("true")
    if target in over.slot_of:  # of the model itself: another row may bring it
        own = compose(
            "{given} NOT IN (SELECT {value} FROM {source} WHERE {value} IS NOT NULL)",
            given=given,
            value=over.incoming(target),
            source=over.relation.source(),
        )
    return compose(
        "{prelude}SELECT bu_r.ord FROM {source} LEFT JOIN {parent} AS bu_p "
        "ON bu_p.{key} = {given} WHERE {given} IS NOT NULL AND bu_p.{key} IS NULL AND {own} "
        "ORDER BY bu_r.ord",
        prelude=over.prelude(),
        source=over.relation.source(),
        parent=target.table,
        key=target.name,
        given=given,
        own=own,
    )


def texts(name: Fragment, alias: Fragment, ordinals: Sequence[int]) -> Fragment:
    """Return: position and text of a column of staged rows."""
    return compose(
        "SELECT ord, {alias}::text FROM {name} WHERE ord = ANY({ordinals})",
        alias=alias,
        name=name,
        ordinals=value(list(ordinals)),
    )


def removal(name: Fragment, ordinals: Sequence[int]) -> Fragment:
    """Return the statement that takes rows out of a staging table."""
    return compose(
        "DELETE FROM {name} WHERE ord = ANY({ordinals})",
        name=name,
        ordinals=value(list(ordinals)),
    )


def size(relation: Relation, pk: Slot | None) -> Fragment:
    """Return: how many rows there are, and how many that give a primary key."""
    return compose(
        "SELECT count(*), count({pk}) FROM {source}",
        pk=raw("NULL") if pk is None else pk.of(),
        source=relation.source(),
    )
