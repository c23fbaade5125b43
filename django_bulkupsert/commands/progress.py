"""How far a command has come, told on a terminal by a bar, and otherwise now and then by a line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from ..csvs.lines import PassedOn

#: Seconds between two lines.
INTERVAL = 2.0


class Watched(PassedOn):
    """A file that knows how much of it was read.

    Args:
        file: The file, of bytes.
        size: How many bytes it has, or None where that is not known.

    Attributes:
        at_end: Is called when all of it was read.
    """

    def __init__(self, file: IO[bytes], size: int | None = None) -> None:
        super().__init__(file)
        self.size = size
        self.done = 0
        self.at_end: Callable[[], object] = lambda: None

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        data = super().read(size)
        self.done += len(data)
        if not data:
            self.at_end()
        return data


class ProgressLines:
    """Tells by lines of text.

    Args:
        out: Where to.
        watched: The file that is read; None: none is.
    """

    def __init__(self, out: Any, watched: Watched | None) -> None:
        self.out = out
        self.watched = watched
        self.start = self.last = time.monotonic()
        if watched is not None:
            watched.at_end = self.merging

    def __call__(self, count: int, total: int | None = None) -> None:  # noqa: ARG002
        """Tell that so many rows were taken, unless a line was written just now."""
        now = time.monotonic()
        if now - self.last >= INTERVAL:
            self.last = now
            self.out.write(
                f"{count:,} rows{self._share()}, {count / (now - self.start):,.0f} rows/s"
            )

    def merging(self) -> None:
        """Tell that the server has its turn, if the reading took so long that lines were due."""
        if time.monotonic() - self.start >= INTERVAL:
            self.out.write("the file is read; merging its rows")

    def _share(self) -> str:
        watched = self.watched
        if watched is None or not watched.size:
            return ""
        return f" ({100 * watched.done / watched.size:.0f} % of the file)"


class Bar:
    """Tells by a bar of rich's.

    Args:
        bar: The bar.
        watched: The file that is read; None: none is.
    """

    def __init__(self, bar: Any, watched: Watched | None) -> None:
        self.bar = bar
        self.watched = watched
        self.start = time.monotonic()
        self.task = bar.add_task("Rows", total=None if watched is None else watched.size, said="")
        if watched is not None:
            watched.at_end = self.merging

    def __call__(self, count: int, total: int | None = None) -> None:  # noqa: ARG002
        """Tell that so many rows were taken."""
        rate = count / max(time.monotonic() - self.start, 0.001)
        words: dict[str, Any] = {"said": f"{count:,} rows  {rate:,.0f} rows/s"}
        if self.watched is not None:
            words["completed"] = self.watched.done
        self.bar.update(self.task, **words)

    def merging(self) -> None:
        """Tell that the server has its turn."""
        self.bar.update(self.task, description="Merging", said="")


@contextmanager
def told(out: Any, verbosity: int, watched: Watched | None = None) -> Iterator[Any]:
    """Give what is called with the number of rows so far; or None, where nothing is to be told.

    Args:
        out: The command's stderr.
        verbosity: 0: nothing is told.
        watched: The file that is read; None: none is.
    """
    if verbosity < 1:
        yield None
    elif not out.isatty():
        yield ProgressLines(out, watched)
    else:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        except ImportError:
            yield ProgressLines(out, watched)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
        )
        console = Console(file=getattr(out, "_out", out), highlight=False)
        with Progress(*columns, console=console, transient=True) as bar:
            yield Bar(bar, watched)
