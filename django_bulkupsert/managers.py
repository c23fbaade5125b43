"""The queryset and the manager that have the methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models

from .async_methods import AsyncBulkMethods
from .methods import BulkMethods

ModelT = TypeVar("ModelT", bound=models.Model)


class BulkUpsertQuerySet(BulkMethods, AsyncBulkMethods, models.QuerySet[ModelT, ModelT]):
    """A queryset that writes many rows at once."""


if TYPE_CHECKING:

    class _Manager(BulkMethods, AsyncBulkMethods, models.Manager[ModelT]):
        def get_queryset(self) -> BulkUpsertQuerySet[ModelT]: ...
        def all(self) -> BulkUpsertQuerySet[ModelT]: ...
        def filter(self, *args: Any, **kwargs: Any) -> BulkUpsertQuerySet[ModelT]: ...
        def exclude(self, *args: Any, **kwargs: Any) -> BulkUpsertQuerySet[ModelT]: ...
        def using(self, alias: str | None) -> BulkUpsertQuerySet[ModelT]: ...
        def none(self) -> BulkUpsertQuerySet[ModelT]: ...
        def order_by(self, *field_names: Any) -> BulkUpsertQuerySet[ModelT]: ...
        def distinct(self, *field_names: Any) -> BulkUpsertQuerySet[ModelT]: ...
        def select_related(self, *fields: Any) -> BulkUpsertQuerySet[ModelT]: ...
        def only(self, *fields: str) -> BulkUpsertQuerySet[ModelT]: ...
        def defer(self, *fields: Any) -> BulkUpsertQuerySet[ModelT]: ...

else:

    class _Manager(models.manager.BaseManager.from_queryset(BulkUpsertQuerySet), models.Manager):
        pass  # the methods, ours among them, and a Manager for whoever asks


class BulkUpsertManager(_Manager[ModelT]):
    """A manager with the methods of BulkUpsertQuerySet, in data migrations too."""

    use_in_migrations = True

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        own: type[Any] = cls._queryset_class  # type: ignore[attr-defined]  # Django's own name
        if not issubclass(own, BulkMethods):
            raise TypeError(
                f"{cls.__name__} makes querysets of {own.__name__}, which has no bulk methods; "
                f"make {own.__name__} a subclass of BulkUpsertQuerySet"
            )
