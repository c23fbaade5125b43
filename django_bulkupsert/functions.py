"""The methods as functions, for models whose manager is not ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.db import models

from .managers import BulkUpsertQuerySet

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

#: A model, or a queryset of one.
Target = type[models.Model] | models.QuerySet[Any, Any] | models.Manager[Any]


def _function(
    method: Callable[Concatenate[Any, Any, P], ResultT],
) -> Callable[Concatenate[Target, Any, P], ResultT]:
    """Return a function that takes a model, rows, and the keywords of a method."""

    def function(model: Target, rows: Any, /, *args: P.args, **keywords: P.kwargs) -> ResultT:
        return method(_queryset(model), rows, *args, **keywords)

    name = method.__name__
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Do what the method ``{name}()`` does, for any model.

    Args:
        model: The model; or a queryset or a manager of it, whose database is written to.
        rows: The rows; the keywords, the result and the errors are the method's, too.
    """
    return function


def _queryset(model: Target) -> BulkUpsertQuerySet[Any]:
    if isinstance(model, models.Manager):
        model = model.get_queryset()
    if isinstance(model, models.QuerySet):
        stored: Any = model
        return BulkUpsertQuerySet(
            stored.model, query=stored.query, using=stored._db, hints=stored._hints
        )
    if isinstance(model, type) and issubclass(model, models.Model):
        return BulkUpsertQuerySet(model)
    raise TypeError(f"a model or a queryset is wanted, not {type(model).__name__}")


bulk_upsert = _function(BulkUpsertQuerySet.bulk_upsert)
