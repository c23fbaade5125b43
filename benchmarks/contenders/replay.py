"""A call's statements and COPY data, noted while it runs, and sent again without it.

What is sent again is exactly what the library sends, so the time it takes is the floor that the
library's Python stands on: encoding, reading of rows, and what becomes of the answers.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest import mock

from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import is_psycopg3
from django.db.backends.utils import CursorWrapper


@dataclass
class Step:
    """A statement, with its parameters or, of a COPY, its data."""

    statement: str
    params: Any = None
    data: bytes | None = None


class Recorder(CursorWrapper):
    """Django's cursor, which notes what it is given."""

    def __init__(self, cursor: Any, steps: list[Step]) -> None:
        super().__init__(cursor, connection)
        self.steps = steps

    def execute(self, sql: str, params: Any = None) -> Any:
        self.steps.append(Step(sql, params))
        return super().execute(sql, params)

    def copy_expert(self, sql: str, file: Any, size: int = 8192) -> Any:
        """Of psycopg2."""
        data = b"".join(iter(lambda: file.read(size), b""))
        self._note(sql, data)
        return self.cursor.copy_expert(sql, io.BytesIO(data), size)

    @contextmanager
    def copy(self, statement: str, *args: Any, **words: Any) -> Iterator[Any]:
        """Of psycopg 3."""
        with self.cursor.copy(statement, *args, **words) as copy:
            yield Tee(copy, lambda data: self._note(statement, data))

    def _note(self, statement: str, data: bytes) -> None:
        last = self.steps[-1] if self.steps else None
        if last is not None and last.data is not None and last.statement == statement:
            last.data += data  # the floor sends it in one piece
        else:
            self.steps.append(Step(statement, data=bytes(data)))


class Tee:
    """psycopg 3's copy, whose data is noted."""

    def __init__(self, copy: Any, note: Callable[[bytes], None]) -> None:
        self.copy = copy
        self.note = note

    def write(self, data: bytes) -> None:
        self.note(data)
        self.copy.write(data)


def recorded(call: Callable[[], object]) -> list[Step]:
    """Run a call, and return what it sent."""
    steps: list[Step] = []
    with mock.patch.object(connection, "make_cursor", lambda cursor: Recorder(cursor, steps)):
        call()
    return steps


def replay(steps: list[Step]) -> None:
    """Send it again, and fetch the answers."""
    with transaction.atomic() if len(steps) > 1 else nullcontext(), connection.cursor() as cursor:
        for step in steps:
            if step.data is not None:
                copy_in(cursor, step.statement, step.data)
                continue
            cursor.execute(step.statement, step.params)
            if cursor.description is not None:
                cursor.fetchall()


def copy_in(cursor: Any, statement: str, data: bytes) -> None:
    """Run ``COPY .. FROM STDIN``."""
    if is_psycopg3:
        with cursor.copy(statement) as copy:
            copy.write(data)
    else:
        cursor.copy_expert(statement, io.BytesIO(data), len(data) + 1)
