"""The plan of an upsert.

Making it needs no row: the model's shape, the options, the conflict target. ``bind`` adds what
the first row tells: which fields are given, and so what is written.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import AutoField

from ..columns import Column
from ..compiling import Assigned, Condition, Term, Transform, check_tables, refused_as, where
from ..errors import MatchError, OptionError, UnsupportedModel, listing
from ..expressions import Excluded, IncomingRow
from ..fields import Field, is_clock, is_generated
from ..names import Model, pk_fields, resolve_all
from ..readers import Reader
from ..target import Target, any_fields, find, named, primary_key
from .base import Plan, check_batch_size
from .keys import KeyPart, key_part
from .options import UpsertOptions, check_options


@dataclass(frozen=True)
class Write:
    """What the statement writes.

    Attributes:
        updates: The columns that a row's update sets.
        compares: Those of them whose change makes a row one to update; a clock's doesn't.
    """

    updates: tuple[Column, ...]
    compares: tuple[Column, ...]


class UpsertPlan(Plan):
    """A checked call of ``bulk_upsert``; see Plan.

    Attributes:
        target: What rows are matched by; None: only ``ignore_conflicts``, by any constraint.
        key: The parts of its key.
        condition: The condition of a partial index, without which a row has no key; or None.
        matched_by_pk: Whether rows without a primary key are inserts, not matches.
        assigned: The expressions that columns are set to, where a row updates a stored one.
        where: The condition over the stored and the incoming row, or None.
        transforms: The expressions that replace columns of the incoming rows.
        returning: The names and columns of the values that are to come back, or None.
        readers: The readers of rows of the shapes that came by so far.
    """

    def __init__(self, model: Model, options: UpsertOptions, connection: Any) -> None:
        super().__init__(model, connection, options.strategy)
        _check_model(model)
        self.options = options
        self.readers: dict[Hashable, Reader] = {}
        check_options(options)
        check_batch_size(options.batch_size)
        changed = self._given("transform", options.transform)
        for field in changed:
            self._columns[field] = Column.of(field, connection, fits=False)
        self.pk = tuple(map(self.column, pk_fields(self.model)))
        self.fields = self.sequence_fields(options.fields)
        self.update_fields = self._update_fields()
        self.target = self._target()
        self.matched_by_pk = self.target is not None and self.target.is_pk
        self.key: tuple[KeyPart, ...] = ()
        self.condition: Term | None = None
        if self.target is not None:
            parts = self.target.parts
            self.key = tuple(key_part(self.model, p, self.column, connection) for p in parts)
            if self.target.condition is not None:
                self.condition = Term(self.model, self.target.condition, connection)
            read = [*self.key_fields, *(self.condition.fields if self.condition else ())]
            made = [field.name for field in read if is_generated(field)]
            if made:
                raise MatchError(
                    f"rows can't be matched by {self.target}: it reads {made[0]!r}, which the "
                    "database computes when a row is stored"
                )
        self._check_update_fields()
        self.assigned = self._assigned()
        self.incoming = IncomingRow(self.model, "where")
        self.where: Condition | None = None
        if options.where is not None:
            self.where = where(self.model, options.where, self.incoming, connection)
            with refused_as("where"):
                check_tables(self.model, self.where.query.where)
        self.transforms = tuple(self._transforms(changed))
        self.returning = self.returned(options.returning)

    # The options --------------------------------------------------------------------------

    def _update_fields(self) -> tuple[Field, ...] | None:
        names = self.options.update_fields
        if names is None:
            return None
        if isinstance(names, Mapping):
            return tuple(self._given("update_fields", names))
        return resolve_all(self.model, names, "update_fields")

    def _given(self, option: str, given: Any) -> dict[Field, Any]:
        """Return an option that is a mapping by its fields."""
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            raise OptionError(
                f"{option} takes a dict of names and expressions, not {type(given).__name__}"
            )
        names = list(given)
        resolve_all(self.model, names, option)  # each once
        found = {name: resolve_all(self.model, [name], option) for name in names}
        return {field: given[name] for name, fields in found.items() for field in fields}

    def _target(self) -> Target | None:
        options = self.options
        if options.constraint is not None:
            target = named(self.model, options.constraint, self.connection)
            if target.excludes and not options.ignore_conflicts:
                raise MatchError(
                    f"constraint: {options.constraint!r} is an exclusion constraint, which finds "
                    "no row to update; pass ignore_conflicts=True to leave out what it excludes"
                )
            return target
        if options.match_fields is not None:
            return any_fields(self.model, options.match_fields)
        if options.unique_fields is not None:
            return find(self.model, options.unique_fields, self.connection)
        return None if options.ignore_conflicts else primary_key(self.model)

    def _check_update_fields(self) -> None:
        for field in self.update_fields or ():
            if field in pk_fields(self.model):
                raise OptionError(
                    f"update_fields names {field.name!r}, the primary key, which an update keeps"
                )
            if self.target is not None and field in self.target.fields:
                raise OptionError(
                    f"update_fields names {field.name!r}, by which rows are matched: "
                    "where it would change, it would not match"
                )
            if is_generated(field):
                raise OptionError(
                    f"update_fields names {field.name!r}, which is generated by the database"
                )

    def _assigned(self) -> dict[Column, Assigned]:
        given = self.options.update_fields
        if not isinstance(given, Mapping):
            return {}
        return {
            column: Assigned(self.model, column, expression)
            for field, expression in self._given("update_fields", given).items()
            if expression != Excluded(field.name)  # what an update sets anyway
            for column in [self.column(field)]
        }

    def _transforms(self, given: Mapping[Field, Any]) -> Iterator[Transform]:
        for field, expression in given.items():
            column = self.column(field)
            if is_clock(field) or is_generated(field):
                raise OptionError(f"transform names {field.name!r}, which no row brings")
            if isinstance(field, AutoField):
                raise OptionError(
                    f"transform names {field.name!r}, whose values the database draws"
                )
            if column.base_type is None:
                raise OptionError(
                    f"transform names {field.name!r}, whose type is "
                    f"{field.db_type(self.connection)}, and no cast to that is known to be safe"
                )
            yield Transform(self.model, column, expression)

    # What is asked ------------------------------------------------------------------------

    @property
    def collects(self) -> bool:
        """Whether rows that can't be stored are left out, rather than refused."""
        return self.options.on_error == "collect"

    @property
    def arbitrates(self) -> bool:
        """Whether ON CONFLICT finds the stored row: an index has the key once."""
        return self.target is not None and self.target.is_unique and bool(self.key)

    @property
    def may_lack_key(self) -> bool:
        """Whether a row may have no key: a part that is NULL, a condition that doesn't hold."""
        if self.target is None or self.target.excludes:
            return True
        nullable = not self.target.null_safe and any(part.nullable for part in self.key)
        return nullable or self.condition is not None

    @property
    def key_fields(self) -> list[Field]:
        """The fields that the key is made of."""
        return list(dict.fromkeys(field for part in self.key for field in part.fields))

    # What the first row tells -------------------------------------------------------------

    def bind(self, reader: Reader) -> Write:
        """Settle what is written, now that the first row has named its fields.

        Raises:
            OptionError: An option names a field that the rows don't give.
            MatchError: A field of the match is not given.
        """
        self._check_match(reader)
        self._check_asked(reader)
        if self.options.ignore_conflicts:
            return Write((), ())
        clocks = [each for each in reader.constants if each.on_update]
        if self.update_fields is None:
            own = self._default_updates(reader)
            touched = bool(own)
        else:
            assigned = [column.field for column in self.assigned]
            own = [field for field in self.update_fields if not is_clock(field)]
            touched = bool(self.update_fields)
            _check_given("update_fields", [f for f in own if f not in assigned], reader)
        named = [field for field in self.update_fields or () if is_clock(field)]
        ticking = [each.column.field for each in clocks if each.column.field not in named]
        updates = [*own, *named, *ticking] if touched else []
        return Write(tuple(map(self.column, updates)), tuple(map(self.column, own)))

    def _check_match(self, reader: Reader) -> None:
        if self.target is None:
            return
        given = {*(column.field for column in reader.carried), *_clocks_of(reader)}
        missing = listing([repr(field.name) for field in self.key_fields if field not in given])
        if not missing:
            return
        options = self.options
        for option in ("unique_fields", "match_fields"):
            if getattr(options, option) is not None:
                raise MatchError(f"{option} names {missing}, which the rows don't give")
        if options.constraint is not None:
            raise MatchError(
                f"constraint: {options.constraint!r} is over {missing}, which the rows don't give"
            )
        if len(self.pk) > 1:
            raise MatchError(
                f"the rows don't give {missing} of the primary key; a composite one is given whole"
            )

    def _check_asked(self, reader: Reader) -> None:
        """Check that the rows give what expressions ask of them."""
        _check_given("transform", [each.column.field for each in self.transforms], reader)
        asked = [("where, Excluded()", tuple(self.incoming.fields))]
        asked += [
            (f"update_fields, {column.field.name!r}, Excluded()", each.asked)
            for column, each in self.assigned.items()
        ]
        asked += [
            (f"transform, {each.column.field.name!r},", each.asked) for each in self.transforms
        ]
        for option, fields in asked:
            for field in fields:
                if is_clock(field):
                    raise OptionError(
                        f"{option} names {field.name!r}, which saving sets to the time of the "
                        "call, whatever a row holds; Now() is that time"
                    )
            _check_given(option, fields, reader)

    def _default_updates(self, reader: Reader) -> list[Field]:
        kept: Sequence[Field] = (
            *pk_fields(self.model),
            *(self.target.fields if self.target else ()),
        )
        return [
            field
            for field in reader.given
            if field not in kept and not is_generated(field) and not is_clock(field)
        ]


def _clocks_of(reader: Reader) -> list[Field]:
    fields = [each.column.field for each in reader.constants]
    return [field for field in fields if is_clock(field)]


def _check_given(option: str, fields: Iterable[Field], reader: Reader) -> None:
    given = reader.given
    missing = [field.name for field in fields if field not in given]
    if missing:
        raise OptionError(
            f"{option} names {listing(map(repr, missing))}, which the rows don't give"
        )


def _check_model(model: Model) -> None:
    meta: Any = model._meta
    for field in pk_fields(model):
        if is_clock(field):
            raise UnsupportedModel(f"{meta.label}: a clock, {field.name!r}, is in its primary key")
