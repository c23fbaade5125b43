"""What stops a command: errors as one line and an exit status, and names that must be known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from django.apps import apps
from django.core.exceptions import FieldError, ValidationError
from django.core.management.base import CommandError
from django.db import Error, connections

from ..errors import BulkUpsertError, UnsupportedDatabase, listing
from ..names import Model, close
from ..plans.inherited import is_inherited

#: The exit status of a call that leaves out rows, of one that is refused, and of one that is
#: interrupted.
REJECTS, REFUSED, INTERRUPTED = 1, 2, 130

#: What errors call the options of the methods, and how the command line says them.
_FLAGS = (
    (r"\bcolumns= says\b", "--map says"),
    (r"^columns(?=:| names)", "--map"),
    (r"\bdelimiter=(?=')", "--delimiter "),
    (r"\bignore_extra=True\b", "--ignore-extra"),
    (r"\bignore_conflicts(=True)?", "--ignore-conflicts"),
    (r"\bduplicates='first' or 'last'", "--duplicates first or last"),
    (r"\bconstraint= ?", "--constraint "),
    (r"\bunique_fields or constraint\b", "--unique or --constraint"),
    (r"\bunique_fields\b", "--unique"),
    (r"\bmatch_fields\b", "--match"),
    (r"\bupdate_fields\b", "--update"),
    (r"^where(, Excluded\(\))?(?=:| names| and)|\bwhere(?=$| are mutually)", "--where-newer"),
    (r"^Batch size", "--batch-size"),
    (r"pass the file's encoding", "--encoding says what it is"),
)


@contextmanager
def refusals(interrupted: str) -> Iterator[None]:
    """Turn errors into a command's: one line, and the exit status.

    Args:
        interrupted: What is to be said of Ctrl-C.

    Raises:
        CommandError: Something was refused, or interrupted.
    """
    try:
        yield
    except BulkUpsertError as error:
        raise CommandError(_spoken(error), returncode=REFUSED) from error
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        raise CommandError(f"{where}{error.strerror or error}", returncode=REFUSED) from error
    except (Error, FieldError, ValidationError) as error:
        raise CommandError(one_line(error), returncode=REFUSED) from error
    except KeyboardInterrupt as error:
        raise CommandError(interrupted, returncode=INTERRUPTED) from error
    except CommandError:
        raise
    except Exception as error:  # of a codec, a driver, code of a field; --traceback shows where
        text = f"{type(error).__name__}: {one_line(error)}".rstrip(": ")
        raise CommandError(f"{text} (--traceback shows where)", returncode=REFUSED) from error


def one_line(error: Exception) -> str:
    """Return a message in one line; the server's are of several, with wide gaps."""
    lines = error.messages if isinstance(error, ValidationError) else str(error).splitlines()
    return " ".join(re.sub(r"^([A-Z]+:)  ", r"\1 ", line.strip()) for line in lines)


def _spoken(error: Exception) -> str:
    text = one_line(error)
    for pattern, flag in _FLAGS:
        text = re.sub(pattern, flag, text)
    return text


def model_named(label: str) -> Model:
    """Return the model that ``app.Model`` names.

    Raises:
        CommandError: There is none.
    """
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        known = [model._meta.label for model in apps.get_models(include_auto_created=True)]
        near = close(label, known)
        hint = f"did you mean {listing(near)}?" if near else "a model is named as app.Model"
        raise CommandError(f"there is no model {label!r}; {hint}", returncode=REFUSED) from None


def check_alias(alias: str) -> None:
    """Check that there is a database of this alias, and that it is PostgreSQL.

    Raises:
        CommandError: There is none.
        UnsupportedDatabase: It is another.
    """
    if alias not in connections:
        known = listing(map(repr, connections))
        raise CommandError(
            f"there is no database alias {alias!r}; the settings have {known}", returncode=REFUSED
        )
    vendor = connections[alias].vendor
    if vendor != "postgresql":
        raise UnsupportedDatabase(alias, vendor)


def check_tables(model: Model) -> None:
    """Check that a file's rows can be those of a model: that it has one table.

    Raises:
        CommandError: It has several.
    """
    if is_inherited(model):
        raise CommandError(
            f"{model._meta.label} keeps its fields in several tables, and no file can be loaded "
            "into these; bulk_upsert() takes its instances",
            returncode=REFUSED,
        )
