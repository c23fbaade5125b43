"""Rows of a file, whose header names fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from ..columns import Column
from ..csvs import REJECTED, CsvBlock, CsvHeader
from ..csvs.patterns import keeps_empty
from ..csvs.values import CsvValues
from ..csvs.verbatim import Verbatim, VerbatimBlock, is_possible, reads_naive_alike
from ..errors import CsvError, OptionError, UnknownFieldError, listing
from ..fields import Field
from ..names import Model, Named, find, nearest
from .base import Reader
from .given import GivenReader
from .updates import UpdateReader

#: What else may stand between values, where a header seems to be one name.
DELIMITERS = ";\t|,"


class CsvReader(GivenReader):
    """Reads blocks of a file's rows."""

    def __init__(self, model: Model, header: CsvHeader, column: Callable[[Field], Column]) -> None:
        found = resolved(model, header)
        self.header = header
        self.places = [place for place, _ in found]
        super().__init__(model, [each for _, each in found], column)

    def is_plain(self, rows: Any) -> bool:  # noqa: ARG002
        """Whether reading these rows is sure to run no code of the caller's, and no query."""
        return not self.asks

    def _held(self, rows: Any, offset: int, at: int) -> Any:
        if isinstance(rows, VerbatimBlock):  # what is made for them is not held
            return None
        return rows.columns[self.places[at]][offset]

    def verbatim(self) -> Verbatim | None:
        """Return what rows have to be that are sent as they stand; see Reader."""
        if self.asked:
            return None
        found = [(self.places[i], self.names[i]) for i in self.kept]
        return verbatim(self, self.header, found)

    def _columns(self, rows: Any, start: int) -> list[Sequence[Any]]:
        return [
            values(rows, place, named, self.header.null, start)
            for place, named in zip(self.places, self.names, strict=True)
        ]


class CsvUpdateReader(UpdateReader):
    """Reads the columns of a file that are updated, and those by which rows are matched.

    Args:
        header: The file's.
        words: What an UpdateReader takes.
    """

    def __init__(self, header: CsvHeader, **words: Any) -> None:
        super().__init__(**words)
        named = {each.field: (place, each) for place, each in resolved(self.model, header)}
        absent = [each.field.name for each in self.carried if each.field not in named]
        if absent:
            raise OptionError(
                f"the header has no {listing(map(repr, absent))}; it has "
                f"{listing(header.names, 25)}, and columns= says which field a column is"
            )
        self.header = header
        self.named = [named[each.field] for each in self.carried]
        self._related_keys([each for _, each in self.named])

    def verbatim(self) -> Verbatim | None:
        """Return what rows have to be that are sent as they stand; see Reader."""
        return verbatim(self, self.header, self.named)

    def attributes_of(self, rows: Any, start: int) -> list[Sequence[Any]]:
        """Return the values of each carried column; see UpdateReader."""
        return [
            self._found(column, values(rows, place, named, self.header.null, start), start)
            for column, (place, named) in zip(self.carried, self.named, strict=True)
        ]


def verbatim(
    reader: Reader, header: CsvHeader, found: Sequence[tuple[int, Named]]
) -> Verbatim | None:
    """Return what rows of a file have to be that are sent as they stand; None: all are read.

    Args:
        reader: What else would read them.
        header: The file's.
        found: Of each column that travels: its place in the file, and its name.
    """
    if not (found and is_possible(header)) or len(reader.coded) < len(reader.finders):
        return None
    naive = reads_naive_alike(reader.carried[0].connection)
    at = {place: i for i, (place, _) in enumerate(found)}
    places = [at.get(place) for place in range(len(header.names))]
    leaves = {column: finder.leaf for column, finder in reader.coded.items()}
    make = partial(Verbatim.of, header, places, reader.carried, leaves, naive=naive)
    return reader.keep(("verbatim", naive), make)


