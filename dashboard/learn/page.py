"""Learn: the argument in five steps. Each asks first, then shows, then lets one try."""

from __future__ import annotations

import streamlit as st

from dashboard.kit import library, url
from dashboard.learn import STEPS
from dashboard.learn.lesson import files, filled, parse
from dashboard.learn.steps import SHOWN

values, fresh = url.follow("learn")
url.restore_widgets("learn", values, fresh)
st.title("Learn")
url.notice("learn")
found = files()
st.segmented_control(
    "Step",
    list(range(1, STEPS + 1)),
    key="learn.step",
    required=True,
    label_visibility="collapsed",
)
step: int = st.session_state["learn.step"]
try:
    path = found[step - 1]
    lesson = parse(path.read_text(encoding="utf-8"), path.name)
except IndexError:
    st.info(
        "The text of this lesson is not there: put assets/lessons back.", icon=":material/school:"
    )
except (OSError, ValueError) as error:
    st.error(f"This lesson cannot be shown. {library.plain(error)}", icon=":material/error:")
else:
    about = SHOWN[step - 1]
    numbers = about.numbers()
    st.header(f"{step}. {lesson.title}")
    words, picture = st.columns([2, 3], gap="large")
    with words:
        st.markdown(filled(lesson.text, numbers))
        st.markdown(f"**{filled(lesson.question, numbers)}**")
        guess = st.radio(
            "Your guess",
            range(len(lesson.answers)),
            index=None,
            key=f"learn.guess.{step}",
            format_func=lambda place: filled(lesson.answers[place], numbers),
        )
        if guess is not None:
            right = guess == lesson.right
            told = "That is it." if right else "It is another one:"
            answer = "" if right else f" *{filled(lesson.answers[lesson.right], numbers)}.*"
            st.markdown(f"**{told}**{answer}")
            st.markdown(filled(lesson.reveal, numbers))
    with picture:
        about.shown(guess is not None)
        if guess is not None:
            st.markdown(f":material/touch_app: {filled(lesson.exercise, numbers)}")
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        for label, to, icon in (
            ("Back", step - 1, ":material/arrow_back:"),
            ("Next", step + 1, ":material/arrow_forward:"),
        ):
            st.button(
                label,
                icon=icon,
                key=f"learn.{label.lower()}",
                disabled=not 1 <= to <= STEPS,
                on_click=st.session_state.__setitem__,
                args=("learn.step", to),
            )
url.write("learn", {"step": step})
