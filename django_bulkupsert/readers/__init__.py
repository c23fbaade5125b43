"""One reader per kind of row: model instances, mappings, sequences, tables -> columns of values.

A reader knows which columns travel, which hold one value for all rows (``auto_now``, plain
defaults), and turns a list of rows into columns of values; column by column, not row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

from django.db import models

from ..arrow import Header
from ..columns import Column
from ..csvs import CsvHeader
from ..errors import OptionError, RowTypeError
from ..fields import Field
from ..names import Model, Named
from .arrow import ArrowReader
from .base import Constant, Reader, described, is_sequence
from .csv import CsvReader, CsvUpdateReader
from .given import MappingReader, SequenceReader
from .instances import InstanceReader, TableReader
from .related import RelatedKeys
from .updates import UpdateReader

__all__ = [
    "Constant",
    "CsvUpdateReader",
    "InstanceReader",
    "Reader",
    "RelatedKeys",
    "TableReader",
    "UpdateReader",
    "reader_of",
]


def reader_of(
    model: Model,
    first: Any,
    fields: Sequence[Named] | None,
    column: Callable[[Field], Column],
    known: dict[Hashable, Reader] | None = None,
) -> Reader:
    """Pick the reader for rows of the first one's kind.

    Args:
        model: The model.
        first: The first row, or a table's header.
        fields: What rows hold that are sequences.
        column: Returns the column of a field.
        known: The readers that such calls had before, to which a new one is added.

    Raises:
        OptionError: ``fields`` doesn't go with rows of this kind.
        RowTypeError: It is of no kind that is taken.
        RowFieldsError: It gives no field.
    """
    make: Callable[[], Reader]
    shape: Hashable
    if isinstance(first, models.Model):
        make, shape = partial(InstanceReader, model, column), InstanceReader
    elif isinstance(first, Header):
        make, shape = partial(ArrowReader, model, first, column), first
    elif isinstance(first, CsvHeader):
        make, shape = partial(CsvReader, model, first, column), first
    elif isinstance(first, Mapping):
        make, shape = partial(MappingReader, model, first, column), tuple(first)
    elif is_sequence(type(first)):
        if fields is None:
            raise OptionError(
                f"row 0 is {described(first)}; with rows that are sequences, fields= names "
                "what they hold"
            )
        make, shape = partial(SequenceReader, model, fields, column), SequenceReader
    else:
        raise RowTypeError(
            0,
            None,
            f"{described(first)}, where a row is a model instance, a mapping or a sequence",
        )
    if fields is not None and shape is not SequenceReader:
        own = f", and row 0 is {described(first)}, which names its own"
        if isinstance(first, Header | CsvHeader):
            own = "; the columns of a table name their own"
        raise OptionError(f"fields= names what sequences hold{own}")
    known = {} if known is None else known
    if shape in known:
        return known[shape].renewed()
    if len(known) >= MOST_SHAPES:
        known.clear()
    known[shape] = make()
    return known[shape]


#: Readers that are kept, of mappings with ever other keys.
MOST_SHAPES = 32
