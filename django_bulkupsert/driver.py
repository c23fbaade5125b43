"""Where psycopg2 and psycopg 3 differ: COPY, the classes of prepared values, error details.

Everything above this module is the same for both.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any

from .ours import our_own
from .sql import Fragment

# What Django's fields wrap values in for the driver.
JSON_TYPES: tuple[type, ...] = ()
BINARY_TYPES: tuple[type, ...] = ()
INET_TYPES: tuple[type, ...] = ()
RANGE_TYPES: tuple[type, ...] = ()
is_psycopg3 = False

# Without a driver there is no PostgreSQL either: importing works, and a call says so.
with suppress(ImportError):
    from django.db.backends.postgresql import psycopg_any

    is_psycopg3 = psycopg_any.is_psycopg3
    RANGE_TYPES = psycopg_any.RANGE_TYPES
    if is_psycopg3:
        from psycopg import Binary
        from psycopg import Error as DriverError
        from psycopg.pq import ExecStatus, TransactionStatus
        from psycopg.types.json import Json, Jsonb

        JSON_TYPES = (Json, Jsonb)
        BINARY_TYPES = (Binary,)
    else:
        from psycopg2.extensions import Binary as Binary2
        from psycopg2.extras import Inet as Inet2
        from psycopg2.extras import Json as Json2

        JSON_TYPES = (Json2,)
        BINARY_TYPES = (Binary2,)
        INET_TYPES = (Inet2,)

#: libpq's number of a transaction that is aborted, with either driver.
IN_ERROR = 3

#: Seconds that the server has to answer to a cancellation; psycopg 3 gives it as many.
ANSWER = 5


def unwrap(prepared: Any) -> Any:
    """Return what a driver's wrapper (Json, Binary) wraps."""
    return prepared.obj if is_psycopg3 else prepared.adapted


def copy_in(connection: Any, cursor: Any, statement: Fragment, data: bytes) -> int:
    """Run ``COPY .. FROM STDIN`` with ``data``, complete, as its input; return the rows written.

    The cursor is Django's, so what wraps or logs its queries sees this one too.
    """
    text = statement.plain()
    with our_own(), connection.wrap_database_errors:
        if is_psycopg3:
            with cursor.copy(text) as copy:
                copy.write(data)
        else:
            cursor.copy_expert(text, io.BytesIO(data), len(data) + 1)  # in one piece
    return int(cursor.rowcount)


def settle(connection: Any) -> None:
    """Have psycopg 3 ready for a statement, also where a handler raised while it sent one.

    Then it waits for an answer that nobody reads. psycopg2 sends and reads where no handler runs.
    """
    own = connection.connection
    if not is_psycopg3 or own is None or own.pgconn.transaction_status != TransactionStatus.ACTIVE:
        return
    try:
        with own.lock, suppress(DriverError):  # a thread of ours may be the one that is sending
            if own.pgconn.transaction_status == TransactionStatus.ACTIVE:
                if hasattr(own, "cancel_safe"):
                    own.cancel_safe(timeout=ANSWER)
                else:
                    own.cancel()
                _read_all(own.pgconn)
    finally:
        if own.pgconn.transaction_status == TransactionStatus.ACTIVE:
            own.close()
    if own.closed:
        connection.close()


def is_aborted(connection: Any) -> bool:
    """Whether the server refuses all but the end of the transaction that it is in."""
    return bool(connection.connection.info.transaction_status == IN_ERROR)


def _read_all(pgconn: Any) -> None:
    """Read what the server has to say still, unless that takes it long.

    Raises:
        DriverError: The connection is lost.
    """
    with DefaultSelector() as selector:
        selector.register(pgconn.socket, EVENT_READ)
        while True:
            unsent = pgconn.flush()
            if pgconn.is_busy():
                selector.modify(pgconn.socket, EVENT_READ | (EVENT_WRITE if unsent else 0))
                if not selector.select(ANSWER):
                    return
                pgconn.consume_input()
                continue
            result = pgconn.get_result()
            if result is None or result.status in (ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH):
                return  # no call of ours has rows copied to it
            if result.status == ExecStatus.COPY_IN:
                pgconn.put_copy_end(b"interrupted")


def session_zone(connection: Any) -> str | None:
    """Return the session's time zone, which the server tells whenever it changes."""
    own = connection.connection
    if is_psycopg3:
        zone: str | None = own.info.parameter_status("TimeZone")
    else:
        zone = own.get_parameter_status("TimeZone")
    return zone


def run_bare(
    connection: Any, cursor: Any, statement: str, params: tuple[Any, ...] | None = None
) -> None:
    """Run a statement past what wraps or logs the queries of Django's cursor.

    So a thread that is not the connection's may: to log a query Django opens another cursor.
    """
    with connection.wrap_database_errors:
        cursor.cursor.execute(statement, params)


def copy_out(
    connection: Any, cursor: Any, statement: Fragment, take: Callable[[bytes], object]
) -> None:
    """Run ``COPY .. TO STDOUT``, and have each row of its output, as bytes, taken.

    The cursor is Django's, so what wraps or logs its queries sees this one too.
    """
    text = statement.plain()
    with connection.wrap_database_errors:
        if is_psycopg3:
            with cursor.copy(text) as copy:
                for data in copy:
                    take(data)
        else:
            cursor.copy_expert(text, _Taker(take))


class _Taker:
    """A file of bytes, as psycopg2 wants one."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self.write = take

    def read(self, size: int = -1) -> bytes:
        """Read nothing: psycopg2 wants the method, not what it does."""
        raise NotImplementedError(f"{size} bytes of a file that is written")


#: What a statement of ours tries to read as a number, so that it fails and says why.
GONE = "django_bulkupsert: a stored row was deleted meanwhile"


@dataclass(frozen=True)
class Diagnostics:
    """What the server says of an error, beside its message."""

    sqlstate: str | None = None
    context: str | None = None
    table: str = ""
    column: str | None = None
    constraint: str | None = None
    message: str | None = None
    detail: str | None = None
    hint: str | None = None

    @property
    def told(self) -> str:
        """The message, without the value that one of a value that can't be read may hold."""
        if self.is_of_a_gone_row:
            return GONE.partition(": ")[2]
        message = self.message or ""
        return without_value(message) if self.is_of_a_value else message

    @property
    def is_of_a_value(self) -> bool:
        """Whether a value is at fault: of class 22, data.

        Or a syntax error, which our statements have none of: of what is to be a tsquery, say.
        """
        state = self.sqlstate or ""
        return (state.startswith("22") or state == "42601") and not self.is_of_a_gone_row

    @property
    def is_of_a_gone_row(self) -> bool:
        """Whether it is what a statement of ours says of a row that was deleted meanwhile."""
        return GONE in (self.message or "")


def without_value(message: str) -> str:
    """Return a message without what it quotes, in any of the server's languages."""
    return re.sub(r""":? ?["„“«»].*["”“«»]""", "", message, flags=re.DOTALL)


def diagnostics(error: BaseException) -> Diagnostics:
    """Read the server's details from Django's exception (or from the driver's)."""
    cause = error.__cause__ if error.__cause__ is not None else error
    diag = getattr(cause, "diag", None)
    if diag is None:
        return Diagnostics()
    return Diagnostics(
        sqlstate=diag.sqlstate,
        context=diag.context,
        table=diag.table_name or "",
        column=diag.column_name,
        constraint=diag.constraint_name,
        message=diag.message_primary,
        detail=diag.message_detail,
        hint=diag.message_hint,
    )
