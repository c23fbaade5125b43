"""What is asked about rows beside the statement that writes them."""

from __future__ import annotations

from ..sql import Fragment, comma, compose, join, raw
from .over import AND, Over


def duplicates(over: Over, most: int) -> Fragment:
    """Return: the positions of a key's rows, its parts as text; of keys that stand twice."""
    return compose(
        "{prelude}SELECT array_agg(r.ord ORDER BY r.ord), {texts} FROM {source} WHERE {keyed} "
        "GROUP BY {key} HAVING count(*) > 1 ORDER BY min(r.ord) LIMIT {most}",
        prelude=over.prelude(),
        texts=comma(compose("{part}::text", part=part) for part in over.key()),
        source=over.relation.source(),
        keyed=join(AND, over.keyed()),
        key=comma(over.key()),
        most=raw(str(most)),
    )


def stored_keys(over: Over) -> Fragment:
    """Return: the position of a row, the primary key of the stored row that it matches."""
    return compose(
        "{prelude}SELECT r.ord, {pk} FROM {source} JOIN {table} ON {matched}",
        prelude=over.prelude(),
        pk=comma(map(over.stored, over.plan.pk)),
        source=over.relation.source(),
        table=over.plan.table,
        matched=over.matched(),
    )
