"""After a race: how much of what opened the model before still opens what defenses made of it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.yardstick_words import CANNOT, shipped_surrogate, trust
from dashboard.charts.style import listed, percent
from dashboard.charts.titles import lane_title
from dashboard.kit import library, measuring
from dashboard.kit.submit import show_refusal, submit_all
from ngf.config import Choice, MeasureSpec, Target
from ngf.runs.folder import ACTIVE
from ngf.runs.store import PurifyRun

_PLACE = "my_model.yardstick"
_TRAINED_AGAINST = ("neural_cleanse", "i_bau", "sau", "bti_dbf", "pam")


def specs(race: PurifyRun) -> dict[str, MeasureSpec]:
    """A measurement for each lane that has left a model."""
    return {
        lane: MeasureSpec(target=str(Target(race.id, lane)), measurement=Choice("yardstick"))
        for lane in race.sound_lanes()
    }


def show(race: PurifyRun) -> None:
    st.markdown("**What still opens it?**")
    asked = specs(race)
    states = measuring.progress(list(asked.values()))
    if states.keys() & set(ACTIVE):
        measuring.watch(list(asked.values()), states)
        measuring.show_stop([item.id for item in asked.values()], f"{_PLACE}.stop.{race.id}")
    elif measuring.to_do(states):
        show_refusal(_PLACE)
        st.button(
            "Apply the yardstick",
            icon=":material/straighten:",
            key=f"{_PLACE}.{race.id}",
            on_click=_start,
            args=(tuple(asked.values()),),
            help="Searches your model for patches and slight changes that send all images to one "
            "class, and shows the same ones to the purified models. A minute for a tiny network.",
        )
    rows = [row for lane, item in asked.items() if (row := _row(lane, item))]
    if rows:
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            alt="What still opens the purified models, and how far their predictions moved",
            key=f"{_PLACE}.table.{race.id}",
        )
        st.caption(library.plain(f"{trust(shipped_surrogate())} {CANNOT}{_flattered(list(asked))}"))


def _flattered(lanes: list[str]) -> str:
    """Who was trained against what the yardstick is made of."""
    own = [lane_title(lane) for lane in lanes if lane in _TRAINED_AGAINST]
    if not own:
        return ""
    return f" It may flatter {listed(own)}, trained against changes of this kind."


def _start(asked: tuple[MeasureSpec, ...]) -> None:
    submit_all(_PLACE, *asked)


def _row(lane: str, item: MeasureSpec) -> dict[str, str] | None:
    """One line: shares with their intervals; None until something is known."""
    reading = measuring.read(item)
    if reading is None:
        return None

    def share(name: str) -> str:
        value = reading.values.get(name)
        if value is None:
            return "–"
        low, high = reading.values[f"{name}_low"], reading.values[f"{name}_high"]
        return f"{percent(value)} ({percent(low)} to {percent(high)})"

    nothing = reading.values.get("opened") == 0
    return {
        "Defense": lane_title(lane),
        "Still open": "nothing opened it before" if nothing else share("left"),
        "Predictions moved": share("moved"),
        "Clean images": str(reading.values.get("n", "–")),
    }
