"""A page with two live charts, for tests/dashboard/components/test_live_component.py: a race that
scrubs, and a surface.
"""

from __future__ import annotations

import streamlit as st

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.race import race_chart
from dashboard.charts.registry import WAITING
from dashboard.components.live_chart import live_chart
from dashboard.kit.library import store
from dashboard.kit.show import show
from tests.helpers.run_folders import RACE

st.title("Live charts")
st.session_state["runs"] = st.session_state.get("runs", 0) + 1
st.button("Run again")
st.caption(f"script run {st.session_state['runs']}")
if "only" not in st.query_params or st.query_params["only"] == "race":
    live_chart(
        race_chart(RACE, store().get(RACE.id).events()),
        key="race",
        every_ms=100,
        scrub=True,
        url=f"api/runs/{RACE.id}/charts/race",
    )
if st.query_params.get("only") == "replay":
    live_chart(
        race_chart(RACE, store().get(RACE.id).events()), key="replay", scrub=True, autoplay=True
    )
if st.query_params.get("only") == "saved":
    run = store().get(RACE.id)
    show(race_chart(RACE, run.events()), "saved", name="race curves", of=[run])
if st.query_params.get("only") == "surface":
    empty: Chart = make_chart([], {}, [], "")
    live_chart(empty, key="surface", url="test/surface", every_ms=100)
if st.query_params.get("only") == "gone" and not st.toggle("Hide", key="hide"):
    live_chart(
        race_chart(RACE, store().get(RACE.id).events()),
        key="gone",
        every_ms=100,
        url=f"api/runs/{RACE.id}/charts/race",
    )
if st.query_params.get("only") == "linked":
    shape = st.segmented_control("Shape", ["surface", "contour"], default="surface", required=True)
    z = [[x * y for x in range(-3, 4)] for y in range(-3, 4)]
    for name, kind in (("one", "surface"), ("two", shape)):
        live_chart(
            make_chart(
                [{"type": kind, "z": z, "showscale": False}],
                {"scene": {"aspectmode": "cube"}} if kind == "surface" else {},
                [{"x": 1}],
                f"{name}: {kind}.",
            ),
            key=f"linked.{name}",
            title=f"Picture {name}",
            link="pair",
            height=300,
        )
if st.query_params.get("only") == "map":
    cells = {"type": "heatmap", "z": [[1, 2], [3, 4]], "showscale": False}
    live_chart(make_chart([cells], {"meta": {"least": 500}}, [{"x": 1}], "A map."), key="map")
if st.query_params.get("only") == "waiting":
    live_chart(
        Chart(WAITING, [], "Nothing measured yet."),
        key="waiting",
        url="test/surface",
        every_ms=100,
    )
