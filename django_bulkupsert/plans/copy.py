"""The plan of a plain COPY into the table."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import UnsupportedModel
from ..names import Model
from ..readers import Reader
from .base import Plan, check_batch_size
from .inherited import is_inherited


@dataclass(frozen=True)
class CopyOptions:
    """The keywords of ``bulk_copy``, as the caller gave them."""

    fields: Iterable[str] | None = None
    batch_size: int | None = None
    progress: Callable[[int, int | None], object] | None = None


class CopyPlan(Plan):
    """A checked call of ``bulk_copy``; see Plan.

    Attributes:
        fields: What rows hold that are sequences, or None.
        readers: The readers of rows of the shapes that came by so far.
    """

    def __init__(self, model: Model, options: CopyOptions, connection: Any) -> None:
        super().__init__(model, connection, None)
        if is_inherited(model):
            raise UnsupportedModel(
                f"{model._meta.label} keeps its fields in several tables, and bulk_copy() fills "
                "one; bulk_upsert() takes its instances"
            )
        check_batch_size(options.batch_size)
        self.fields = self.sequence_fields(options.fields)
        self.readers: dict[Hashable, Reader] = {}
