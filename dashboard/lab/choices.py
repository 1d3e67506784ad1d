"""The choices of the Lab: which model, which defenses, with which settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.kit import estimate, forms, glossary, library, url
from dashboard.kit.data_card import data_card
from dashboard.kit.model_card import model_card
from dashboard.kit.pages import SEED_MAX
from dashboard.kit.submit import refuse
from ngf.catalogue import catalogue
from ngf.config import Choice, PurifySpec, Training, TrainSpec
from ngf.options import SpecError, describe_field
from ngf.presets import preset, preset_of, presets
from ngf.runs.store import Run

DEFAULT_LANES = ("ngf", "sgd")
FIRST = {"data": "signs", "attack": "badnets"}  # what is chosen when nothing was asked for
_TRAINING = ("epochs", "num_images", "lr")


def known(models: Sequence[Run]) -> dict[str, list[str]]:
    """Values that the address may name, given what is in the store."""
    return {
        "data": sorted({run.spec.data for run in models} | set(catalogue()["data"])),
        "attack": sorted(catalogue()["attacks"]),
        "model": [run.id for run in models],
    }


def open_run(run_id: str, values: dict[str, Any]) -> Run | None:
    """The run that the address names; its choices replace those in `values`."""
    run = library.find(run_id)
    if run is None:
        url.ignore(
            "lab",
            f"run “{run_id}” is not in this store. It may have been deleted, or belong to "
            "another server.",
        )
        return None
    if run.spec.kind == "measure":
        url.ignore("lab", f"run “{run_id}” is a measurement; the Geometry page shows it.")
        return None
    if run.spec.kind == "train":
        values["view"] = "train"
        seed_training(run.spec)
        return run
    origin = run.training()
    values.update(
        view="purify",
        num_clean=run.spec.num_clean,
        race_seed=run.spec.seed,
        lane=tuple(forms.lane_to_text(lane) for lane in run.spec.lanes),
    )
    if origin is not None:
        values.update(
            model=origin.id,
            data=origin.spec.data,
            attack=origin.spec.attack.name,
            seed=origin.spec.seed,
        )
    return run


def seed_model(models: Sequence[Run], values: dict[str, Any]) -> None:
    """Start values of the three model widgets from the address."""
    wanted = {
        "data": values["data"] or FIRST["data"],
        "attack": values["attack"] or FIRST["attack"],
    }
    fitting = [run for run in models if run.id == values["model"]] or [
        run
        for run in models
        if run.spec.data == wanted["data"]
        and run.spec.attack.name == wanted["attack"]
        and run.spec.seed == values["seed"]
    ]
    asked = [name for name in ("data", "attack", "seed") if values[name] not in ("", 0)]
    if not fitting and asked and models and values["view"] == "purify":
        url.ignore(
            "lab",
            "There is no trained model for "
            + ", ".join(f"{name} {values[name]}" for name in asked)
            + "; another one is chosen. "
            "You can train it under “Train your own”.",
        )
    first = (
        fitting[0]
        if fitting
        else next((run for run in models if run.spec.attack.name == wanted["attack"]), models[0])
    )
    st.session_state["lab.data"] = first.spec.data
    st.session_state["lab.attack"] = first.spec.attack.name
    st.session_state["lab.model"] = first.id


def seed_lanes(texts: Sequence[str]) -> None:
    """Start values of the defenses from their text forms; what cannot be used is said."""
    lanes: dict[str, dict[str, Any]] = {}
    for text in texts:
        try:
            lane = forms.lane_from_text(text)
        except SpecError as error:
            url.ignore("lab", f"A defense in the link was ignored. {error}")
            continue
        lanes.setdefault(lane.name, dict(lane.options))
    names = [name for name in DEFAULT_LANES if name in catalogue()["defenses"]]
    st.session_state["lab.lanes"] = list(lanes) or names
    st.session_state["lab.lane_options"] = lanes
    forms.forget("lab.lane.")


def _select(label: str, key: str, options: list[Any], **about: Any) -> Any:
    if st.session_state.get(key) not in options:
        st.session_state[key] = options[0]
    return st.selectbox(label, options, key=key, **about)


def choose_model(models: Sequence[Run]) -> Run:
    """Three selectboxes that lead to one trained model."""
    data = list(dict.fromkeys(run.spec.data for run in models))
    if len(data) > 1:
        chosen = _select(
            "Data", "lab.data", data, format_func=lambda name: library.title("data", name)
        )
    else:
        chosen = data[0]
    models = [run for run in models if run.spec.data == chosen]
    attacks = list(dict.fromkeys(run.spec.attack.name for run in models))
    attack = _select(
        "Attack",
        "lab.attack",
        attacks,
        format_func=lambda name: library.title("attacks", name),
        help="How the model was given its backdoor. “None” is a benign model to compare with.",
    )
    models = {run.id: run for run in models if run.spec.attack.name == attack}
    return models[
        _select(
            "Trained model",
            "lab.model",
            list(models),
            format_func=library.tell_apart(models, library.describe_train).get,
            help=f"CA: {glossary.sentence('ca')} ASR: {glossary.sentence('asr')}",
        )
    ]


def choose_lanes(model: Run) -> list[Choice | SpecError]:
    """The defenses, each with its form; in the place of one that is refused, the reason."""
    names = st.multiselect(
        "Defenses",
        list(catalogue()["defenses"]),
        key="lab.lanes",
        format_func=lambda name: library.title("defenses", name),
        help="Two or more are a race: same weights, same seed, same batches.",
    )
    layers = catalogue()["models"].get(model.spec.model, {}).get("layers", [])
    options = st.session_state.get("lab.lane_options", {})
    lanes: list[Choice | SpecError] = []
    for name in names:
        with st.expander(f"Settings: {library.title('defenses', name)}", key=f"lab.form.{name}"):
            st.caption(catalogue()["defenses"][name]["summary"])
            try:
                lanes.append(
                    forms.plugin_form(
                        "defenses", Choice(name, options.get(name, {})), f"lab.lane.{name}", layers
                    )
                )
            except SpecError as error:
                lanes.append(error)
    return lanes


def choose_race(
    model: Run, lanes: Sequence[Choice | SpecError], left: DeltaGenerator, right: DeltaGenerator
) -> PurifySpec:
    """What all lanes share, in two columns. Raises SpecError with what is allowed."""
    num_clean = left.number_input(
        "Clean images",
        10,
        5000,
        key="lab.num_clean",
        step=50,
        help="Images that the defender trusts. No defense sees a trigger or the "
        "test images. From 10 to 5000.",
    )
    seed = right.number_input(
        "Seed",
        0,
        SEED_MAX,
        key="lab.race_seed",
        step=1,
        help="Fixes the clean images and the batches; the same for all defenses.",
    )
    for lane in lanes:
        if isinstance(lane, SpecError):
            raise lane
    if not lanes:
        raise SpecError("Choose at least one defense.")
    return PurifySpec(parent=model.id, lanes=tuple(lanes), num_clean=num_clean, seed=seed)


def state(
    spec: PurifySpec | None, model: Run, models: Sequence[Run], run_id: str
) -> dict[str, Any]:
    """What the address says of these choices: as little as tells them apart."""
    alike = [
        run
        for run in models
        if (run.spec.data, run.spec.attack.name, run.spec.seed)
        == (model.spec.data, model.spec.attack.name, model.spec.seed)
    ]
    data = model.spec.data
    out = {
        "data": "" if data == FIRST["data"] else data,
        "attack": model.spec.attack.name,
        "seed": model.spec.seed,
        "model": model.id if alike and alike[0].id != model.id else "",
        "run": run_id,
    }
    if spec is not None:
        texts = tuple(forms.lane_to_text(lane) for lane in spec.lanes)
        out.update(
            lane=() if texts == DEFAULT_LANES else texts,
            num_clean=spec.num_clean,
            race_seed=spec.seed,
        )
    return out


def seed_training(spec: TrainSpec) -> None:
    """Start values of the training form from a training that exists."""
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
            **{f"lab.training.{name}": getattr(spec.training, name) for name in _TRAINING},
        }
    )


def _start_from() -> None:
    """Fill in the form from the chosen preset, but for the seed; time a step when none was
    ever run here.
    """
    name = st.session_state["lab.train.preset"]
    if name is None:
        return
    try:
        spec = preset(name).training(st.session_state.get("lab.train.seed", 0))
    except (
        SpecError
    ) as error:  # an attack has changed, and the preset names an option that it no longer has
        refuse("lab", error)
        return
    seed_training(spec)
    estimate.measure_if_unknown(spec)


def choose_preset() -> None:
    """Settings to start from; what is chosen fills in the form below."""
    known = presets()
    name = st.selectbox(
        "Start from",
        list(known),
        index=None,
        key="lab.train.preset",
        on_change=_start_from,
        format_func=lambda name: known[name].title,
        placeholder="The paper's settings, or smaller ones",
        help="Fills in the form. The same names serve `python -m ngf train --preset`.",
    )
    if name is not None:
        with st.expander(
            "Where these settings are from", key="lab.train.sources", icon=":material/menu_book:"
        ):
            st.markdown("\n".join(f"- {library.plain(line)}" for line in known[name].sources))


def purification(run: Run) -> dict[str, Any]:
    """The address of the Lab for purifying a trained model; by the defenses of its preset, if
    it has one.
    """
    found = preset_of(run.spec)
    pure = found.purification(run.id) if found is not None else None
    lanes = () if pure is None else tuple(forms.lane_to_text(lane) for lane in pure.lanes)
    return url.address(
        "lab",
        {
            "model": run.id,
            "lane": () if lanes == DEFAULT_LANES else lanes,
            "num_clean": 500 if pure is None else pure.num_clean,
        },
    )


def choose_training() -> TrainSpec:
    """The form for a model of your own. Raises SpecError with what is allowed."""
    choose_preset()
    names = {kind: list(catalogue()[kind]) for kind in ("data", "models", "attacks")}
    for kind, first in (
        ("data", "signs"),
        ("models", "preact_resnet_tiny"),
        ("attacks", "badnets"),
    ):
        if first in names[kind]:
            st.session_state.setdefault(f"lab.train.{kind}", first)
    data = _select(
        "Data",
        "lab.train.data",
        names["data"],
        format_func=lambda name: library.title("data", name),
    )
    data_card(data, "lab.train.data_card")
    model = _select(
        "Network",
        "lab.train.models",
        names["models"],
        format_func=lambda name: library.title("models", name),
    )
    model_card(model, "lab.train.model_card")
    attack = _select(
        "Attack",
        "lab.train.attacks",
        names["attacks"],
        format_func=lambda name: library.title("attacks", name),
    )
    with st.expander("Settings of the attack", key="lab.train.form"):
        st.caption(catalogue()["attacks"][attack]["summary"])
        choice = forms.plugin_form("attacks", Choice(attack), f"lab.attack_form.{attack}")
    items = [describe_field(item) for item in fields(Training)]
    with st.expander("Settings of the training", key="lab.train.training"):
        training = Training(**forms.training_form("lab.training", items, _TRAINING))
    seed = st.number_input("Seed", 0, SEED_MAX, key="lab.train.seed", step=1)
    spec = TrainSpec(data=data, model=model, attack=choice, training=training, seed=seed)
    if (name := st.session_state["lab.train.preset"]) is not None and not preset(name).matches(
        spec
    ):
        st.caption(f"Changed from “{preset(name).title}”.")
    return spec


def seed(models: Sequence[Run], values: dict[str, Any], fresh: bool) -> None:
    """Give the widgets of the page their values: from the address when it is new, else as
    they were.
    """
    for name in ("view", "num_clean", "race_seed"):
        if fresh or f"lab.{name}" not in st.session_state:
            st.session_state[f"lab.{name}"] = values[name]
    if fresh and values["view"] == "train" and values["attack"]:
        st.session_state["lab.train.attacks"] = values["attack"]
    if models and (fresh or "lab.model" not in st.session_state):
        seed_model(models, values)
    if fresh or "lab.lanes" not in st.session_state:
        seed_lanes(values["lane"])
