"""What both commands are: they end with a status of their own, ask, and say what they did."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from .refusals import REFUSED
from .targets import is_closed, silence, stream_of


class FileCommand(BaseCommand):
    """A command that reads a file, or writes one."""

    requires_system_checks: list[str] = []

    #: Whether it is a program, rather than called by one.
    is_program = False

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as a program, whose status is the error's also where its traceback is wanted."""
        self.is_program = True
        try:
            super().run_from_argv(argv)
        except CommandError as error:  # Django lets it go, and Python's status would be 1
            try:
                traceback.print_exc()
                sys.stderr.flush()
            except (OSError, AttributeError):
                silence(self.stderr)
            sys.exit(error.returncode)
        except (OSError, AttributeError, ValueError) as error:  # stderr is full, or closed
            refused = error.__context__
            if not isinstance(refused, CommandError):
                raise
            silence(self.stderr)
            sys.exit(refused.returncode)

    def say(self, out: Any, text: str, otherwise: str) -> None:
        """Write a text; where it can't be, what was done is done all the same.

        A reader that has gone away is not told of. Characters that the encoding lacks are escaped.

        Args:
            out: The command's stdout, or its stderr.
            text: The text.
            otherwise: What is said on stderr if it can't be written.
        """
        if is_closed(out):
            return
        encoding = getattr(stream_of(out), "encoding", None) or "utf-8"
        try:
            out.write(text.encode(encoding, "backslashreplace").decode(encoding))
            out.flush()
        except BrokenPipeError:
            silence(out)
        except OSError as error:
            if self.is_program:
                silence(out)
            if out is not self.stderr:
                self.say(self.stderr, f"{otherwise}: {error.strerror or error}", "")

    def asks(self, question: str) -> bool:
        """Whether somebody at a terminal, who is asked on stderr, says yes."""
        self.stderr.write(f"{question} [y/N] ", self.style.WARNING, ending="")
        self.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def is_attended() -> bool:
    """Whether somebody is at a terminal, to be asked."""
    stdin: Any = sys.stdin  # None, where it was closed
    return stdin is not None and not stdin.closed and stdin.isatty()


def check_not_empty(options: dict[str, Any], names: Sequence[str]) -> None:
    """Check that no option is empty, as one is that is given by a variable that is not set.

    Args:
        options: The command's.
        names: Those of which it is checked.

    Raises:
        CommandError: One is.
    """
    for name in names:
        given = options[name]
        texts = given if isinstance(given, list) else [given]
        if given is not None and not all(str(text).strip(", ") for text in texts):
            said = "FILE" if name == "file" else f"--{name.replace('_', '-')}"
            raise CommandError(f"{said} is given, but empty", returncode=REFUSED)
