"""Geometry: the minimum before and after, on the same images and the same axes."""

from __future__ import annotations

import streamlit as st

from dashboard.charts.style import lane_title
from dashboard.parts import library, minimum, url
from dashboard.parts.figures import Minimum
from ngf.config import MeasureSpec
from ngf.jobs.store import Run

SECTIONS = (  # heading, what it answers, method of Minimum
    ("Loss around the minimum", "How fast does the loss rise when the weights walk away?", "slices"),
    ("Curvature", "How many directions are steep, and how steep?", "spectrum"),
    ("The numbers", "Sharpness before and after, with error bars.", "numbers"),
    ("Fisher trace by layer", "Which layers do the predictions react to?", "layers"),
    ("From before to after", "What lies on the straight line between the two models?", "line"),
)


def choose_run() -> tuple[Run, str] | None:
    """The run and lane on show: from the address, else the newest purification, else the recording."""
    runs = {run.id: run for run in library.measurable()}
    if not runs:
        return None
    if st.session_state.get("geometry.run") not in runs:
        st.session_state["geometry.run"] = next(iter(runs))
    first, second = st.columns([2, 1])
    run = runs[first.selectbox("Run", list(runs), key="geometry.run",
                               format_func=lambda name: library.describe_measurable(runs[name]))]
    lanes = list(run.spec.lane_names()) if run.spec.kind == "purify" else []
    if not lanes:
        return run, ""
    if st.session_state.get("geometry.lane") not in lanes:
        if fresh and values["lane"]:
            url.ignore("geometry", f"lane “{values['lane']}” is not in this run. "
                                   f"Allowed: {', '.join(lanes)}.")
        st.session_state["geometry.lane"] = lanes[0]
    return run, second.selectbox("Purified by", lanes, key="geometry.lane", format_func=lane_title)


def draw(view: Minimum, specs: list[MeasureSpec], live: bool) -> None:
    """All sections; while something is measured this runs once a second."""
    states = minimum.progress(specs)
    if live and not states.keys() & set(library.ACTIVE):
        st.rerun()
    st.caption(minimum.sentence(states))
    for run_id in states.get("failed", [])[:3]:
        error = (library.find(run_id).error or {}) if library.find(run_id) else {}
        st.error(f"{run_id} failed: {error.get('message', '')} {error.get('advice') or ''}")
    for heading, question, method in SECTIONS:
        if method == "line" and len(view.sides) < 2:
            continue
        st.header(heading)
        st.markdown(question)
        if not getattr(view, method)():
            st.caption(":material/hourglass_empty: Not measured yet.")


st.title("Geometry")
st.markdown("Fine-tuning moves the weights to another place. Is the ground flatter there? The same "
            "measurements, on the same images, before and after.")
values, fresh = url.follow("geometry")
if fresh and values["run"] and values["run"] not in {run.id for run in library.measurable()}:
    url.ignore("geometry", f"run “{values['run']}” is not a finished purification or training in this store.")
url.seed("geometry", values, fresh)
chosen = choose_run()
url.notice("geometry")
if chosen is None:
    st.info("There is nothing to measure yet. Purify a model in the Lab, then come back.",
            icon=":material/landscape:")
    st.stop()
run, lane = chosen
kinds = minimum.kinds(run)
if st.session_state["geometry.images"] not in kinds:
    st.session_state["geometry.images"] = "clean"
with st.container(horizontal=True, vertical_alignment="bottom"):
    images = st.segmented_control("Measure the loss on", kinds, key="geometry.images", required=True,
                                  format_func=minimum.IMAGES.get,
                                  help="Target labels: the class that the attacker wants.")
    seed = st.number_input("Seed", 0, url.SEED_MAX, key="geometry.seed", step=1, width=140,
                           help="Draws the images and the directions.")
    overlaid = st.toggle("In one picture", key="geometry.overlaid")
url.write("geometry", {"run": run.id, "lane": lane, "images": images, "seed": seed})
specs = minimum.wanted(run, lane, images, seed)
states = minimum.progress(specs)
active = [run_id for name in library.ACTIVE for run_id in states.get(name, [])]
todo = sum(len(states.get(name, [])) for name in ("missing", "cancelled", "failed"))
with st.container(horizontal=True, vertical_alignment="center"):
    if todo:
        st.button(f"Measure ({todo})", type="primary", icon=":material/straighten:", key="geometry.measure",
                  on_click=minimum.submit, args=(run.id, lane, images, seed))
    if active:
        st.button("Stop measuring", icon=":material/stop:", key="geometry.stop", on_click=minimum.stop,
                  args=(active,))
    st.page_link(library.PAGES / "lab.py", label="Open in Lab", icon=":material/science:", query_params={"run": run.id})
if st.session_state.get("minimum.refused"):
    library.say(ValueError(st.session_state["minimum.refused"]))
view = Minimum(minimum.sides(run, lane), images, seed, overlaid)
(st.fragment(draw, run_every=1) if active else draw)(view, specs, bool(active))