def values(rows: CsvBlock, place: int, named: Named, null: str, start: int) -> CsvValues:
    """Return a column of a block as the values of a field.

    Args:
        rows: The block.
        place: Which of its columns.
        named: The field.
        null: The text that stands for NULL. The empty text is no NULL of a field that takes empty
            texts, and no NULL.
        start: The index of the block's first row.
    """
    texts: Sequence[str | None] = rows.columns[place] if rows.count else ()
    if null in texts and not keeps_empty(named.field, null):
        texts = [None if text == null else text for text in texts]
    return CsvValues(texts, named.leaf, start, named.label)


def resolved(model: Model, header: CsvHeader) -> list[tuple[int, Named]]:
    """Return which columns of a file are which fields: each column's place, and what it names.

    Raises:
        CsvError: A column has no name, or two columns the same.
        OptionError: ``columns`` names what is not in the header, or two columns are one field.
        UnknownFieldError: A column is no field, and should be.
    """
    columns = dict(header.columns)
    absent = listing(repr(name) for name in columns if name not in header.names)
    if absent:
        raise OptionError(
            f"columns names {absent}, not in the header; it has {listing(header.names, 25)}"
        )
    found: list[tuple[int, Named]] = []
    extra: list[str] = []
    for place, name in enumerate(header.names):
        wanted = columns.get(name, name)
        if wanted is None or (name in REJECTED and name not in columns):
            continue
        if not (name or name in columns):
            extra.append(name)
            continue
        named = find(model, wanted) or (None if name in columns else _by_label(model, name))
        if named is None and name in columns:
            raise UnknownFieldError(
                f"columns: {wanted!r} is no field of {model._meta.label}; {nearest(model, wanted)}"
            )
        if named is None:
            extra.append(name)
        else:
            found.append((place, named))
    if extra and not (header.ignore_extra and found):
        raise _unknown(model, header, extra, found)
    fields = [named.field for _, named in found]
    for field in fields:
        if fields.count(field) > 1:
            names = [header.names[place] for place, named in found if named.field == field]
            if len(set(names)) < len(names):
                raise CsvError(1, f"the header has {names[0]!r} twice")
            raise OptionError(f"the header names {field.name!r} twice: {listing(names)}")
    return found


def _by_label(model: Model, label: str) -> Named | None:
    """Return the field that has a verbose name, however it is written."""
    fields = [
        field for field in model._meta.concrete_fields if label in _spellings(field.verbose_name)
    ] or [
        field
        for field in model._meta.concrete_fields
        if label.casefold() in map(str.casefold, _spellings(field.verbose_name))
    ]
    return Named(label, fields[0], None, fields[0]) if len(fields) == 1 else None


def _spellings(label: Any) -> Iterator[str]:
    yield str(label)
    yield str(label).replace(" ", "_")


def _unknown(
    model: Model, header: CsvHeader, extra: Sequence[str], found: Sequence[Any]
) -> CsvError | UnknownFieldError:
    """Return the error of columns that are no field; some may have no name."""
    label = model._meta.label
    names = [name for name in dict.fromkeys(extra) if name]
    if not found:
        first = names[0] if names else ""
        other = next((each for each in DELIMITERS if each in first), None)
        hint = nearest(model, *names[:10])
        if len(names) == 1 and other is not None:
            hint = f"it may be that delimiter={other!r} parts them"
        return UnknownFieldError(
            f"no column is a field of {label}: {listing(map(repr, names or extra))}; the first "
            f"line has to name the columns{';' if _asks(hint) else ', and'} {hint}"
        )
    if not names:
        at = header.names.index("") + 1
        return CsvError(
            1,
            f"the header has no name for column {at}; ignore_extra=True leaves out columns "
            "without one",
        )
    hint = nearest(model, *names[:10])
    return UnknownFieldError(
        f"{listing(map(repr, names), 25)} of the header {'is' if len(names) == 1 else 'are'} no "
        f"field of {label}; {hint}{'' if _asks(hint) else ';'} columns= says which field a column "
        "is, and ignore_extra=True leaves out what is none"
    )


def _asks(hint: str) -> bool:
    return hint.endswith("?")
