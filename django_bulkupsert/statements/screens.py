"""What is asked of staged rows before they are written: which of them a constraint would refuse."""

from __future__ import annotations

from collections.abc import Sequence

from ..columns import Column
from ..relations import Relation, Slot
from ..sql import Fragment, comma, compose, join, raw, value
from .inserted import Inserted
from .keyed import Keyed
from .over import AND
from .proposed import Proposed
from .questions import only_new


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


def _bringing(over: Proposed, columns: Sequence[Column]) -> tuple[Fragment, list[Fragment]]:
    """Return the FROM item, and the conditions, of the rows whose values of columns are written.

    A stored row keeps what an update doesn't set, so then only a row that is new brings its own.
    """
    if any(column in over.write.updates for column in columns):
        return over.relation.source(), []
    return only_new(over)


def orphans(over: Proposed, column: Column, target: Column) -> Fragment:
    """Return: the positions of rows that point to no stored row, nor to one of the rows.

    Args:
        over: The rows.
        column: The foreign key.
        target: The column that it points to.
    """
    given = over.incoming(column)
    source, conditions = _bringing(over, [column])
    if target in over.slot_of:  # of the model itself: another row may bring it
        conditions.append(
            compose(
                "{given} NOT IN (SELECT {value} FROM {source} WHERE {value} IS NOT NULL)",
                given=given,
                value=over.incoming(target),
                source=over.relation.source(),
            )
        )
    return compose(
        "{prelude}SELECT DISTINCT bu_r.ord FROM {source} LEFT JOIN {parent} AS bu_p "
        "ON bu_p.{key} = {given} WHERE {given} IS NOT NULL AND bu_p.{key} IS NULL{conditions} "
        "ORDER BY 1",
        prelude=over.prelude(),
        source=source,
        parent=target.table,
        key=target.name,
        given=given,
        conditions=_further(conditions),
    )


def _further(conditions: Sequence[Fragment]) -> Fragment:
    return join("", [compose(" AND {condition}", condition=each) for each in conditions])


def stored_orphans(over: Keyed, column: Column, target: Column) -> Fragment:
    """Return: the positions of rows whose stored row points to no stored row."""
    return compose(
        "{prelude}SELECT DISTINCT bu_r.ord FROM {source} JOIN {table} ON {matched} "
        "LEFT JOIN {parent} AS bu_p ON bu_p.{key} = {stored} "
        "WHERE {stored} IS NOT NULL AND bu_p.{key} IS NULL ORDER BY 1",
        prelude=over.prelude(),
        source=over.relation.source(),
        table=over.plan.table,
        matched=over.matched(),
        parent=target.table,
        key=target.name,
        stored=column.stored,
    )


def occupied(over: Proposed, columns: Sequence[Column]) -> Fragment:
    """Return: the positions of rows whose values another stored row has than they match.

    Args:
        over: The rows; each part of their key is a column.
        columns: The columns of a unique index.
    """
    same = [raw("false")]  # rows that bring no key match none
    if over.parts and over.has_key:
        same = [
            compose("bu_t.{name} = {key}", name=part.column.name, key=over.incoming(part.column))
            for part in over.parts
            if part.column is not None
        ]
    held = [
        compose("bu_t.{name} = {value}", name=column.name, value=over.incoming(column))
        for column in columns
    ]
    source, conditions = _bringing(over, columns)
    return compose(
        "{prelude}SELECT DISTINCT bu_r.ord FROM {source} JOIN {table} AS bu_t ON {held} "
        "WHERE ({same}) IS NOT TRUE{conditions} ORDER BY 1",
        prelude=over.prelude(),
        source=source,
        conditions=_further(conditions),
        table=over.plan.table,
        held=join(AND, held),
        same=join(AND, same),
    )


def repeated(over: Keyed, columns: Sequence[Column]) -> Fragment:
    """Return: the positions of rows whose values an earlier row has, and none of them is NULL."""
    values = [over.incoming(column) for column in columns]
    return compose(
        "{prelude}SELECT bu_n.ord FROM (SELECT bu_r.ord, row_number() OVER "
        "(PARTITION BY {values} ORDER BY bu_r.ord) AS n FROM {source} WHERE {given}) AS bu_n "
        "WHERE bu_n.n > 1 ORDER BY 1",
        prelude=over.prelude(),
        values=comma(values),
        source=over.relation.source(),
        given=join(AND, [compose("{value} IS NOT NULL", value=each) for each in values]),
    )


def mark(name: Fragment) -> Fragment:
    """Return the statement that makes room in a staging table to say which rows don't count."""
    return compose("ALTER TABLE {name} ADD COLUMN dropped boolean", name=name)


def losers(over: Inserted, name: Fragment) -> Fragment:
    """Return the statement that says which rows don't count, because another of their key does."""
    ctes = [over.relation.prelude(), over.duplicates()]
    return compose(
        "WITH {ctes} UPDATE {name} SET dropped = true WHERE ord IN (SELECT ord FROM bu_d)",
        ctes=comma(cte for cte in ctes if cte.text),
        name=name,
    )


def texts(name: Fragment, alias: Fragment, ordinals: Sequence[int]) -> Fragment:
    """Return: position and text of a column of staged rows."""
    return compose(
        "SELECT ord, {alias}::text FROM {name} WHERE ord = ANY(({ordinals})::bigint[])",
        alias=alias,
        name=name,
        ordinals=value(list(ordinals)),
    )


def removal(name: Fragment, ordinals: Sequence[int]) -> Fragment:
    """Return the statement that takes rows out of a staging table."""
    return compose(
        "DELETE FROM {name} WHERE ord = ANY(({ordinals})::bigint[])",
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
