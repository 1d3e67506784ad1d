"""The values of an axis, and where they are put: `{"from": 1e-3, "to": 0.1, "num": 3, "scale":
"log"}` is 0.001, 0.01, 0.1, as is the text `0.001..0.1 log 3`; `lanes.0.trust_region` is a place in
the JSON of a run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ngf.options import SpecError

MOST_VALUES = 1000  # of one axis
_RANGE = {"from", "to", "num", "scale"}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_SPAN = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s+(log|linear))?(?:\s+(\d+))?")
_NAME = re.compile(r"[A-Za-z][\w.:@-]*")  # texts that need no quotes, unless JSON means something
_JSON = ("true", "false", "null", "NaN", "Infinity")
_RUN = 3  # whole numbers in a row that are told as `0..2`
_DIGITS = 6  # significant, so that 0.1 is not 0.10000000000000002


def values_of(path: str, given: Any) -> tuple[Any, ...]:
    """The values of the axis `path`, from a list, a range or a single value. Raises SpecError."""
    if isinstance(given, Mapping) and "from" in given:
        found = _range(path, given)
    elif isinstance(given, list):
        found = tuple(given)
    else:
        found = (given,)
    if not found:
        raise SpecError(f"The axis {path} has no values.")
    if len(found) > MOST_VALUES:
        raise SpecError(
            f"The axis {path} has {len(found):,} values; {MOST_VALUES:,} are the limit."
        )
    for i, value in enumerate(found):
        if value in found[:i]:
            raise SpecError(f"The axis {path} has the value {value!r} twice.")
    return found


def _range(path: str, given: Mapping[str, Any]) -> tuple[Any, ...]:
    if unknown := sorted(set(given) - _RANGE):
        raise SpecError(
            f"The range of {path} has no {', '.join(unknown)}. Allowed: from, to, num, scale."
        )
    num: Any = given.get("num")
    low: Any = given.get("from")
    high: Any = given.get("to")
    scale = given.get("scale", "linear")
    if not _is_number(low) or not _is_number(high) or low >= high:
        raise SpecError(f"The range of {path} needs numbers: `from` below `to`.")
    if scale not in ("linear", "log") or (scale == "log" and low <= 0):
        raise SpecError(f"The scale of {path} is linear, or log where all values are positive.")
    if num is None and scale == "linear" and isinstance(low, int) and isinstance(high, int):
        num = high - low + 1
    if not isinstance(num, int) or isinstance(num, bool) or not 2 <= num <= MOST_VALUES:
        raise SpecError(f"The range of {path} needs `num`: 2 to {MOST_VALUES:,} values.")
    shares = [k / (num - 1) for k in range(num)]
    if scale == "log":
        return tuple(_rounded(low * (high / low) ** share) for share in shares)
    found = tuple(_rounded(low + (high - low) * share) for share in shares)
    whole = isinstance(low, int) and isinstance(high, int) and all(v == int(v) for v in found)
    return tuple(int(value) for value in found) if whole else found


def values_in(path: str, text: str) -> tuple[Any, ...]:
    """The values of the axis `path` in a text: `0.01, 0.1`, `0..4`, `0.001..0.1 log 3`, `ngf, sgd`;
    what is JSON is taken as that. Raises SpecError.
    """
    found: list[Any] = []
    pieces = text.split(",")
    while pieces:
        count, values = _next(path, pieces)
        found += values
        pieces = pieces[count:]
    return values_of(path, found)


def _next(path: str, pieces: Sequence[str]) -> tuple[int, Sequence[Any]]:
    """How many of the pieces between commas belong together, and their values: a comma in braces or
    quotes separates nothing.
    """
    opened = pieces[0].lstrip().startswith(("{", "[", '"'))
    for count in range(1, len(pieces) + 1 if opened else 2):
        try:
            return count, [json.loads(",".join(pieces[:count]))]
        except json.JSONDecodeError:
            continue
    word = pieces[0].strip()
    if (span := _SPAN.fullmatch(word)) is None:
        return 1, [word] if word else []
    low, high, scale, num = span.groups()
    given = {"from": json.loads(_plain(low)), "to": json.loads(_plain(high))}
    given |= {"scale": scale} if scale else {}
    return 1, values_of(path, given | ({"num": int(num)} if num else {}))


def _plain(number: str) -> str:
    """A number as JSON writes it: `.5` is 0.5, `1.` and `+1` are 1."""
    sign, digits = ("-" if number[0] == "-" else ""), number.lstrip("+-")
    digits = f"0{digits}" if digits[0] == "." else digits
    return sign + re.sub(r"\.(?=$|[eE])", ".0", digits)


def in_text(values: Iterable[Any]) -> str:
    """What `values_in` reads as these values."""
    parts: list[str] = []
    for run in _in_a_row(values):
        if len(run) >= _RUN:
            parts.append(f"{run[0]}..{run[-1]}")
        else:
            parts += map(_word, run)
    return ", ".join(parts)


def _in_a_row(values: Iterable[Any]) -> Iterator[list[Any]]:
    """The values, whole numbers that follow each other together."""
    row: list[Any] = []
    for value in values:
        if row and not (_is_whole(value) and _is_whole(row[-1]) and value == row[-1] + 1):
            yield row
            row = []
        row.append(value)
    if row:
        yield row


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _word(value: Any) -> str:
    """A value as text: without quotes where that is read as the same."""
    if isinstance(value, str) and _NAME.fullmatch(value) and value not in _JSON:
        return value
    return json.dumps(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def put(tree: Any, path: str, value: Any) -> None:
    """Put `value` at `path` in a JSON tree. A plug-in that is given by its name alone gets options.

    Raises SpecError where the tree has no such place.
    """
    *way, last = path.split(".")
    for step in way:
        place = _place(tree, step, path)
        if isinstance(tree[place], str):  # `"attack": "badnets"`
            tree[place] = {"name": tree[place]}
        tree = tree[place]
    if isinstance(tree, list):
        tree[_place(tree, last, path)] = value
    elif isinstance(tree, dict):
        tree[last] = value
    else:
        raise SpecError(f"The axis {path} leads nowhere: there is only {tree!r} before {last}.")


def _place(tree: Any, step: str, path: str) -> Any:
    if isinstance(tree, list):
        if step.isdigit() and int(step) < len(tree):
            return int(step)
        raise SpecError(f"The axis {path} leads nowhere: {step} is none of {len(tree)} places.")
    if isinstance(tree, dict):
        return step if step in tree else _new(tree, step)
    raise SpecError(f"The axis {path} leads nowhere: there is only {tree!r} before {step}.")


def _new(tree: dict[str, Any], step: str) -> str:
    tree[step] = {}
    return step
