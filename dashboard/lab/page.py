"""Lab: choose a model and defenses, race them live, look at what happened."""

from __future__ import annotations

import streamlit as st

from dashboard.kit import library, measuring, url
from dashboard.kit.library import ModelRun
from dashboard.kit.pages import script
from dashboard.kit.run_card import model_numbers, numbers_in_words, show_outcome, show_weak
from dashboard.kit.submit import say
from dashboard.kit.take import take_home
from dashboard.kit.trigger import show_trigger
from dashboard.lab import choices, forks, ghosts, starting
from dashboard.lab.frontier import show_frontier
from dashboard.lab.live_run import show_internals, show_live, show_recorded
from dashboard.lab.race_form import race_form
from dashboard.lab.repeats import show_repeats
from dashboard.lab.training import choose_training
from dashboard.lab.valley import offer
from ngf.config import PurifySpec, TrainSpec
from ngf.options import SpecError
from ngf.runs.store import PurifyRun, TrainRun

VIEWS = {"purify": "Purify a model", "train": "Train your own"}


def name_tab(run: ModelRun | None) -> None:
    """The browser's tab says which run it shows."""
    if run is not None:
        st.set_page_config(page_title=f"{library.describe(run)} · Lab")


def purify(models: list[TrainRun], addressed: ModelRun | None) -> None:
    """The view in which defenses race on a trained model: the race, and below it the form for the
    next one. Without a race of one's own the form comes first, then one that ships.
    """
    on_stage = starting.is_staged(PurifySpec.kind, addressed)
    first, second = st.container(), st.container()
    with second if on_stage else first:
        form = race_form(models)
    stage = starting.staged(PurifySpec.kind, form.spec, addressed)
    run = stage.run
    if (run is not None) != on_stage:
        st.rerun()  # the choices have decided: now the order of the two is known
    form.finish(stage)
    name_tab(run)
    with first if on_stage else second:
        if run is not None:
            show_live(run)
        elif (recorded := choices.recording_of(form.trained)) is not None:
            show_recorded(recorded)
    if isinstance(run, PurifyRun) and run.status == "done":
        after_race(run)
    st.header("The model before")
    show_weak(form.trained)
    st.markdown(numbers_in_words(form.trained))
    show_trigger(form.trained)
    show_frontier(form.trained)
    url.write("lab", choices.in_address(form.spec, form.trained, models, run.id if run else ""))


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
        offer(run)
    measuring.show_progress(run, lane)
    with st.expander(
        "Inside the run", key="lab.inside", icon=":material/manage_search:", on_change="rerun"
    ) as inside:
        if inside.open:
            show_internals(run)


def train(addressed: ModelRun | None) -> None:
    """The view in which a model is trained."""
    settings, stage_in = st.columns([1, 2], gap="large")
    spec, refused = None, None
    with settings:
        st.header("1. What to train")
        try:
            spec = choose_training()
        except SpecError as error:
            refused = error
    with stage_in:
        st.header("2. Training")
        stage = starting.staged(TrainSpec.kind, spec, addressed)
        run = stage.run
        name_tab(run)
        if stage.other:
            st.caption("The form is for the next training; this one stays until another is chosen.")
        starting.start(spec, stage)
        if refused is not None:
            say(refused)
        starting.notes(spec, stage)
        if run is not None:
            show_live(run)
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


with st.container(key="lab_head", horizontal=True, vertical_alignment="center", gap="medium"):
    st.title("Lab", width="content")
    view_in = st.container(width="content")
models = choices.models()
values, fresh = url.follow("lab", choices.known(models))
if fresh:
    opened = choices.addressed_run(values["run"], values) if values["run"] else None
    st.session_state["lab.addressed"] = opened.id if opened else ""
    starting.new_link()
    ghosts.restore(values["ghost"])
    forks.restore(values["fork"])
choices.restore_widgets(models, values, fresh)
url.notice("lab")
view = view_in.segmented_control(
    "What to do",
    list(VIEWS),
    format_func=VIEWS.__getitem__,
    key="lab.view",
    required=True,
    label_visibility="collapsed",
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
