"""The choices for a race: which trained model, which defenses, and their settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.charts.titles import attack_title, lane_title
from dashboard.kit import forms, glossary, library, url
from dashboard.kit.library import ModelRun
from dashboard.kit.pages import SEED_MAX
from dashboard.lab import forks, ghosts, training
from ngf.catalogue import catalogue, options_of
from ngf.config import CHOOSING, NUM_VALIDATION, Choice, PurifySpec
from ngf.defenses.fine_tuning.options import tunings
from ngf.options import SpecError
from ngf.presets import preset_of
from ngf.runs.store import MeasureRun, PurifyRun, TrainRun

DEFAULT_LANES = ("ngf", "sgd")
FIRST = {"data": "signs", "attack": "badnets"}  # what is chosen when the address names nothing


def models() -> list[TrainRun]:
    """The trained models that are listed, and those of earlier zoos that the address, or what was
    chosen before, goes back to.
    """
    found = {run.id: run for run in library.trained()}
    address, before = st.query_params, st.session_state.get("lab.model")
    for name in (address.get("model"), address.get("run"), before):
        run = library.find_model_run(name or "")
        origin = run.training() if run is not None else None
        if origin is not None and origin.status == "done":
            found.setdefault(origin.id, origin)
    return list(found.values())


def known(models: Sequence[TrainRun]) -> dict[str, list[str]]:
    """The values that the address may name, given the trained models."""
    return {
        "data": sorted({run.spec.data for run in models} | set(library.data_sets())),
        "attack": sorted(catalogue()["attacks"]),
        "model": [run.id for run in models],
    }


# ---- from the address to the widgets


def addressed_run(run_id: str, values: dict[str, Any]) -> ModelRun | None:
    """The run that the address names; its choices replace those in `values`."""
    run = library.find(run_id)
    if run is None:
        url.ignore(
            "lab",
            f"run “{run_id}” is not in this store. It may have been deleted, or belong to "
            "another server.",
        )
    elif isinstance(run, MeasureRun):
        url.ignore("lab", f"run “{run_id}” is a measurement; the Geometry page shows it.")
    elif isinstance(run, TrainRun):
        values["view"] = "train"
        training.restore_training(run.spec)
        return run
    elif isinstance(run, PurifyRun):
        values.update(_choices_of(run))
        return run
    return None


def _choices_of(run: PurifyRun) -> dict[str, Any]:
    """What the address would say for the choices behind a race."""
    found: dict[str, Any] = {
        "view": "purify",
        "num_clean": run.spec.num_clean,
        "race_seed": run.spec.seed,
        "choosing": run.spec.choosing,
        "fork": run.spec.start,
        "lane": tuple(forms.lane_to_text(lane) for lane in run.spec.lanes),
    }
    trained = run.training()
    if trained is not None:
        found |= {
            "model": trained.id,
            "data": trained.spec.data,
            "attack": trained.spec.attack.name,
            "seed": trained.spec.seed,
        }
    return found


def restore_widgets(models: Sequence[TrainRun], values: dict[str, Any], fresh: bool) -> None:
    """Give the widgets of the page their values from the address, if that is new; otherwise they
    keep theirs.
    """
    url.restore_widgets(
        "lab",
        {name: values[name] for name in ("view", "num_clean", "race_seed", "choosing")},
        fresh,
    )
    if fresh and values["view"] == "train" and values["attack"]:
        st.session_state["lab.train.attacks"] = values["attack"]
    if models and (fresh or "lab.model" not in st.session_state):
        restore_model(models, values)
    if fresh or "lab.lanes" not in st.session_state:
        restore_lanes(values["lane"])


def restore_model(models: Sequence[TrainRun], values: dict[str, Any]) -> None:
    """Choose the model of the address in the three widgets, or the one most like it."""
    data, attack = values["data"] or FIRST["data"], values["attack"] or FIRST["attack"]
    wanted = (data, attack, values["seed"])
    fitting = [run for run in models if run.id == values["model"]] or [
        run for run in models if (run.spec.data, run.spec.attack.name, run.spec.seed) == wanted
    ]
    named = [name for name in ("data", "attack", "seed") if values[name] not in ("", 0)]
    if not fitting and named and values["view"] == "purify":
        url.ignore(
            "lab",
            "There is no trained model for "
            + ", ".join(f"{name} {values[name]}" for name in named)
            + "; another one is chosen. "
            "You can train it under “Train your own”.",
        )
    alike = [run for run in models if run.spec.attack.name == attack]
    first = (fitting or alike or models)[0]
    st.session_state["lab.data"] = first.spec.data
    st.session_state["lab.attack"] = first.spec.attack.name
    st.session_state["lab.model"] = first.id


def restore_lanes(texts: Sequence[str]) -> None:
    """Choose the defenses of these texts; `url.notice` shows which of them cannot be used."""
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


# ---- the widgets


def choose_model(
    models: Sequence[TrainRun], first: DeltaGenerator, second: DeltaGenerator, third: DeltaGenerator
) -> TrainRun:
    """Three select boxes that lead to one trained model, each in its place."""
    data = list(dict.fromkeys(run.spec.data for run in models))
    chosen = data[0]
    with first:
        chosen = forms.select(
            "Data", "lab.data", data, format_func=lambda name: library.title("data", name)
        )
    models = [run for run in models if run.spec.data == chosen]
    with second:
        attack = forms.select(
            "Attack",
            "lab.attack",
            list(dict.fromkeys(run.spec.attack.name for run in models)),
            format_func=lambda name: attack_title(chosen, name),
            help="How the model was given its backdoor. “None” is a benign model to compare with.",
        )
    by_id = {run.id: run for run in models if run.spec.attack.name == attack}
    with third:
        run_id = forms.select(
            "Trained model",
            "lab.model",
            list(by_id),
            format_func=library.tell_apart(by_id, library.describe_train).__getitem__,
            help=f"CA: {glossary.sentence('ca')} ASR: {glossary.sentence('asr')}",
        )
    return by_id[run_id]


def choose_lanes(
    trained: TrainRun, names_in: DeltaGenerator, settings_in: DeltaGenerator
) -> list[Choice | SpecError]:
    """The defenses, each with its form; in place of a refused one, the reason."""
    names = names_in.multiselect(
        "Defenses",
        list(catalogue()["defenses"]),
        key="lab.lanes",
        format_func=lambda name: library.title("defenses", name),
        help="Two or more are a race: same weights, same seed, same batches.",
    )
    layers = library.layers_of(trained)
    options = st.session_state.get("lab.lane_options", {})
    lanes: list[Choice | SpecError] = []
    for name in names:
        with settings_in.expander(
            f"Settings: {library.title('defenses', name)}", key=f"lab.form.{name}"
        ):
            st.caption(catalogue()["defenses"][name]["summary"])
            _offer_budgets(name)
            choice = Choice(name, options.get(name, {}))
            try:
                lanes.append(forms.plugin_form("defenses", choice, f"lab.lane.{name}", layers))
            except SpecError as error:
                lanes.append(error)
    return lanes


def _offer_budgets(name: str) -> None:
    """Buttons that fill in the form of a defense: its paper's settings, where some are known, and
    the defaults.
    """
    if (paper := catalogue()["defenses"][name].get("paper")) is None:
        return
    st.caption(f"Paper's budget: {library.plain(paper['source'])}")
    with st.container(horizontal=True):
        for label, word, options in (
            ("Paper's budget", "paper", paper["options"]),
            ("Defaults", "defaults", {}),
        ):
            st.button(
                label, key=f"lab.{word}.{name}", on_click=_fill_in, args=(Choice(name, options),)
            )


def _fill_in(lane: Choice) -> None:
    """Begin the form of a defense anew with these settings."""
    st.session_state["lab.lane_options"][lane.name] = dict(lane.options)
    forms.forget(f"lab.lane.{lane.name}.")


def choose_race(
    trained: TrainRun,
    lanes: Sequence[Choice | SpecError],
    left: DeltaGenerator,
    right: DeltaGenerator,
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
    chosen = tuple(lane for lane in lanes if isinstance(lane, Choice))
    if not chosen:
        raise SpecError("Choose at least one defense.")
    return PurifySpec(
        parent=trained.id,
        lanes=chosen,
        num_clean=num_clean,
        seed=seed,
        choosing=_choose_choosing(chosen),
        start=forks.start_of(trained),
    )


def _choose_choosing(lanes: Sequence[Choice]) -> str:
    """Which images settings are judged on; asked only where a defense judges some."""
    if not any(tunings(options_of("defenses", lane), 1) > 1 for lane in lanes):
        return CHOOSING[0]
    st.session_state.setdefault("lab.choosing", CHOOSING[0])
    return st.selectbox(
        "Settings are judged on",
        CHOOSING,
        key="lab.choosing",
        format_func={
            "within": "the clean images themselves, in two parts",
            "fivefold": "the clean images themselves, in five parts (for few of them)",
            "reserved": f"{NUM_VALIDATION:,} more clean images",
        }.__getitem__,
        help="A defense that chooses a rate or a layer compares several on clean images. Tuned on "
        "one part and judged on another in turn, the defender's own images are enough; images "
        "reserved for it are more than the paper's defender has.",
    )


def recording_of(trained: TrainRun) -> PurifyRun | None:
    """A recorded race of this model that ships."""
    return next((run for run in library.recordings() if run.spec.parent == trained.id), None)


# ---- from the choices to the address


def in_address(
    spec: PurifySpec | None, trained: TrainRun, models: Sequence[TrainRun], run_id: str
) -> dict[str, Any]:
    """The values of the address for these choices: the model's id only where its data, attack and
    seed do not identify it.
    """
    data, attack, seed = trained.spec.data, trained.spec.attack.name, trained.spec.seed
    first = next(
        run
        for run in models
        if (run.spec.data, run.spec.attack.name, run.spec.seed) == (data, attack, seed)
    )
    values: dict[str, Any] = {
        "data": "" if data == FIRST["data"] else data,
        "attack": attack,
        "seed": seed,
        "model": "" if first.id == trained.id else trained.id,
        "run": run_id,
        "ghost": st.session_state.get(ghosts.KEY, ""),
    }
    if spec is not None:
        values |= {
            "lane": _lanes_in_address(spec),
            "num_clean": spec.num_clean,
            "race_seed": spec.seed,
            "choosing": spec.choosing,
            "fork": spec.start,
        }
    return values


def in_words(spec: PurifySpec) -> str:
    """`NGF vs SGD · 500 clean images · seed 0`"""
    lanes = " vs ".join(
        lane_title(name) + _settings(choice)
        for name, choice in zip(spec.lane_names(), spec.lanes, strict=True)
    )
    fork = f" · from {forks.in_words(spec.start)}" if spec.start else ""
    return f"{lanes} · {spec.num_clean:,} clean images · seed {spec.seed}{fork}"


def _settings(choice: Choice) -> str:
    """` (layer = last)`; nothing where all is as usual."""
    changed = ", ".join(f"{name} = {value}" for name, value in sorted(choice.options.items()))
    return f" ({changed})" if changed else ""


def _lanes_in_address(spec: PurifySpec) -> tuple[str, ...]:
    texts = tuple(forms.lane_to_text(lane) for lane in spec.lanes)
    return () if texts == DEFAULT_LANES else texts


def purification(trained: TrainRun) -> dict[str, Any]:
    """The address of the Lab for purifying a trained model, by the defenses of its preset if it has
    one.
    """
    values: dict[str, Any] = {"model": trained.id}
    if (found := preset_of(trained.spec)) is not None:
        spec = found.purification(trained.id)
        values |= {"lane": _lanes_in_address(spec), "num_clean": spec.num_clean}
    return url.address("lab", values)
