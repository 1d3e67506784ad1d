"""The choices for a training: settings to start from, data, network, attack, and their forms."""

from __future__ import annotations

from dataclasses import fields

import streamlit as st

from dashboard.kit import estimate, forms, library
from dashboard.kit.data_card import data_card
from dashboard.kit.model_card import model_card
from dashboard.kit.pages import SEED_MAX
from dashboard.kit.submit import refuse
from ngf.attacks.early import check_early
from ngf.catalogue import catalogue
from ngf.config import Choice, Training, TrainSpec
from ngf.options import SpecError, describe_field
from ngf.presets import preset, preset_of, presets
from ngf.runs.content import filled

_SHOWN = ("epochs", "num_images", "lr")  # the fields of `Training` that have a widget
_FIRST = {"data": "signs", "models": "preact_resnet_tiny", "attacks": "badnets"}


def restore_training(spec: TrainSpec) -> None:
    """Fill in the form from a training."""
    forms.forget("lab.attack_form.")
    forms.forget("lab.training.")
    found = preset_of(spec)
    st.session_state.update(
        {
            "lab.train.preset": found.name if found is not None else None,
            "lab.train.data": spec.data,
            "lab.train.models": spec.model,
            "lab.train.attacks": spec.attack.name,
            "lab.train.seed": spec.seed,
            **{
                f"lab.attack_form.{spec.attack.name}.{name}": value
                for name, value in spec.attack.options.items()
            },
            **{f"lab.training.{name}": getattr(spec.training, name) for name in _SHOWN},
        }
    )


def choose_training() -> TrainSpec:
    """The form for a model of your own. Raises SpecError with what is allowed."""
    _choose_preset()
    for kind, first in _FIRST.items():
        if first in catalogue()[kind]:
            st.session_state.setdefault(f"lab.train.{kind}", first)
    data = _choose("Data", "data")
    data_card(data, "lab.train.data_card")
    model = _choose("Network", "models")
    model_card(model, "lab.train.model_card")
    attack = _choose("Attack", "attacks")
    with st.expander("Settings of the attack", key="lab.train.form"):
        st.caption(catalogue()["attacks"][attack]["summary"])
        choice = forms.plugin_form("attacks", Choice(attack), f"lab.attack_form.{attack}")
    with st.expander("Settings of the training", key="lab.train.training"):
        items = [describe_field(item) for item in fields(Training)]
        training = Training(**forms.training_form("lab.training", items, _SHOWN))
    seed = st.number_input("Seed", 0, SEED_MAX, key="lab.train.seed", step=1)
    spec = TrainSpec(data=data, model=model, attack=choice, training=training, seed=seed)
    check_early(choice, catalogue()["data"][data])
    _note_changes(spec)
    if gate := spec.gate():
        st.caption(gate)
    return filled(spec)


def _choose(label: str, kind: str) -> str:
    name: str = forms.select(
        label,
        f"lab.train.{kind}",
        library.data_sets() if kind == "data" else list(catalogue()[kind]),
        format_func=lambda name: library.title(kind, name),
    )
    return name


def _choose_preset() -> None:
    """Settings to start from; choosing some fills in the form."""
    known = presets()
    name = st.selectbox(
        "Start from",
        list(known),
        index=None,
        key="lab.train.preset",
        on_change=_start_from_preset,
        format_func=lambda name: known[name].title,
        placeholder="The paper's settings, or smaller ones",
        help="Fills in the form. The same names serve `python -m ngf train --preset`.",
    )
    if name is not None:
        with st.expander(
            "Where these settings are from", key="lab.train.sources", icon=":material/menu_book:"
        ):
            st.markdown("\n".join(f"- {library.plain(line)}" for line in known[name].sources))


def _start_from_preset() -> None:
    """Fill in the form from the chosen preset, but keep the seed; time its steps when nothing that
    ran on this machine tells how long it takes.
    """
    name = st.session_state["lab.train.preset"]
    if name is None:
        return
    try:
        spec = preset(name).training(st.session_state.get("lab.train.seed", 0))
    except SpecError as error:  # the preset names an option that its attack no longer has
        refuse("lab", error)
        return
    restore_training(spec)
    estimate.measure_if_unknown(spec)


def _note_changes(spec: TrainSpec) -> None:
    """Say when the form differs from the preset that it started from."""
    name = st.session_state["lab.train.preset"]
    if name is not None and not preset(name).matches(spec):
        st.caption(f"Changed from “{preset(name).title}”.")
