"""What is asked about rows beside the statement that writes them."""

from __future__ import annotations

from collections.abc import Sequence

from ..columns import Column
from ..sql import Fragment, comma, compose, join, raw
from .keyed import Keyed
from .over import AND, alias
from .upsert import Upsert


def any_twice(over: Keyed) -> Fragment:
    """Return: a row, if a key stands twice."""
    return compose("{prelude}{twice}", prelude=over.prelude(), twice=over.twice())


def duplicates(over: Keyed, most: int) -> Fragment:
    """Return: the positions of a key's rows, its parts as text; of keys that stand twice."""
    keys = [alias("k", i) for i in range(len(over.parts))]
    return compose(
        "{prelude}SELECT array_agg(ord ORDER BY ord), {texts} FROM "
        "(SELECT bu_r.ord, {named} FROM {source} WHERE {keyed}) AS bu_k "
        "GROUP BY {keys} HAVING count(*) > 1 ORDER BY min(ord) LIMIT {most}",
        prelude=over.prelude(),
        texts=comma(compose("{key}::text", key=key) for key in keys),
        named=comma(
            compose("{part} AS {key}", part=part, key=key)
            for part, key in zip(over.key(), keys, strict=True)
        ),
        source=over.relation.source(),
        keyed=join(AND, over.keyed()),
        keys=comma(keys),
        most=raw(str(most)),
    )


def stored_rows(over: Keyed, columns: Sequence[Column]) -> Fragment:
    """Return: the position of a row, and columns of the stored row that it matches."""
    return compose(
        "{prelude}SELECT bu_r.ord, {columns} FROM {source} JOIN {table} ON {matched}",
        prelude=over.prelude(),
        columns=comma(column.stored for column in columns),
        source=over.relation.source(),
        table=over.plan.table,
        matched=over.matched(),
    )


def lookup(over: Upsert) -> Fragment:
    """Return: the position of a row, of the row of its key that counts, the stored primary key."""
    kept = raw("bu_r.ord")
    if over.judges:
        kept = compose(
            "CASE WHEN {keyed} THEN first_value(bu_r.ord) OVER "
            "(PARTITION BY {keyed}, {key} ORDER BY bu_r.ord{descending}) ELSE bu_r.ord END",
            keyed=join(AND, over.keyed()),
            key=comma(over.key()),
            descending=raw(" DESC" if over.plan.options.duplicates == "last" else ""),
        )
    return compose(
        "{prelude}SELECT bu_r.ord, {kept}, {pk} FROM {source} LEFT JOIN {table} ON {matched}",
        prelude=over.prelude(),
        kept=kept,
        pk=over.plan.pk[0].stored,
        source=over.relation.source(),
        table=over.plan.table,
        matched=over.matched(),
    )


def only_new(over: Keyed) -> tuple[Fragment, list[Fragment]]:
    """Return the FROM item, and the conditions, of the rows that match no stored row."""
    source = over.relation.source()
    if not (over.plan.key and over.has_key):
        return source, []
    beside = compose(
        "{source} LEFT JOIN {table} ON {matched}",
        source=source,
        table=over.plan.table,
        matched=over.matched(),
    )
    return beside, [compose("{pk} IS NULL", pk=over.plan.pk[0].stored)]


def nulls(over: Keyed, column: Column, *, new: bool, most: int | None = None) -> Fragment:
    """Return: the positions of rows that give no value for a column, in order.

    Args:
        over: The rows.
        column: The column.
        new: Whether only rows that match no stored row count.
        most: How many are wanted; None: all.
    """
    conditions = [raw("true")]
    source = over.relation.source()
    if column in over.slot_of:
        conditions.append(compose("{value} IS NULL", value=over.incoming(column)))
    if new:
        source, unmatched = only_new(over)
        conditions += unmatched
    return compose(
        "{prelude}SELECT bu_r.ord FROM {source} WHERE {conditions} ORDER BY 1 LIMIT {most}",
        prelude=over.prelude(),
        source=source,
        conditions=join(AND, conditions),
        most=raw("ALL" if most is None else str(most)),
    )


def first_too_long(over: Keyed, column: Column, most: int) -> Fragment:
    """Return: the position of the first row whose text is too long for a column, or NULL."""
    return compose(
        "{prelude}SELECT min(bu_r.ord) FROM {source} WHERE char_length({value}) > {most}",
        prelude=over.prelude(),
        source=over.relation.source(),
        value=over.incoming(column),
        most=raw(str(most)),
    )


def lock_table(table: Fragment) -> Fragment:
    """Return the statement that keeps all other writers out until the transaction ends."""
    return compose("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE", table=table)
