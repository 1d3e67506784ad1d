"""Forms made from the catalogue: one widget per field, with its help, unit and range.

A lane also has a text form for the address: `ngf:layer=last,steps=50`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from ngf.catalogue import catalogue, normalize
from ngf.config import Choice
from ngf.options import LONGEST_TEXT, SpecError, check_layer

LABELS = {
    "lr": "Learning rate",
    "num_images": "Number of images",
    "alpha": "Opacity",
    "target": "Target class",
    "poison_rate": "Poison rate",
    "batch_size": "Batch size",
    "weight_decay": "Weight decay",
}
SEVERAL = "several"  # layers, in the list of layers
LAYER_WORDS = {  # what may stand for a layer, in the order of the list
    "fisher": "Largest Fisher trace on clean images (a second)",
    "auto": "Automatic: try every layer on clean images (half a minute)",
    "last": "Last linear layer (the paper's)",
    "all": "All layers",
}


def label(item: Mapping[str, Any]) -> str:
    """The name of a field in words, with its unit."""
    text = LABELS.get(item["name"], item["name"].replace("_", " ").capitalize())
    return f"{text} ({item['unit']})" if item["unit"] else text


def hint(item: Mapping[str, Any]) -> str:
    """The help text of a field, with its range and default."""
    return f"{item['help']}{_bounds(item['ge'], item['le'])} Default: {item['default']}."


def _bounds(low: float | None, high: float | None) -> str:
    if low is None:
        return "" if high is None else f" {high:g} or less."
    return f" {low:g} or more." if high is None else f" From {low:g} to {high:g}."


def field(item: Mapping[str, Any], key: str, value: Any, layers: Sequence[str] = ()) -> Any:
    """The widget of one field, with its value.

    item: the field, as the catalogue describes it.
    key: where the widget keeps its value.
    value: what it starts with.
    layers: those of the model, for a field that names one.
    """
    st.session_state.setdefault(key, value)
    if item.get("layers") and layers:
        return _layer_box(item, key, layers)
    if item["choices"]:
        return st.selectbox(
            label(item),
            item["choices"],
            key=key,
            help=hint(item),
            format_func=lambda option: str(option).replace("_", " "),
        )
    if item["type"] == "bool":
        return st.toggle(label(item), key=key, help=hint(item))
    if item["type"] == "int":
        return _number_input(item, key, int, step=1)
    if item["type"] == "float":
        return _number_input(item, key, float, step=_step(item), format="%g")
    return st.text_input(label(item), key=key, help=hint(item), max_chars=LONGEST_TEXT)


def _layer_box(item: Mapping[str, Any], key: str, layers: Sequence[str]) -> Any:
    """Words such as `auto` first, then the layers of the model, then several of them; a layer that
    the model does not have, from a link, stays in the list so that its refusal can be read.
    """
    known = [word for word in LAYER_WORDS if word in item["layers"]]
    chosen, many = st.session_state[key], f"{key}.several"
    if "," in chosen:
        check_layer(chosen, (), layers)
        st.session_state[key], st.session_state[many] = SEVERAL, chosen.split(",")
        chosen = SEVERAL
    picked = st.selectbox(
        label(item),
        list(dict.fromkeys([*known, *item["layers"], *layers, chosen, SEVERAL])),
        key=key,
        help=hint(item),
        format_func=lambda name: {**LAYER_WORDS, SEVERAL: "Several layers …"}.get(name, name),
    )
    if picked != SEVERAL:
        return picked
    names = st.multiselect("Layers to tune", layers, key=many, help="All of them in each step.")
    if not names:
        raise SpecError("Choose at least one layer to tune.")
    return ",".join(names)


def _number_input(
    item: Mapping[str, Any], key: str, kind: Callable[[Any], Any], **widget: Any
) -> Any:
    """A field for a number of `kind`, within the bounds of `item`."""
    low, high = (None if item[bound] is None else kind(item[bound]) for bound in ("ge", "le"))
    return st.number_input(label(item), low, high, key=key, help=hint(item), **widget)


def _step(item: Mapping[str, Any]) -> float:
    size = abs(item["default"]) or (item["le"] or 1.0) / 10
    return 10.0 ** (math.floor(math.log10(size)) - (0 if size >= 1 else 1))


def select(label: str, key: str, options: Sequence[Any], **widget: Any) -> Any:
    """A select box that starts with its first option when what it holds is not among them."""
    if st.session_state.get(key) not in options:
        st.session_state[key] = options[0]
    return st.selectbox(label, options, key=key, **widget)


def plugin_form(kind: str, choice: Choice, key: str, layers: Sequence[str] = ()) -> Choice:
    """Widgets for all fields of a plug-in, those for experts behind a click. Raises SpecError.

    layers: those of the model, for fields that name one.
    """
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
    """Drop the widget values under `prefix`, so that the widgets start anew."""
    for key in [key for key in st.session_state if str(key).startswith(prefix)]:
        del st.session_state[key]


def lane_to_text(choice: Choice) -> str:
    """A lane as the address holds it."""
    options = ",".join(f"{key}={value}" for key, value in sorted(choice.options.items()))
    return f"{choice.name}:{options}" if options else choice.name


def lane_from_text(text: str) -> Choice:
    """The lane of such a text. Raises SpecError with what is allowed."""
    name, _, rest = text.partition(":")
    options = {}
    key = ""
    for part in filter(None, rest.split(",")):
        before, equals, value = part.partition("=")
        if equals:
            key = before.strip()
            options[key] = value.strip()
        elif key:  # a value with commas, such as the names of several layers
            options[key] += f",{part.strip()}"
        else:
            raise SpecError(f"lane {name}: “{part}” is not of the form option=value.")
    return normalize("defenses", Choice(name, options))
