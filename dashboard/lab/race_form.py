"""The form for a race, in one bar: which model, which defenses, their settings behind a click."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.kit import estimate, library
from dashboard.kit.model_card import model_card
from dashboard.kit.submit import say, show_refusal
from dashboard.lab import choices, forks
from dashboard.lab.starting import Stage, is_new, start
from ngf.config import PurifySpec
from ngf.options import SpecError
from ngf.runs.store import TrainRun


@dataclass(frozen=True)
class RaceForm:
    """What the form asks for, and its places that are filled in when the stage is known.

    spec: None where it is refused, for the reason `refused`.
    curvature: whether it is measured along the way.
    head, press, below, timing: of its heading, its button, what is said of both, and what times
        its steps.
    """

    trained: TrainRun
    spec: PurifySpec | None
    refused: SpecError | None
    curvature: bool
    head: DeltaGenerator
    press: DeltaGenerator
    below: DeltaGenerator
    timing: DeltaGenerator

    def finish(self, stage: Stage) -> None:
        """Heading, button, and what there is to know before it is pressed."""
        if stage.other:
            self.head.subheader("Next race")
        elif stage.run is not None:
            self.head.subheader("Settings of this race")
        with self.press:
            start(self.spec, stage, self.curvature)
        with self.below:
            if self.refused is not None:
                say(self.refused)
            show_refusal("lab")
            if self.spec is not None:
                said = f"{library.plain(choices.in_words(self.spec))}."
                new = is_new(stage)
                st.caption(f"{said} {estimate.in_words(self.spec)}" if new else said)
        if self.spec is not None and is_new(stage):
            with self.timing:
                estimate.offer(self.spec)


def race_form(models: Sequence[TrainRun]) -> RaceForm:
    """The widgets; the caller has chosen their place on the page."""
    head = st.container()
    first, second, third, press = st.columns(
        [1.9, 1.9, 4.2, 2.8], vertical_alignment="bottom", gap="small"
    )
    trained = choices.choose_model(models, first, second, third)
    forks.show_start(trained)
    drawer, below = st.columns([1.9, 4.2], gap="small")
    # Not a popover: what is in one is not drawn before it is opened, and its fields then show
    # their lowest value in place of the one that they have.
    with drawer.expander("Defenses and settings", key="lab.settings", icon=":material/tune:"):
        shared, each = st.container(), st.container()
        lanes = choices.choose_lanes(trained, shared, each)
        spec, refused = None, None
        try:
            spec = choices.choose_race(trained, lanes, *st.columns(2))
        except SpecError as error:
            refused = error
        st.session_state.setdefault("lab.curvature", True)
        curvature = st.toggle(
            "Curvature along the way",
            key="lab.curvature",
            help="The largest Hessian eigenvalue and the Fisher trace while the race goes on, "
            "below its curves: by processes with one thread each that give way to the race.",
        )
        timing = st.container()
        model_card(trained.spec.model, "lab.model_card")
    return RaceForm(trained, spec, refused, curvature, head, press, below, timing)
