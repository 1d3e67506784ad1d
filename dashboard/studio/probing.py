"""The runs of the trigger studio: the measurement of a trigger on a model, called a probe, and the
training with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis import asking
from dashboard.kit import library, visitor
from dashboard.kit.submit import submit_all
from ngf.config import Choice, MeasureSpec, TrainSpec
from ngf.runs.content import filled
from ngf.runs.folder import OPEN
from ngf.runs.store import MeasureRun, Run, TrainRun

KEPT = 5  # so many probes of a visit stay; earlier ones are deleted, as every stroke makes one
REFUSED = "studio"  # where the page shows that a probe was refused


def probe_spec(trained: TrainRun, attack: Choice) -> MeasureSpec:
    """The measurement of a trigger on a model."""
    return asking.probe(trained.id, attack)


def train_spec(trained: TrainRun | None, attack: Choice) -> TrainSpec:
    """A training with the trigger, on the data and the network of the model on the page."""
    if trained is None:
        return TrainSpec(attack=attack)
    return filled(TrainSpec(attack=attack, data=trained.spec.data, model=trained.spec.model))


def probe(spec: MeasureSpec) -> MeasureRun | None:
    """The run of a probe, which is submitted when the visitor has changed something."""
    if st.session_state.get("studio.touched"):
        st.session_state["studio.touched"] = False
        _submit(spec)
    return library.find_measurement(spec.id)


def _submit(spec: MeasureSpec) -> None:
    earlier = [name for name in st.session_state.get("studio.probes", []) if name != spec.id]
    run = library.find(spec.id)
    if run is None or run.status == "cancelled":
        submit_all(REFUSED, spec)
    st.session_state["studio.probes"] = [*_tidied(earlier), spec.id]


def _tidied(earlier: Sequence[str]) -> list[str]:
    """Stop the visitor's earlier probes, and delete all but the last few. Returns those left."""
    kept = []
    for place, name in enumerate(earlier):
        run = library.find(name)
        if run is None or run.source != "user" or run.request["owner"] != visitor.visitor().id:
            continue
        if visitor.why_not(run):  # of a browser without cookies: it may not, and neither may we
            continue
        if run.status in OPEN:
            visitor.command(run, "cancel")
        if len(earlier) - place <= KEPT or not _delete(run):
            kept.append(name)
    return kept


def _delete(run: Run) -> bool:
    """Delete a run; False while it is still stopping."""
    try:
        visitor.delete(run)
    except ValueError:
        return False
    except KeyError:  # it is gone already
        pass
    return True
