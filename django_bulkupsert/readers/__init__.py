"""One reader per kind of row: model instances, mappings, sequences -> columns of values.

A reader knows which columns travel, which hold one value for all rows (``auto_now``, plain
defaults), and turns a list of rows into columns of values; column by column, not row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import models

from ..columns import Column
from ..errors import OptionError, RowTypeError
from ..fields import Field
from ..names import Model
from .base import Constant, Reader, described, is_sequence
from .given import MappingReader, SequenceReader
from .instances import InstanceReader, TableReader
from .updates import UpdateReader

__all__ = ["Constant", "InstanceReader", "Reader", "TableReader", "UpdateReader", "reader_of"]


def reader_of(
    model: Model, first: Any, fields: Sequence[Field] | None, column: Callable[[Field], Column]
) -> Reader:
    """Pick the reader for rows of the first one's kind.

    Raises:
        OptionError: ``fields`` doesn't go with rows of this kind.
        RowTypeError: It is of no kind that is taken.
    """
    if not (isinstance(first, models.Model | Mapping) or is_sequence(type(first))):
        raise RowTypeError(
            0,
            None,
            f"{described(first)}, where a row is a model instance, a mapping or a sequence",
        )
    if is_sequence(type(first)):
        if fields is None:
            raise OptionError(
                f"row 0 is {described(first)}; with rows that are sequences, fields= names "
                "what they hold"
            )
        return SequenceReader(model, fields, column)
    if fields is not None:
        raise OptionError(
            f"fields= names what sequences hold, and row 0 is {described(first)}, "
            "which names its own"
        )
    if isinstance(first, models.Model):
        return InstanceReader(model, column)
    return MappingReader(model, first, column)
