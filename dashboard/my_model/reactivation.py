"""After a race: does a handful of pictures with the trigger open the door again?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.reactivation_words import CANNOT, answer, brought, missing, possible
from dashboard.charts.picture import picture_chart
from dashboard.charts.registry import pictures
from dashboard.charts.style import percent
from dashboard.charts.titles import lane_title
from dashboard.kit import library, measuring, readings
from dashboard.kit.show import show as show_chart
from dashboard.kit.submit import show_refusal, submit_all
from ngf.config import Choice, MeasureSpec, Target
from ngf.runs.folder import ACTIVE
from ngf.runs.store import PurifyRun, TrainRun

_PLACE, _NAME = "my_model.reactivation", "reactivation"


def specs(race: PurifyRun) -> dict[str, MeasureSpec]:
    """A measurement for each lane that has left a model."""
    return {
        lane: MeasureSpec(target=str(Target(race.id, lane)), measurement=Choice(_NAME))
        for lane in race.sound_lanes()
    }


def show(run: TrainRun, race: PurifyRun) -> None:
    """run: the imported model that the race began with."""
    st.markdown("**Does the door open again?**")
    if not possible(run):
        st.caption(library.plain(missing(brought(run))))
        return
    asked = specs(race)
    items = list(asked.values())
    states = measuring.progress(items)
    if states.keys() & set(ACTIVE):
        measuring.watch(items, states)
        measuring.show_stop([item.id for item in items], f"{_PLACE}.stop.{race.id}")
    elif measuring.to_do(states):
        show_refusal(_PLACE)
        st.button(
            "Try to open it again",
            icon=":material/lock_open:",
            key=f"{_PLACE}.{race.id}",
            on_click=_start,
            args=(tuple(items),),
            help="Tunes each purified model for 5 epochs on its clean images and 5 of your "
            "pictures with the trigger, and counts the attack success on the other ones. Seconds "
            "for a tiny network. The purified models stay as they are.",
        )
    _told(race, asked)


def _start(asked: tuple[MeasureSpec, ...]) -> None:
    submit_all(_PLACE, *asked)


def _told(race: PurifyRun, asked: dict[str, MeasureSpec]) -> None:
    there = {lane: reading for lane, item in asked.items() if (reading := measuring.read(item))}
    if not there:
        return
    runs = [reading.run for reading in there.values()]
    st.dataframe(
        pd.DataFrame([_row(lane, reading) for lane, reading in there.items()]),
        hide_index=True,
        alt="Attack success of the purified models before and after they saw poisoned pictures",
        key=f"{_PLACE}.table.{race.id}",
    )
    show_chart(
        picture_chart(readings.findings(runs), pictures()[_NAME]),
        f"{_PLACE}.{race.id}.chart",
        name="attack success along the epochs",
        of=runs,
        height=260,
    )
    values = next(iter(there.values())).values
    st.caption(library.plain(f"{values['note']} Brackets and bands: 95 % intervals. {CANNOT}"))


def _row(lane: str, reading: readings.Reading) -> dict[str, str]:
    """One line: rates with their intervals, and what they say."""
    values = reading.values

    def rate(when: str) -> str:
        value = values.get(f"asr_{when}")
        if value is None:
            return "–"
        low, high = (values[f"asr_{when}_{end}"] for end in ("low", "high"))
        return f"{percent(value)} ({percent(low)} to {percent(high)})"

    after = values.get("right_after")
    right = "–" if after is None else f"{percent(values['right_before'])} → {percent(after)}"
    return {
        "Defense": lane_title(lane),
        "What that says": "–" if values.get("asr_after") is None else answer(values),
        "Attack success before": rate("before"),
        "After": rate("after"),
        "Clean accuracy": right,
    }
