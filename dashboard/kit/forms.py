"""Forms that follow from the catalogue: one widget a field, with its help, unit and range.

A lane also has a text form for the address: `ngf:layer=last,steps=50`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ngf.catalogue import catalogue, normalize
from ngf.config import Choice
from ngf.options import LONGEST_TEXT, SpecError

LABELS = {
    "lr": "Learning rate",
    "num_images": "Number of images",
    "alpha": "Opacity",
    "target": "Target class",
    "poison_rate": "Poison rate",
    "kl_clip": "KL limit of a step",
    "batch_size": "Batch size",
    "weight_decay": "Weight decay",
    "min_ca": "Lowest clean accuracy",
    "min_asr": "Lowest attack success",
    "num_directions": "Number of directions",
    "bn": "BatchNorm",
    "bn_mode": "BatchNorm",
    "batchnorm": "BatchNorm",
    "eta": "Clean-data regularizer",
    "k": "Grid size (k)",
    "s": "Strength (s)",
}
LAYERS = {
    "fisher": "Largest Fisher trace on clean images (a second)",
    "auto": "Automatic: try every layer on clean images (half a minute)",
    "last": "Last linear layer (the paper's)",
    "all": "All layers",
}


def label(item: Mapping[str, Any]) -> str:
    text = LABELS.get(item["name"], item["name"].replace("_", " ").capitalize())
    return f"{text} ({item['unit']})" if item["unit"] else text


def hint(item: Mapping[str, Any]) -> str:
    """Help text with the range and the default."""
    text, low, high = item["help"], item["ge"], item["le"]
    if low is not None and high is not None:
        text += f" From {low:g} to {high:g}." if not isinstance(low, str) else ""
    elif low is not None or high is not None:
        text += f" {low:g} or more." if high is None else f" {high:g} or less."
    return f"{text} Default: {item['default']}."


def field(item: Mapping[str, Any], key: str, value: Any, layers: Sequence[str] = ()) -> Any:
    """The widget of one field; it keeps its value under `key`. Returns the value."""
    st.session_state.setdefault(key, value)
    about = {"label": label(item), "key": key, "help": hint(item)}
    if item["name"] == "layer" and layers:
        options = [*LAYERS, *layers]
        if st.session_state[key] not in options:
            options.append(st.session_state[key])
        return st.selectbox(
            options=options, format_func=lambda name: LAYERS.get(name, name), **about
        )
    if item["choices"]:
        return st.selectbox(
            options=item["choices"],
            **about,
            format_func=lambda option: str(option).replace("_", " "),
        )
    if item["type"] == "bool":
        return st.toggle(**about)
    if item["type"] == "int":
        return st.number_input(
            min_value=_int(item["ge"]), max_value=_int(item["le"]), step=1, **about
        )
    if item["type"] == "float":
        return st.number_input(
            min_value=_float(item["ge"]),
            max_value=_float(item["le"]),
            format="%g",
            step=_step(item),
            **about,
        )
    return st.text_input(max_chars=LONGEST_TEXT, **about)


def _int(bound: float | None) -> int | None:
    return None if bound is None else int(bound)


def _float(bound: float | None) -> float | None:
    return None if bound is None else float(bound)


def _step(item: Mapping[str, Any]) -> float:
    size = abs(item["default"]) or (item["le"] or 1.0) / 10
    return 10.0 ** (math.floor(math.log10(size)) - (0 if size >= 1 else 1))


def plugin_form(kind: str, choice: Choice, key: str, layers: Sequence[str] = ()) -> Choice:
    """Widgets for all fields of a plug-in, expert fields behind a click. Raises SpecError."""
    items = catalogue()[kind][choice.name]["fields"]
    options: dict[str, Any] = {}
    plain = [item for item in items if not item["expert"]]
    expert = [item for item in items if item["expert"]]
    for item in plain:
        options[item["name"]] = _field(item, choice, key, layers)
    if expert:
        with st.expander("Expert settings", key=f"{key}.expert"):
            for item in expert:
                options[item["name"]] = _field(item, choice, key, layers)
    return normalize(kind, Choice(choice.name, options))


def _field(item: Mapping[str, Any], choice: Choice, key: str, layers: Sequence[str]) -> Any:
    return field(
        item, f"{key}.{item['name']}", choice.options.get(item["name"], item["default"]), layers
    )


def training_form(
    key: str, items: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, Any]:
    """Widgets for the named fields of `Training`."""
    return {
        item["name"]: field(item, f"{key}.{item['name']}", item["default"])
        for item in items
        if item["name"] in names
    }


def forget(prefix: str) -> None:
    """Drop the widget values under `prefix`, so that they start from the choice again."""
    for key in [key for key in st.session_state if str(key).startswith(prefix)]:
        del st.session_state[key]


def lane_to_text(choice: Choice) -> str:
    options = ",".join(f"{key}={value}" for key, value in sorted(choice.options.items()))
    return f"{choice.name}:{options}" if options else choice.name


def lane_from_text(text: str) -> Choice:
    """Raises SpecError with what is allowed."""
    name, _, rest = text.partition(":")
    options = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise SpecError(f"lane {name}: “{part}” is not of the form option=value.")
        options[key.strip()] = value.strip()
    return normalize("defenses", Choice(name, options))
