"""Paired differences on the page: which two values, and what they did to the same models."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard.charts.compared import Entry
from dashboard.charts.differences import MODEL_FIELDS, differences_chart, left_out, pair_up
from dashboard.compare import FIELDS
from dashboard.kit import library
from dashboard.kit.show import show

SIDES = {"first": "From", "second": "to"}  # parameters of the page, and their labels


def field_of(by: str) -> str:
    """By which field pairs are made: that of the colors, unless its values share no model and
    seed.
    """
    return "method" if by in (*MODEL_FIELDS, "seed") else by


def options_of(shown: Sequence[Entry], by: str) -> dict[str, str]:
    """The values that pairs can be made of, in words by their keys; the usual second one first."""
    field = field_of(by)
    values = {entry.fields[field] for entry in shown if entry.purified}
    return {value.key: value.words for value in sorted(values, key=lambda value: value.place)}


def take(asked: dict[str, str], options: dict[str, str]) -> list[str]:
    """Choose the two values of a link, the usual ones where it names none. Returns what it names
    that there is not.
    """
    for name in SIDES:
        st.session_state.pop(f"compare.{name}", None)
        if asked[name] in options:
            st.session_state[f"compare.{name}"] = asked[name]
    return [value for value in asked.values() if value and value not in options]


def show_pairs(
    shown: Sequence[Entry], by: str, options: dict[str, str], usual: dict[str, str]
) -> None:
    """The two selects and the differences; a sentence where there is nothing to pair."""
    if not options:
        return
    st.header("Paired differences")
    if len(options) < 2:
        st.caption(
            f"All that is ticked has one {FIELDS[field_of(by)].lower()}. Tick runs of another on "
            "the same models to see how they differ."
        )
        return
    first, second = _choose(options, usual)
    if field_of(by) != by:
        st.caption(
            f"Two values of “{FIELDS[by].lower()}” never share model and seed, so methods are "
            "compared."
        )
    if first == second:
        st.info("Choose two different values.", icon=":material/compare_arrows:")
        return
    paired = pair_up(shown, field_of(by), first, second)
    if not paired.pairs:
        said = f"{paired.first} and {paired.second} share no model and seed. {left_out(paired)}"
        st.info(library.plain(said), icon=":material/link_off:")
        return
    show(differences_chart(paired), "compare.pairs", name="paired differences", height=240)
    st.caption(
        "*Measured* on all test images, at the end of each run. A pair shares model, purification "
        "seed and all that is left of method. Small: each pair. Bars: 95 % t interval of the mean."
    )


def usual_of(shown: Sequence[Entry], by: str, options: dict[str, str]) -> dict[str, str]:
    """To the first value, such as NGF, from the one with which it has most pairs; empty where there
    are no two.
    """
    to, *others = options or [""]
    if not others:
        return {}

    def count(key: str) -> int:
        return len(pair_up(shown, field_of(by), key, to).pairs)

    return {"first": max(others, key=count), "second": to}


def chosen(usual: dict[str, str]) -> dict[str, str]:
    """What the address says of the choice: nothing where it is the usual one."""
    found = {name: str(st.session_state.get(f"compare.{name}", "")) for name in SIDES}
    return found if usual and found != usual else {}


def _choose(options: dict[str, str], usual: dict[str, str]) -> tuple[str, str]:
    with st.container(horizontal=True):
        for name, label in SIDES.items():
            key = f"compare.{name}"
            if st.session_state.get(key) not in options:
                st.session_state[key] = usual[name]
            st.selectbox(label, list(options), key=key, format_func=options.__getitem__, width=260)
    return st.session_state["compare.first"], st.session_state["compare.second"]
