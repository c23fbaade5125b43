"""The rows that were rejected, as a file that can be mended and read again."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Sequence

from ..csvs import REJECTED, CsvRows
from ..csvs.source import CsvSource
from ..result import Rejected


def write_rejects(
    rows: CsvRows, rejected: Sequence[Rejected], write: Callable[[bytes], object]
) -> None:
    """Write rows of a file as they are in it, each after its line and what is wrong with it.

    The header is the file's, after two columns that are left out when the file is read again. With
    the file's own encoding, delimiter and quotes: what reads the one reads the other.

    Args:
        rows: The file, from its start.
        rejected: Which of its rows.
        write: Takes the bytes.
    """
    source = CsvSource(rows, sifts=True)
    # What is wrong may be said in characters that the encoding lacks.
    encoding = "utf-8" if rows.encoding == "utf-8-sig" else rows.encoding
    encode = codecs.getincrementalencoder(encoding)("backslashreplace").encode
    text = io.StringIO()
    out = csv.writer(text, delimiter=rows.delimiter, quotechar=rows.quotechar, lineterminator="\n")
    # A file that was rejected before has these columns already.
    old = [name in REJECTED for name in source.names]

    def line(before: Sequence[object], values: Sequence[str]) -> None:
        kept = [each for at, each in enumerate(values) if not (at < len(old) and old[at])]
        out.writerow([*before, *kept])
        write(encode(text.getvalue()))
        text.seek(0)
        text.truncate()

    line(REJECTED, source.names)
    wrong = {each.index: each for each in rejected}
    for index, values in source.records():
        if index in wrong:
            each = wrong.pop(index)
            line([each.line, reason(each)], values)
        if not wrong:
            break
    source.close()


def reason(each: Rejected) -> str:
    """Say what is wrong with a row."""
    return each.message if each.field is None else f"{each.field}: {each.message}"
