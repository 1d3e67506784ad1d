"""The races and their ends, with what stands above and below them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard.charts.before_after import before_after_chart, dots
from dashboard.charts.compared import Entry
from dashboard.charts.overlay import overlay_chart
from dashboard.charts.rates import RATES
from dashboard.compare import FIELDS
from dashboard.kit.show import show

CA, ASR, RA = RATES
BY_KEY = {rate.key: rate for rate in (ASR, CA, RA)}  # in the order of the panels
USUAL = (ASR.key, CA.key)


def choose_look() -> tuple[str, list[str], bool]:
    """By which field models are colored, which rates are drawn, and whether as means."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = st.selectbox(
            "Color and group by",
            list(FIELDS),
            key="compare.by",
            format_func=FIELDS.__getitem__,
            width=240,
        )
        rates = st.pills(
            "Rates by step",
            list(BY_KEY),
            selection_mode="multi",
            key="compare.rate",
            format_func=lambda key: BY_KEY[key].short,
            help="ASR: attack success rate. CA: clean accuracy. RA: robust accuracy.",
            width="content",
        )
        means = st.toggle(
            "Mean of each group",
            key="compare.mean",
            help="With a 95 % t interval over its models, or over purification seeds where it has "
            "one model only.",
        )
    return by, [key for key in BY_KEY if key in rates] or list(USUAL), means


def show_races(shown: Sequence[Entry], rates: Sequence[str], *, means: bool) -> None:
    """All curves on one axis; nothing where nothing was measured by step."""
    if not any(entry.points for entry in shown):
        st.info(
            "Nothing of what is ticked was measured step by step: there are no curves.",
            icon=":material/show_chart:",
        )
        return
    chart = overlay_chart(shown, [BY_KEY[key] for key in rates], means=means)
    show(chart, "compare.races", name="races", height=150 + 150 * len(rates))
    said = " Bands: 95 % t interval of the mean, where a group has more than one of what is said "
    said += "after n. Thin: single runs."
    st.caption(
        "*Measured* between the steps, on a fixed part of the test images; the ends below on all "
        f"of them.{said if means else ''}"
    )


def show_ends(shown: Sequence[Entry], *, means: bool) -> None:
    """Both rates before and after, side by side."""
    st.header("Before and after")
    for column, rate in zip(st.columns(2), (ASR, CA), strict=True):
        found = dots(shown, rate, means=means)
        with column:
            if not found:
                st.caption(f"No {rate.name.lower()}: these models have no backdoor.")
                continue
            show(
                before_after_chart(found, rate),
                f"compare.ends.{rate.key}",
                name=f"{rate.name.lower()} before and after",
                height=110 + 26 * max(2, len(found)),
            )
    bars = (
        "95 % t interval of the mean of the group; none where n is 1"
        if means
        else "95 % Wilson interval over test images, which says nothing of other seeds"
    )
    st.caption(f"Hollow: before. Filled: after. *Measured* on all test images. Bars: {bars}.")
