"""Values looked at as ``full_clean()`` would: blanks, choices and validators, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from .errors import RowValueError
from .readers import Reader


def validate(reader: Reader, columns: Sequence[Sequence[Any]], start: int) -> None:
    """Check the values that rows give, column by column; an SQL expression is not looked at.

    Whether the object is there that a foreign key points to, and what is unique, is not asked: the
    database knows. Of a key that is found later, only whether there is to be one.

    Raises:
        RowValueError: A field's own ``clean()`` refuses a value, with its words.
    """
    for column, held in zip(reader.carried, columns, strict=True):
        field: Any = column.field
        if field not in reader.given:
            continue
        for offset, value in enumerate(held):
            if column in reader.coded and value is not None:
                continue
            if (field.blank and value in field.empty_values) or hasattr(
                value, "resolve_expression"
            ):
                continue
            try:
                _clean(field, value)
            except ValidationError as error:
                reason = " ".join(error.messages)
                raise RowValueError(start + offset, field.name, reason) from error


def _clean(field: Any, value: Any) -> None:
    if not field.is_relation:
        field.clean(value, None)
        return
    read = field.to_python(value)
    models.Field.validate(field, read, None)  # its own would query
    field.run_validators(read)
