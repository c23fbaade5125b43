"""What orjson does faster, where it is installed: JSON, and numbers and moments by the list.

Only where it makes the same of a value as the standard library does.
"""

from __future__ import annotations

import json
import marshal
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

from .encode import Fault, Texts, check_text

dumps: Callable[[Any], bytes] | None
try:
    from orjson import dumps
except ImportError:  # the extra "speed" is not installed
    dumps = None


def listed(values: Sequence[Any]) -> list[str] | None:
    """Return the texts of numbers, or of moments in UTC; None where orjson can't tell them.

    They are written as one list, at several times the speed of one by one.
    """
    if dumps is None:
        return None
    try:
        whole = dumps(values).decode()
    except (TypeError, ValueError):  # an integer of more than 64 bits
        return None
    if "null" in whole:  # a NaN or an infinity
        return None
    return whole[1:-1].replace('"', "").split(",")


def render_json(encoder: type[json.JSONEncoder] | None, values: Sequence[Any]) -> Texts:
    """Return the texts of values, none of which is None; see loops.

    Raises:
        Fault: One is not JSON.
    """
    texts = _fast(values) if encoder is None and dumps is not None else None
    if texts is None:
        texts = _standard(encoder or json.JSONEncoder, values)
    escape = check_text(texts)
    # jsonb takes neither a NUL nor half of a surrogate pair; json does.
    sure = not (escape and _DOUBTFUL.search("".join(texts)))
    return Texts(texts, nulls=False, escape=escape, sure=sure)


def check_json(texts: Sequence[str]) -> Texts:
    """Return texts that are JSON already.

    Raises:
        Fault: One is not.
    """
    for offset, text in enumerate(texts):
        try:
            json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise Fault(offset, "this text can't be read as JSON") from error
    # Not sure: Python reads numbers that the server doesn't, and halves of surrogate pairs.
    return Texts(list(texts), nulls=False, escape=check_text(texts))


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_DOUBTFUL = re.compile(r"\\u(0000|d[89a-f])")


def _fast(values: Sequence[Any]) -> list[str] | None:
    """Encode by orjson; None where it might take what ``json.dumps`` refuses, or refuses more.

    It takes dates, UUIDs, enums and other objects, which marshal, at the speed of C, does not.
    Of NaN it makes null; so what holds that word is encoded again.
    """
    plain: Any = values
    try:
        marshal.dumps(plain)
        texts = [text.decode() for text in map(dumps, values)]  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError):
        return None
    if "null" in "".join(texts):
        for offset, text in enumerate(texts):
            if "null" in text:
                try:
                    (texts[offset],) = _standard(json.JSONEncoder, [values[offset]])
                except Fault as fault:
                    raise Fault(offset, fault.reason) from fault.__cause__
    return texts


def _standard(kind: type[json.JSONEncoder], values: Sequence[Any]) -> list[str]:
    texts: list[str] = []
    try:
        texts.extend(_dumps(kind, values))
    except (TypeError, ValueError, RecursionError) as error:
        reason = (
            "JSON can't hold NaN or an infinity"
            if isinstance(error, ValueError) and "compliant" in str(error)
            else f"not JSON: {error}"
        )
        raise Fault(len(texts), reason) from error
    return texts


def _dumps(kind: type[json.JSONEncoder], values: Sequence[Any]) -> Iterable[str]:
    """Encode one value after another, without a new encoder for each.

    The encoder in C, which json.dumps makes anew in each call, is twice as fast made once.
    """
    encoder = kind(allow_nan=False)
    own = kind.encode, kind.iterencode
    make = getattr(json.encoder, "c_make_encoder", None)
    if (
        own != (json.JSONEncoder.encode, json.JSONEncoder.iterencode)
        or encoder.indent is not None
        or not encoder.ensure_ascii
        or make is None
    ):
        return map(encoder.encode, values)
    encode = make(
        {}, encoder.default, json.encoder.encode_basestring_ascii, None, encoder.key_separator,
        encoder.item_separator, encoder.sort_keys, encoder.skipkeys, encoder.allow_nan,
    )  # fmt: skip
    return map("".join, map(encode, values, repeat(0)))
