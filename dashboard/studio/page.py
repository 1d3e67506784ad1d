"""Trigger studio: paint a trigger, see what it does to a model, train a model with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from dashboard.kit import library, url
from dashboard.kit.estimate import queue, sentence
from dashboard.kit.pages import script
from dashboard.kit.run_card import reason
from dashboard.kit.submit import say, show_refusal, submit_all
from dashboard.studio import drawing, probing
from dashboard.studio.results import Trial, show_probe
from ngf.attacks.early import check_early
from ngf.catalogue import catalogue
from ngf.config import Choice
from ngf.options import SpecError
from ngf.runs.folder import AGAIN
from ngf.runs.store import TrainRun


def choose_model(models: Sequence[TrainRun]) -> TrainRun | None:
    """The model that the trigger is tried on; None when there is no model yet."""
    if models:
        return drawing.choose_model(models)
    st.info(
        "There is no trained model yet to try it on. Train one with your trigger, below.",
        icon=":material/info:",
    )
    return None


def choose_attack(pixels: np.ndarray, facts: Mapping[str, Any]) -> Choice | None:
    """The attack with this drawing on images with these `facts`; None, and why, when it cannot be
    used.
    """
    if not pixels[:, :, 3].any():
        st.info("The drawing is empty. Paint at least one pixel.", icon=":material/brush:")
        return None
    try:
        attack = drawing.choice()
        check_early(attack, facts)
        return attack
    except SpecError as error:
        say(error)
        return None


def try_it(trained: TrainRun, attack: Choice, pixels: np.ndarray, facts: Mapping[str, Any]) -> None:
    """Pictures and numbers of the trigger on a model, whose images have these `facts`."""
    run = probing.probe(probing.probe_spec(trained, attack))
    show_refusal(probing.REFUSED)
    if run is None:
        st.button(
            "Measure", icon=":material/straighten:", key="studio.measure", on_click=drawing.touch
        )
    gray = facts["shape"][0] == 1
    show_probe(Trial(trained.id, pixels, drawing.place(), facts["classes"], gray), run)
    if run is not None and run.status == "failed":
        st.error(reason(run.error or {}))


def train_it(trained: TrainRun | None, attack: Choice) -> None:
    """The button that starts a training with the trigger, or the link to that training."""
    spec = probing.train_spec(trained, attack)
    run = library.find(spec.id)
    st.slider(
        "Poison rate",
        1,
        90,
        key="studio.poison",
        format="%d %%",
        help=(
            "Share of the training images that carry your trigger and are labeled with the target "
            "class."
        ),
    )
    if run is None or run.status in AGAIN:
        st.caption(
            f"{spec.training.num_images:,} images of {library.title('data', spec.data)}, "
            f"{spec.training.epochs} epochs of {library.title('models', spec.model)}. "
            f"{sentence(spec)} {spec.gate()} {queue()}"
        )
        if st.button(
            "Train with it", type="primary", icon=":material/model_training:", key="studio.train"
        ):
            for made in submit_all("studio.training", spec):
                st.switch_page(script("lab"), query_params={"run": made.id})
            show_refusal("studio.training")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link(
            script("lab"),
            icon=":material/science:",
            query_params={"run": run.id},
            label=f"Its training in the Lab ({library.STATES[run.status].lower()})",
        )
        if run.status == "done" and run.id != st.session_state["studio.model"]:
            st.button(
                "Try it on the model that was trained with it",
                icon=":material/visibility:",
                key="studio.own",
                on_click=drawing.use_model,
                args=(run.id,),
            )


st.title("Trigger studio")
st.markdown(
    "A backdoor opens to any pattern that was trained into it. Paint one, see what a model makes "
    "of it, then train a model that obeys it."
)
models = library.trained()
values, fresh = url.follow("studio")
drawing.restore_widgets(values, fresh, models)
url.notice("studio")
left, right = st.columns([2, 3], gap="large")
with right:
    st.header("3. See what it does")
    trained = choose_model(models)
facts = library.data_facts(trained) if trained else catalogue()["data"]["signs"]
with left:
    st.header("1. Paint")
    pixels = drawing.choose_drawing()
    st.header("2. Place it")
    drawing.choose_place(pixels, facts["shape"])
with right:
    drawing.choose_target(facts["classes"])
    attack = choose_attack(pixels, facts)
    if attack is not None and trained is not None:
        try_it(trained, attack, pixels, facts)
    st.header("4. Train with it")
    if attack is not None:
        train_it(trained, attack)
url.write("studio", drawing.in_address(trained, models))
