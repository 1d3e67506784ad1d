"""Lab: choose a model and defenses, race them live, look at what happened."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.kit import library, measuring, url
from dashboard.kit.library import ModelRun, ModelSpec
from dashboard.kit.model_card import model_card
from dashboard.kit.pages import script
from dashboard.kit.run_card import model_numbers, numbers_in_words, show_outcome, show_weak
from dashboard.kit.submit import say
from dashboard.kit.take import take_home
from dashboard.kit.trigger import show_trigger
from dashboard.lab import choices
from dashboard.lab.along import show_along
from dashboard.lab.frontier import show_frontier
from dashboard.lab.live_run import show_internals, show_live
from dashboard.lab.repeats import show_repeats
from dashboard.lab.starting import notes, shown_run, start
from dashboard.lab.training import choose_training
from ngf.options import SpecError
from ngf.runs.store import PurifyRun, TrainRun

VIEWS = {"purify": "Purify a model", "train": "Train your own"}


def purify(models: list[TrainRun], addressed: ModelRun | None) -> None:
    """The view in which defenses race on a trained model."""
    settings, stage = st.columns([1, 2], gap="large")
    with settings:
        st.header("1. Model")
        trained = choices.choose_model(models)
        show_weak(trained)
        model_card(trained.spec.model, "lab.model_card")
        st.header("2. Defenses")
        lanes = choices.choose_lanes(trained)
    with stage:
        st.header("3. Race")
        clean, seed, button = st.columns([2, 2, 3], vertical_alignment="bottom")
        spec, refused = None, None
        try:
            spec = choices.choose_race(trained, lanes, clean, seed)
        except SpecError as error:
            refused = error
        run = show_chosen(spec, refused, addressed, button)
        if isinstance(run, PurifyRun) and run.status == "done":
            after_race(run)
        st.header("The model before")
        st.markdown(numbers_in_words(trained))
        show_trigger(trained)
        show_frontier(trained)
    url.write("lab", choices.in_address(spec, trained, models, run.id if run else ""))


def show_chosen(
    spec: ModelSpec | None,
    refused: SpecError | None,
    addressed: ModelRun | None,
    button: DeltaGenerator,
) -> ModelRun | None:
    """What belongs to these choices: the button that starts their run, or why they are refused, and
    the run as it goes on. Returns the run.
    """
    run = shown_run(spec, addressed)
    with button:
        start(spec, run)
    if refused is not None:
        say(refused)
    notes(spec, run)
    if run is not None:
        show_live(run)
    return run


def after_race(run: PurifyRun) -> None:
    """What a finished race has done: its outcome, and what can be measured of it."""
    lane = run.sound_lanes()[0]
    st.header("Before and after")
    show_outcome(run)
    take_home(run)
    show_repeats(run)
    st.subheader("Did the minimum change?")
    st.caption(
        "Loss slices, Hessian spectrum and Fisher trace of the model before and after, on the same "
        "images."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Measure the minimum",
            icon=":material/straighten:",
            key="lab.measure",
            on_click=measuring.submit,
            args=(run.id, lane),
        )
        st.page_link(
            script("geometry"),
            label="Open in Geometry",
            icon=":material/landscape:",
            query_params={"run": run.id, "lane": lane},
        )
    measuring.show_progress(run, lane)
    show_along(run)
    with st.expander(
        "Inside the run", key="lab.inside", icon=":material/manage_search:", on_change="rerun"
    ) as inside:
        if inside.open:
            show_internals(run)


def train(addressed: ModelRun | None) -> None:
    """The view in which a model is trained."""
    settings, stage = st.columns([1, 2], gap="large")
    spec, refused = None, None
    with settings:
        st.header("1. What to train")
        try:
            spec = choose_training()
        except SpecError as error:
            refused = error
    with stage:
        st.header("2. Training")
        run = show_chosen(spec, refused, addressed, stage)
        if isinstance(run, TrainRun) and run.status == "done":
            st.header("The model")
            model_numbers(run)
            st.page_link(
                script("lab"),
                label="Purify this model",
                icon=":material/cleaning_services:",
                query_params=choices.purification(run),
            )
            take_home(run)
            show_trigger(run)
    url.write("lab", {"view": "train", "run": run.id if run else ""})


st.title("Lab")
st.markdown("Choose a model with a backdoor, let defenses race to remove it, and watch.")
models = choices.models()
values, fresh = url.follow("lab", choices.known(models))
if fresh:
    opened = choices.addressed_run(values["run"], values) if values["run"] else None
    st.session_state["lab.addressed"] = opened.id if opened else ""
    st.session_state["lab.built"] = ""
choices.restore_widgets(models, values, fresh)
url.notice("lab")
view = st.segmented_control(
    "What to do", list(VIEWS), format_func=VIEWS.__getitem__, key="lab.view", required=True
)
addressed = library.find_model_run(st.session_state.get("lab.addressed", ""))
if view == "train":
    train(addressed)
elif models:
    purify(models, addressed)
else:
    st.info(
        "There is no trained model yet. “Train your own”, above, makes one.", icon=":material/info:"
    )
