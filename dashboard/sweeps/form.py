"""The form in which a sweep is put together, or its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from dashboard.charts.titles import short
from dashboard.kit import forms, library
from dashboard.kit.submit import refuse
from dashboard.sweeps import PAGE
from dashboard.sweeps.draft import SOURCES, STEPS, Draft, draft_of
from dashboard.sweeps.fields import place_of, title_of
from ngf.catalogue import catalogue
from ngf.options import SpecError
from ngf.runs.files import parse_json
from ngf.sweeps.axes import in_text, values_in
from ngf.sweeps.presets import PRESETS
from ngf.sweeps.spec import SweepSpec

MODES = {"form": "Form", "json": "JSON"}
PLACE = "sweeps"  # where a refusal is said
_DRAFT, _TEXT = "sweeps.draft", "sweeps.text"  # in the session: what was said last, either way
_WIDGETS = (
    *("steps", "source", "data", "network", "attacks", "model_seeds", "models"),
    *("defenses", "measurement", "seeds"),
)
_LARGEST = 1_000_000  # bytes of a file
_COLUMNS = 3  # of values of further fields
_GROUPS = {"attacks": "Attack", "defenses": "Defense", "measurements": "Measurement"}
_VALUES_HELP = "Values with commas between them, or a range: 0.01, 0.1 · 0..4 · 0.001..0.1 log 3."


# ---- from a sweep to the widgets


def fill(sweep: SweepSpec) -> None:
    """Put a sweep into the form; one that it cannot say stands as JSON."""
    found = draft_of(sweep)
    if found is None:
        fill_text(as_text(sweep))
        return
    forms.forget("sweeps.values.")
    for name in (*_WIDGETS, "more"):
        st.session_state.pop(f"sweeps.{name}", None)
    st.session_state[_DRAFT], st.session_state["sweeps.mode"] = found, "form"


def fill_text(text: str) -> None:
    st.session_state[_TEXT] = st.session_state["sweeps.json"] = text
    st.session_state["sweeps.mode"] = "json"


def as_text(sweep: SweepSpec) -> str:
    return json.dumps(sweep.to_json(), indent=2)


def in_address(sweep: SweepSpec) -> str:
    """A sweep as a link holds it; nothing for the first one of the form, and for one that is too
    long.
    """
    text = json.dumps(sweep.to_json(), separators=(",", ":"))
    return (
        text if sweep != Draft().sweep() and len(text) <= PAGE.parameters["build"].longest else ""
    )


def read(text: str) -> SweepSpec:
    """Raises SpecError for a text that is no sweep."""
    return SweepSpec.from_json(parse_json(text, "The text"))


def _start_from_preset() -> None:
    """Put the chosen sweep into the form, for the select box."""
    name = st.session_state["sweeps.preset"]
    refuse(PLACE, None)
    if name is not None:
        fill(PRESETS[name].make())


def _take_file() -> None:
    """The text of an uploaded file, for the uploader."""
    file = st.session_state["sweeps.file"]
    refuse(PLACE, None)
    if file is not None and file.size <= _LARGEST:
        fill_text(file.getvalue().decode("utf-8", errors="replace"))
    elif file is not None:
        refuse(PLACE, SpecError(f"{file.name} has more than {_LARGEST:,} bytes: it is no sweep."))


def _change_mode() -> None:
    """Say the other way what was said one way, for the switch."""
    refuse(PLACE, None)
    if st.session_state["sweeps.mode"] == "json":
        draft: Draft = st.session_state.get(_DRAFT, Draft())
        try:
            fill_text(as_text(draft.sweep()))
        except SpecError:  # half filled in: the JSON of before
            fill_text(st.session_state.get(_TEXT, ""))
        return
    try:
        fill(sweep := read(st.session_state["sweeps.json"]))
        if draft_of(sweep) is None:
            refuse(PLACE, SpecError("This sweep says more than the form can. It stays JSON."))
    except SpecError as error:
        st.session_state["sweeps.mode"] = "json"
        refuse(PLACE, error)


# ---- the widgets


def choose() -> SweepSpec:
    """The widgets. Raises SpecError with what is allowed."""
    first, second = st.columns([3, 2], vertical_alignment="bottom")
    first.selectbox(
        "Start from",
        list(PRESETS),
        index=None,
        key="sweeps.preset",
        on_change=_start_from_preset,
        format_func=lambda name: PRESETS[name].title,
        placeholder="A sweep that is known",
        help="Fills in the form. The same names serve `python -m ngf sweep`.",
    )
    st.session_state.setdefault("sweeps.mode", "form")
    mode = second.segmented_control(
        "Put together as",
        list(MODES),
        key="sweeps.mode",
        format_func=MODES.__getitem__,
        on_change=_change_mode,
        required=True,
    )
    return _choose_json() if mode == "json" else _choose_draft().sweep()


def _choose_json() -> SweepSpec:
    st.session_state.setdefault("sweeps.json", st.session_state.get(_TEXT, ""))
    text = st.text_area(
        "JSON of the sweep",
        key="sweeps.json",
        height=360,
        help="A run, and axes: docs/sweeps.md describes it.",
    )
    st.file_uploader("or a file with it", ["json"], key="sweeps.file", on_change=_take_file)
    st.session_state[_TEXT] = text
    if not text.strip():
        raise SpecError("Paste the JSON of a sweep, or choose a file with it.")
    return read(text)


def _choose_draft() -> Draft:
    """What the widgets say; those that are not shown say what they said last."""
    draft: Draft = st.session_state.get(_DRAFT, Draft())
    steps = _control(
        "What is done", "steps", STEPS, draft, help="Both: purify, then measure what came out."
    )
    if steps != draft.steps:
        draft = _moved(draft, steps)
        st.session_state.pop("sweeps.more", None)
    draft = _choose_models(draft)
    if draft.purifies:
        draft = _choose_purification(draft)
    if draft.measures:
        names = list(catalogue()["measurements"])
        measurement = _select("Measurement", "measurement", "measurements", names, draft)
        draft = replace(draft, measurement=measurement)
    draft = replace(draft, more=_choose_more(draft))
    st.session_state[_DRAFT] = draft
    return draft


def _choose_models(draft: Draft) -> Draft:
    if draft.steps != "train":
        source = _control(
            "Models",
            "source",
            SOURCES,
            draft,
            help="By attack and seed: those of the zoo where they are the same; others are trained "
            "first. One by one: models that are there.",
        )
        draft = replace(draft, source=source)
    if not draft.trains:
        return replace(draft, models=_choose_named(draft))
    first, second, third = st.columns([2, 2, 1.4])
    with first:
        data = _select("Data", "data", "data", library.data_sets(), draft)
    with second:
        network = _select("Network", "network", "models", list(catalogue()["models"]), draft)
    seeds = _text("Model seeds", "model_seeds", third, draft, "Of the training.")
    attacks = _several("Attacks", "attacks", "attacks", draft, "“None” is a benign model.")
    return replace(draft, data=data, network=network, model_seeds=seeds, attacks=attacks)


def _choose_named(draft: Draft) -> tuple[str, ...]:
    by_id = {run.id: run for run in library.trained()}
    words = library.tell_apart(by_id, library.describe)
    key = _begin("models", list(draft.models))
    known = list(dict.fromkeys([*by_id, *st.session_state[key]]))
    return tuple(
        st.multiselect(
            "Trained models", known, key=key, format_func=lambda name: words.get(name, name)
        )
    )


def _choose_purification(draft: Draft) -> Draft:
    first, second = st.columns([4, 1.4])
    with first:
        defenses = _several("Defenses", "defenses", "defenses", draft, "Each is a run of its own.")
    seeds = _text(
        "Purification seeds", "seeds", second, draft, "Of the clean images and the batches."
    )
    return replace(draft, defenses=defenses, seeds=seeds)


def _choose_more(draft: Draft) -> dict[str, str]:
    """Which further fields are varied, and their values as texts."""
    fields = draft.fields()
    key = _begin("more", [path for path in draft.more if path in fields])
    st.session_state[key] = [path for path in st.session_state[key] if path in fields]
    chosen = st.multiselect(
        "Vary or set further fields",
        list(fields),
        key=key,
        format_func=lambda path: _field_title(draft, path),
        placeholder="Any option of what is chosen above; one value sets it for all",
    )
    columns = st.columns(_COLUMNS)
    return {
        path: _choose_values(draft, path, fields[path], columns[place % _COLUMNS])
        for place, path in enumerate(chosen)
    }


def _choose_values(draft: Draft, path: str, item: Mapping[str, Any], place: Any) -> str:
    key, title = f"sweeps.values.{path}", title_of(draft.base(), path)
    told = draft.more.get(path, in_text([item["default"]]) if item["default"] != "" else "")
    choices = item["choices"] or ([False, True] if item["type"] == "bool" else None)
    if choices and (values := _among(path, told, choices)) is not None:
        st.session_state.setdefault(key, values)
        chosen = place.multiselect(title, choices, key=key, help=item["help"])
        if not chosen:
            raise SpecError(f"Choose at least one value of {title}.")
        return in_text(chosen)
    st.session_state.setdefault(key, told)
    text: str = place.text_input(title, key=key, help=f"{forms.hint(item)} {_VALUES_HELP}")
    return text


def _among(path: str, text: str, choices: Sequence[Any]) -> list[Any] | None:
    """The values in a text; None where one is not among the choices."""
    if not text:
        return []
    try:
        values = values_in(path, text)
    except SpecError:
        return None
    return list(values) if all(value in choices for value in values) else None


def _moved(draft: Draft, steps: str) -> Draft:
    """The draft with other steps: the same fields are then elsewhere."""
    after = replace(draft, steps=steps)
    now = {place_of(after.base(), path): path for path in after.fields()}
    places = {path: place_of(draft.base(), path) for path in draft.more}
    more = {now[place]: draft.more[path] for path, place in places.items() if place in now}
    return replace(after, more=more)


def _field_title(draft: Draft, path: str) -> str:
    """`Defense: Trust region (NGF)`"""
    place = place_of(draft.base(), path)
    title = title_of(draft.base(), path)
    if place.field.startswith("training."):
        return f"Training: {title}"
    if not place.option or not place.plugins:
        return title
    owners = [short(place.plugins, name) for name in draft.owners(path)]
    return f"{_GROUPS[place.plugins]}: {title}" + (f" ({', '.join(owners)})" if owners else "")


# ---- one widget each, which keeps what the draft says


def _begin(name: str, value: Any) -> str:
    key = f"sweeps.{name}"
    st.session_state.setdefault(key, value)
    return key


def _control(
    label: str, name: str, options: Mapping[str, str], draft: Draft, help: str | None = None
) -> str:
    return str(
        st.segmented_control(
            label,
            list(options),
            key=_begin(name, getattr(draft, name)),
            format_func=options.__getitem__,
            required=True,
            help=help,
        )
    )


def _select(label: str, name: str, kind: str, options: Sequence[str], draft: Draft) -> str:
    return str(
        st.selectbox(
            label,
            options,
            key=_begin(name, getattr(draft, name)),
            format_func=lambda option: library.title(kind, option),
        )
    )


def _several(label: str, name: str, kind: str, draft: Draft, help: str) -> tuple[str, ...]:
    return tuple(
        st.multiselect(
            label,
            list(catalogue()[kind]),
            key=_begin(name, list(getattr(draft, name))),
            format_func=lambda option: short(kind, option),
            help=help,
        )
    )


def _text(label: str, name: str, place: Any, draft: Draft, help: str) -> str:
    key = _begin(name, getattr(draft, name))
    return str(place.text_input(label, key=key, help=f"{help} {_VALUES_HELP}"))
