"""Start: the story in three short steps, told by a recorded real race. Nothing to wait for."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard.charts.race import told_along
from dashboard.charts.registry import draw_run
from dashboard.charts.titles import lane_title
from dashboard.kit import damage, glossary, library
from dashboard.kit.pages import pages, script
from dashboard.kit.run_card import before_after, counts, outcome_sentence, provenance
from dashboard.kit.show import show
from dashboard.kit.trigger import show_trigger
from dashboard.kit.url import follow, notice
from dashboard.start import hero, story

follow("start")
st.title("A hidden door in a neural network, and how to close it")
notice("start")
race = library.recording()
hero.show_hero(race)
damage.tell()
if race is None:
    st.info(
        "The recorded race is not there yet; `python -m evidence recordings` makes it. The Lab "
        "works without it.",
        icon=":material/movie:",
    )
else:
    spec, result = race.spec, race.finished()
    trained = race.training()
    lane = race.sound_lanes()[0]
    words, chart = st.columns([2, 3], gap="large")
    with words:
        st.header("1. A few pixels open it")
        st.markdown(story.opening(trained, result["before"]))
        if trained is not None:
            show_trigger(trained, count=5)
        st.header("2. Train on, with clean images only")
        st.markdown(story.training_on(spec))
    with chart:
        st.caption(f"Replay of a real run, recorded step by step. {provenance(race)}")
        events = race.events()
        drawn = replace(draw_run("race", spec, events), findings=told_along(spec, events))
        show(
            drawn,
            "start.race",
            name="the race",
            of=[race],
            scrub=True,
            autoplay=True,
            height=440,
            steps=hero.STEPS,
        )
        glossary.explain(*glossary.RATES, "ngf", "trigger", "target")
    st.header("3. What is left of the door")
    st.caption(f"Before, and after {lane_title(lane)}. *Measured*: {counts(result['before'])}.")
    before_after(result["before"], result["lanes"][lane]["after"])
    st.markdown(f"**What you just saw.** {outcome_sentence(spec, result)} {story.caveat()}")

st.header("Go on")
doors = {name: about for name, about in pages().items() if about.about}
columns = [column for _ in range(0, len(doors), 3) for column in st.columns(3)]  # three per row
for column, (name, about) in zip(columns, doors.items(), strict=False):
    with column.container(border=True):
        st.page_link(
            script(name),
            label=f"**{about.title}**",
            icon=about.icon,
            query_params=story.door_state(name, race),
        )
        st.markdown(about.about)
story.show_evidence()
