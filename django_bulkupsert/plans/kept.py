"""Plans that are kept from call to call: an application makes the same calls over and over.

A plan is taken by one call at a time, so that nothing in it has to be safe for threads; another
call that wants it meanwhile makes its own. A plan belongs to no connection, but to a database.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields, replace
from threading import Lock
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django.db import connections
from django.db.models import F, Field, Q
from django.db.models.expressions import BaseExpression
from django.utils.connection import ConnectionProxy
from django.utils.functional import cached_property
from django.utils.timezone import get_current_timezone_name

from ..expressions import Excluded
from ..fields import is_djangos
from ..names import Model

PlanT = TypeVar("PlanT")

#: Plans that are kept; the one that was not asked for the longest goes first.
MOST_PLANS = 256

_kept: dict[Hashable, Any] = {}
_lock = Lock()


@contextmanager
def planned(
    model: Model,
    using: str,
    options: Any,
    make: Callable[[Any, Any], PlanT],
    *,
    kept: bool = True,
) -> Iterator[PlanT]:
    """Take the plan of a call, or make it; it is kept if the call succeeds.

    Args:
        model: The model.
        using: The database's alias.
        options: The call's options, a dataclass.
        make: Makes the plan of the options, and of a connection that is each thread's own.
        kept: Whether it may be kept.
    """
    if options.progress is not None:
        options = replace(options, progress=None)  # it is the call's, not the plan's
    key = _key(model, using, options) if kept else None
    with _lock:
        plan: PlanT | None = _kept.pop(key, None)
    if plan is None:
        # The caller may change its own, which plans are not told apart by any more.
        own = options if key is None else deepcopy(options)
        plan = make(own, ConnectionProxy(connections, using))
    yield plan
    if key is not None:
        with _lock:
            _kept[key] = plan
            if len(_kept) > MOST_PLANS:
                del _kept[next(iter(_kept))]


def forget() -> None:
    """Forget all plans, as a test that changes a model wants."""
    with _lock:
        _kept.clear()


def _key(model: Model, using: str, options: Any) -> Hashable:
    """Return what is the same for calls of the same plan; None: that can't be told."""
    try:
        given = tuple([_signature(getattr(options, name)) for name in _names(type(options))])
    except _Unknown:
        return None
    # What Django writes of dates, in lookups and functions, has the time zone of the moment.
    return model, using, type(options), get_current_timezone_name(), given


_NAMES: dict[type, tuple[str, ...]] = {}


def _names(kind: type) -> tuple[str, ...]:
    if kind not in _NAMES:
        _NAMES[kind] = tuple(each.name for each in fields(kind))
    return _NAMES[kind]


class _Unknown(Exception):
    """Something whose equality with another can't be told."""


_PLAIN = (
    decimal.Decimal, datetime.date, datetime.time, datetime.datetime, datetime.timedelta, uuid.UUID,
    bytes, float, datetime.timezone, ZoneInfo,
)  # fmt: skip


def _signature(item: Any) -> Hashable:
    """Return a key that is equal for what means the same, and only for that: 1 is not True."""
    kind = type(item)
    if item is None or kind is str:
        return item  # type: ignore[no-any-return]
    if kind in (int, bool):
        return kind, item
    if kind in (list, tuple):
        return kind, tuple(map(_signature, item))
    if kind is dict:
        return kind, tuple([(_signature(key), _signature(each)) for key, each in item.items()])
    if kind in _PLAIN:
        return kind, repr(item)  # Decimal("1.0") is not Decimal("1.00")
    if kind is Q:
        children = tuple(map(_signature, item.children))
        return kind, item.connector, item.negated, children
    if kind in (F, Excluded):
        return kind, _signature(item.name)
    if isinstance(item, enum.Enum):
        return kind, item.name
    # What others' classes make of their state, and of what else, only they know.
    if isinstance(item, Field) and is_djangos(item):
        *_, path, args, keywords = item.deconstruct()
        return kind, path, _signature(args), _signature(keywords)
    if isinstance(item, BaseExpression) and is_djangos(kind):
        state = [(name, vars(item)[name]) for name in sorted(vars(item)) if _is_state(kind, name)]
        return kind, tuple([(name, _signature(each)) for name, each in state])
    raise _Unknown


def _is_state(kind: type, name: str) -> bool:
    """Whether an expression's attribute is more than what follows from others, and is kept."""
    is_kept = isinstance(getattr(kind, name, None), cached_property) and name != "output_field"
    return not is_kept and name != "_constructor_args"
