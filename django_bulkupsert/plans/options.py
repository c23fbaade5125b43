"""The keywords of ``bulk_upsert``, and which of them go together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import OptionError, listing

#: How often something is tried again, unless the caller says. In tests/trust no call needs more
#: than one, of identical calls at once (test_second_index.py).
RETRIES = 5

#: The values of ``duplicates=``.
DUPLICATES = ("error", "first", "last")

#: The options that are either so or not.
SWITCHES = (
    "skip_unchanged",
    "ignore_conflicts",
    "returning_old",
    "mixed_keys",
    "preserve_sequence",
    "validate",
)


@dataclass(frozen=True)
class UpsertOptions:
    """The keywords of ``bulk_upsert``, as the caller gave them."""

    fields: Iterable[str] | None = None
    unique_fields: Iterable[str] | None = None
    constraint: str | None = None
    match_fields: Iterable[str] | None = None
    update_fields: Iterable[str] | Mapping[str, Any] | None = None
    where: Any = None
    transform: Mapping[str, Any] | None = None
    skip_unchanged: bool = True
    ignore_conflicts: bool = False
    duplicates: str = "error"
    returning: Iterable[str] | bool | None = None
    returning_old: bool = False
    mixed_keys: bool = False
    preserve_sequence: bool = False
    lock: str | None = None
    on_error: str = "raise"
    validate: bool = False
    retries: int = RETRIES
    batch_size: int | None = None
    progress: Callable[[int, int | None], object] | None = None
    strategy: str | None = None

    def __post_init__(self) -> None:
        # What can be walked only once is walked here, since several may want to.
        for name in ("fields", "unique_fields", "match_fields", "update_fields", "returning"):
            given = getattr(self, name)
            if isinstance(given, Iterator):
                object.__setattr__(self, name, list(given))


def check_retries(retries: Any) -> None:
    """Check ``retries``, which is a number.

    Raises:
        OptionError: It is none.
    """
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise OptionError(f"retries is how often to try again, 0 or more, not {retries!r}")


def check_options(options: UpsertOptions) -> None:
    """Check what can be told without the model.

    Raises:
        OptionError: Two words don't go together, or one is none of those that are known.
    """
    matches = [
        name
        for name in ("unique_fields", "constraint", "match_fields")
        if getattr(options, name) is not None
    ]
    ignores = ["ignore_conflicts"] if options.ignore_conflicts else []
    for names in (
        matches,
        [*ignores, *(["update_fields"] if options.update_fields is not None else [])],
        [*ignores, *(["where"] if options.where is not None else [])],
    ):
        if len(names) > 1:
            raise OptionError(f"{listing(names)} are mutually exclusive")
    for name in SWITCHES:
        given = getattr(options, name)
        if not isinstance(given, bool):
            raise OptionError(f"{name} is True or False, not {given!r}")
    check_retries(options.retries)
    if options.duplicates not in DUPLICATES:
        raise OptionError(f"duplicates is 'error', 'first' or 'last', not {options.duplicates!r}")
    if options.lock not in (None, "table"):
        raise OptionError(f"lock is None or 'table', not {options.lock!r}")
    if options.on_error not in ("raise", "collect"):
        raise OptionError(f"on_error is 'raise' or 'collect', not {options.on_error!r}")
    if options.on_error == "collect" and options.strategy not in (None, "copy"):
        raise OptionError(
            f"on_error='collect' stages the rows, so strategy={options.strategy!r} can't be taken; "
            "leave it out, or pass 'copy'"
        )
    if options.returning_old and not options.returning:
        raise OptionError("returning_old needs returning, which names the fields")
    unknown = options.ignore_conflicts and not matches
    for name, meant in (
        ("preserve_sequence", options.preserve_sequence),
        ("duplicates", options.duplicates != "error"),
    ):
        if unknown and meant:
            raise OptionError(
                f"{name} needs to know what rows are matched by; pass unique_fields or constraint"
            )
