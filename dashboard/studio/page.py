"""Trigger studio: paint a trigger, see what it does to a model, train a model with it."""

from __future__ import annotations

import streamlit as st

from dashboard.kit import library, url
from dashboard.kit.estimate import queue, sentence
from dashboard.kit.pages import script
from dashboard.kit.submit import ask, say, show_refusal
from dashboard.studio import drawing
from dashboard.studio.results import show_probe
from ngf.catalogue import catalogue
from ngf.config import Choice
from ngf.options import SpecError
from ngf.runs.folder import AGAIN
from ngf.runs.store import Run


def try_it(model: Run, attack: Choice, classes: list[str], shape: list[int]) -> None:
    """Pictures and numbers of the trigger on a model."""
    spec = drawing.probe_spec(model, attack)
    run = drawing.probe(spec)
    show_refusal(drawing.REFUSED)
    if run is None:
        st.button(
            "Measure", icon=":material/straighten:", key="studio.measure", on_click=drawing.touch
        )
    show_probe(model, run, pixels, drawing.place(), classes, gray=shape[0] == 1)
    if run is not None and run.status == "failed":
        st.error(f"{(run.error or {}).get('message', '')} {(run.error or {}).get('advice') or ''}")


def train_it(model: Run | None, attack: Choice) -> None:
    """The button that starts a training with the trigger, or what became of it."""
    spec = drawing.train_spec(model, attack)
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
            f"{sentence(spec)} {queue()}"
        )
        if st.button(
            "Train with it", type="primary", icon=":material/model_training:", key="studio.train"
        ):
            for made in ask("studio.training", spec):
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
drawing.seed(values, fresh, models)
url.notice("studio")
left, right = st.columns([2, 3], gap="large")
with right:
    st.header("3. See what it does")
    if models:
        model = drawing.choose_model(models)
    else:
        model = None
        st.info(
            "There is no trained model yet to try it on. Train one with your trigger, below.",
            icon=":material/info:",
        )
facts = library.data_facts(model) if model else catalogue()["data"]["signs"]
with left:
    st.header("1. Paint")
    pixels = drawing.choose_drawing()
    st.header("2. Place it")
    drawing.choose_place(pixels, facts["shape"])
with right:
    drawing.choose_target(facts["classes"])
    attack = None
    if not pixels[:, :, 3].any():
        st.info("The drawing is empty. Paint at least one pixel.", icon=":material/brush:")
    else:
        try:
            attack = drawing.choice()
        except SpecError as error:
            say(error)
    if attack is not None and model is not None:
        try_it(model, attack, facts["classes"], facts["shape"])
    st.header("4. Train with it")
    if attack is not None:
        train_it(model, attack)
url.write("studio", drawing.state(model))
