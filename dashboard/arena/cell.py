"""One cell of the arena: its models, and the ways to see it happen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.charts.arena_curve import AXES, RATES, curve_chart
from dashboard.charts.arena_heat import NONE
from dashboard.charts.arena_titles import arena_title
from dashboard.charts.style import signed
from dashboard.kit import library, url
from dashboard.kit.forms import lane_to_text
from dashboard.kit.pages import script
from dashboard.kit.show import show
from ngf.config import Choice

Row = Mapping[str, Any]
Found = Mapping[str, Any]
BEFORE = "before"
BESIDE = ("ft", "ngf_strong")  # the methods that a recorded curve stands beside at first


def show_cell(found: Found, names: Sequence[str], attacks: Sequence[str]) -> tuple[str, str]:
    """The cell that is open: by two boxes, which a click on the map fills. Returns attack and
    method.
    """
    methods = found["about"]["methods"]
    for key, allowed in (("arena.method", names), ("arena.attack", attacks)):
        if st.session_state.get(key) not in allowed:
            st.session_state[key] = allowed[0]
    one, two = st.columns(2)
    method = one.selectbox(
        "Defense", names, format_func=lambda name: arena_title(name, methods), key="arena.method"
    )
    attack = two.selectbox("Attack", attacks, format_func=_attack, key="arena.attack")
    rows = [row for row in found["models"] if row["attack"] == attack]
    after = [row for row in rows if row["method"] == method]
    if not after:
        st.info("This cell is not measured yet.", icon=":material/hourglass_empty:")
        return attack, method
    before = {row["run"]: row for row in rows if row["method"] == BEFORE}
    st.dataframe(
        [_of_model(row, before[row["run"]]) for row in after], hide_index=True, width="stretch"
    )
    _way(found, attack, method)
    _links(methods[method], after)
    return attack, method


def _way(found: Found, attack: str, method: str) -> None:
    """The recorded curves of the open cell, beside those of other methods on the same model."""
    methods = found["about"]["methods"]
    curves = {row["method"]: row for row in found["curves"] if row["attack"] == attack}
    if method not in curves:
        return
    with st.expander("Watch it happen: recorded curves", icon=":material/show_chart:"):
        one, two = st.columns([3, 1])
        beside = one.multiselect(
            "Beside it",
            [name for name in curves if name != method],
            default=[name for name in BESIDE if name in curves and name != method],
            max_selections=4,
            format_func=lambda name: arena_title(name, methods),
            key="arena.beside",
        )
        axis = two.segmented_control(
            "Along", list(AXES), format_func=AXES.__getitem__, default="seconds", key="arena.along",
            required=True,
        )  # fmt: skip
        assert axis
        shown = [curves[name] for name in (method, *beside)]
        rates = [rate for rate in RATES if None not in shown[0][rate]]
        for column, rate in zip(st.columns(len(rates)), rates, strict=True):
            with column:
                show(
                    curve_chart(shown, rate, axis, methods),
                    f"arena.curve.{rate}",
                    name=f"{RATES[rate]} on the way",
                    height=320,
                )
        st.caption(
            f"One model ({shown[0]['run']}), one purification each, counted on up to "
            f"{found['about']['watched']} test images of each kind; seconds are those of the "
            "method alone."
        )


def _attack(name: str) -> str:
    return "Benign models" if name == NONE else library.title("attacks", name)


def _of_model(row: Row, before: Row) -> dict[str, Any]:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.1f}"

    return {
        "Model of seed": row["seed"],
        "ASR before %": share(before["asr"]),
        "ASR left %": share(row["asr"]),
        "ASR reactivated %": share(row["asr_reactivated"]),
        "RA %": share(row["ra"]),
        "CA before %": share(before["ca"]),
        "CA %": share(row["ca"]),
        "CA lost, points": signed(row["ca_lost"]),
        "Purification seeds": row["purification_seeds"],
    }


def _links(lane: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """To the Lab, with this model and method set; and to its recorded race, if it ships."""
    run = str(rows[0]["run"])
    choice = Choice(str(lane["name"]), dict(lane["options"]))
    with st.container(horizontal=True):
        st.page_link(
            script("lab"),
            label="Run it here",
            icon=":material/play_arrow:",
            query_params=url.address("lab", {"model": run, "lane": (lane_to_text(choice),)}),
        )
        recorded = [race for race in library.recordings() if race.spec.parent == run]
        for race in recorded[:1]:
            st.page_link(
                script("lab"),
                label="Watch the recorded race",
                icon=":material/movie:",
                query_params={"run": race.id},
            )
        st.page_link(
            script("compare"),
            label="Compare the runs of this attack",
            icon=":material/compare_arrows:",
            query_params=url.address("compare", {"attack": (str(rows[0]["attack"]),)}),
        )


def caption(about: Mapping[str, Any]) -> str:
    """What every number is of."""
    machines = " or ".join(
        sorted({f"{of['hardware']}, torch {of['torch']}" for of in about["environments"]})
    )
    so_far = (
        f" So far {about['rows']:,} of {about['rows_planned']:,} planned purifications are there."
        if about["rows"] < about["rows_planned"]
        else ""
    )
    return (
        f"*Measured*: {about['models']} models on {library.title('data', 'signs')}, each method at "
        f"its defaults with {about['num_clean']} clean images in all, strong augmentation, whole "
        f"test set. Reactivation: {about['poisoned']} poisoned images, 5 epochs.{so_far} "
        f"Seconds are those of one core while others computed. {machines}."
    )
