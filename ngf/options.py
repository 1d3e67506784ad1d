"""Options that describe themselves: form, command line, JSON Schema and check follow from a field.

A plug-in is a frozen dataclass whose fields are `option(...)`; `check_fields` validates an
instance, `describe_field` gives a field as plain JSON, and `check_value` judges one value against
such a description, which needs neither the plug-in nor torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, field, fields
from typing import Any

# Characters of an option; text comes from addresses and forms and is kept in every specification.
LONGEST_TEXT = 2000


class Explained(Exception):
    """An error that somebody can put right; a run that ends with it keeps its message as it is.

    kind: its name in `error.json`, for programs; of a class, as a rule.
    advice: what to do, in a sentence. A class has one; who raises the error gives another where the
        cause asks for it.
    """

    kind: str
    advice: str

    def __init__(self, *args: Any, advice: str = "") -> None:
        super().__init__(*args)
        if advice:
            self.advice = advice


class SpecError(ValueError):
    """A specification that cannot be run; the message says what is allowed."""


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    ge: float | None = None,
    le: float | None = None,
    choices: tuple[Any, ...] | None = None,
    layers: tuple[str, ...] | None = None,
    expert: bool = False,
) -> Any:
    """A dataclass field that describes itself.

    ge, le: inclusive bounds.
    choices: the allowed values.
    layers: the text names a layer of the model; these words are allowed besides.
    expert: hidden behind a click.
    """
    meta = {"help": help, "unit": unit, "ge": ge, "le": le, "choices": choices, "expert": expert}
    return field(default=default, metadata=meta | ({"layers": layers} if layers else {}))


def describe_field(item: Field[Any]) -> dict[str, Any]:
    """One field of a plug-in as plain JSON: name, type, default, and what `option` was told."""
    about: dict[str, Any] = {
        "name": item.name,
        "type": type(item.default).__name__,
        "default": item.default,
        "help": "",
        "unit": "",
        "ge": None,
        "le": None,
        "choices": None,
        "expert": False,
    }
    about.update(item.metadata)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in about.items()}


def check_fields(instance: Any) -> None:
    """Validate every `option` of a dataclass instance; for `__post_init__`. Raises SpecError."""
    owner = type(instance).__name__.lower()
    for item in fields(instance):
        if "help" in item.metadata:
            value = check_value(
                owner, item.name, getattr(instance, item.name), describe_field(item)
            )
            object.__setattr__(instance, item.name, value)


def check_value(owner: str, name: str, value: Any, about: Mapping[str, Any]) -> Any:
    """Return `value` in the type of the field that `about` describes, or raise SpecError.

    Text is converted, so the same check serves command line, address and JSON.

    about: `default`, and if they matter `ge`, `le`, `choices` (see `describe_field`).
    """
    where = f"{owner}.{name}" if owner else name
    value = _typed(where, value, type(about["default"]))
    choices, low, high = about.get("choices"), about.get("ge"), about.get("le")
    if choices and value not in choices:
        raise SpecError(
            f"{where} = {value!r} is not known. Allowed: {', '.join(map(str, choices))}."
        )
    if (low is not None and value < low) or (high is not None and value > high):
        raise SpecError(f"{where} = {value} is out of range. Allowed: {_bounds(low, high)}.")
    return value


def check_layer(layer: str, words: Iterable[str], layers: Iterable[str]) -> None:
    """Raise SpecError, with the allowed ones, unless `layer` is one of `words`, or one or several
    of `layers`, separated by commas.
    """
    names, known = layer.split(","), tuple(layers)
    allowed = (*words, *known) if len(names) == 1 else known
    for name in names:
        if name not in allowed:
            raise SpecError(f"Unknown layer {name!r}. Allowed: {', '.join(allowed)}.")
    if len(set(names)) < len(names):
        raise SpecError(f"{layer!r} names a layer twice.")


def _typed(where: str, value: Any, kind: type) -> Any:
    convert, words = _CONVERT[kind]
    try:
        found = convert(value)
    except (TypeError, ValueError, OverflowError):
        raise SpecError(f"{where} = {value!r} is not {words}.") from None
    if kind is str and len(found) > LONGEST_TEXT:
        raise SpecError(
            f"{where} has {len(found):,} characters. Allowed: {LONGEST_TEXT:,} or fewer."
        )
    return found


def _bounds(low: float | None, high: float | None) -> str:
    if low is None:
        return f"{high} or less"
    return f"{low} or more" if high is None else f"from {low} to {high}"


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise ValueError(value)


def _to_int(value: Any) -> int:
    if isinstance(value, bool) or int(float(value)) != float(value):
        raise ValueError(value)
    return int(float(value))


def _to_float(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(value)
    return found


def _to_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


# type of an option -> what makes a value of it, and what it is called
_CONVERT: Mapping[type, tuple[Callable[[Any], Any], str]] = {
    bool: (_to_bool, "true or false"),
    int: (_to_int, "a whole number"),
    float: (_to_float, "a number"),
    str: (_to_text, "a text"),
}
