"""Learn: the argument in five steps. Each asks first, then shows, then lets one try."""

from __future__ import annotations

import streamlit as st

from dashboard.kit import library, url
from dashboard.learn import STEPS
from dashboard.learn.lesson import Lesson, files, filled, parse
from dashboard.learn.steps import SHOWN, Numbers

VIEWS = {
    "": ("Read", ":material/menu_book:"),
    "present": ("Present", ":material/co_present:"),
    "handout": ("Handout", ":material/print:"),
}
# For a projector: large type and the picture, without what is around a page.
LARGE = """<style>
[data-testid="stHeader"], .st-key-copy-link { display: none; }
[data-testid="stMainBlockContainer"] { padding: 1rem 2.5rem; --ngf-scale: 1.35; }
[data-testid="stMainBlockContainer"] :is(p, li, button, output, [role="radiogroup"] label) {
  font-size: 1.4rem; line-height: 1.4; }
[data-testid="stMainBlockContainer"] h2 { font-size: 2.6rem; padding-top: 0; }
[data-testid="stExpander"], .ngf-live .ngf-save { display: none; }
</style><span></span>"""
PRINTED = """<style>
@media print {
  [data-testid="stHeader"], .st-key-copy-link, .st-key-learn_views, .ngf-save, .ngf-scrub,
  [data-testid="stExpander"] { display: none !important; }
  [data-testid="stMain"], [data-testid="stAppViewContainer"], .stApp {
    position: static !important; overflow: visible !important; height: auto !important; }
  h2 { break-after: avoid; }
}
</style><span></span>"""


def lesson_of(step: int) -> Lesson | None:
    """The text of a step; where it cannot be read, the page says why."""
    try:
        path = files()[step - 1]
        return parse(path.read_text(encoding="utf-8"), path.name)
    except IndexError:
        st.info(
            "The text of this lesson is not there: put assets/lessons back.",
            icon=":material/school:",
        )
    except (OSError, ValueError) as error:
        st.error(f"This lesson cannot be shown. {library.plain(error)}", icon=":material/error:")
    return None


def ask(step: int, lesson: Lesson, numbers: Numbers, *, briefly: bool) -> bool:
    """Text and question, and after a guess the answer. Returns whether there was one.

    briefly: without the text, which a teacher says.
    """
    if not briefly:
        st.markdown(filled(lesson.text, numbers))
    st.markdown(f"**{filled(lesson.question, numbers)}**")
    guess = st.radio(
        "Your guess",
        range(len(lesson.answers)),
        index=None,
        key=f"learn.guess.{step}",
        format_func=lambda place: filled(lesson.answers[place], numbers),
        label_visibility="collapsed" if briefly else "visible",
    )
    if guess is None:
        return False
    right = guess == lesson.right
    told = "That is it." if right else "It is another one:"
    answer = "" if right else f" *{filled(lesson.answers[lesson.right], numbers)}.*"
    st.markdown(f"**{told}**{answer}")
    if not briefly:
        st.markdown(filled(lesson.reveal, numbers))
    return True


def turn(step: int) -> None:
    """Buttons to the neighbors of a step; the arrow keys press them."""
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        for label, to, icon, key in (
            ("Back", step - 1, ":material/arrow_back:", "left"),
            ("Next", step + 1, ":material/arrow_forward:", "right"),
        ):
            st.button(
                label,
                icon=icon,
                key=f"learn.{label.lower()}",
                shortcut=key,
                disabled=not 1 <= to <= STEPS,
                on_click=st.session_state.__setitem__,
                args=("learn.step", to),
            )


def one_step(step: int, *, large: bool) -> None:
    """One step with its question; `large` for a projector."""
    lesson = lesson_of(step)
    if lesson is None:
        return
    st.header(f"{step}. {lesson.title}", anchor=False)
    about = SHOWN[step - 1]
    numbers = about.numbers()
    words, picture = st.columns([1, 2] if large else [2, 3], gap="large")
    with words:
        answered = ask(step, lesson, numbers, briefly=large)
    with picture:
        about.shown(answered)
        if answered and not large:
            st.markdown(f":material/touch_app: {filled(lesson.exercise, numbers)}")
    turn(step)


def handout() -> None:
    """All steps below each other, answers included, to be printed from the browser."""
    st.html(PRINTED)
    st.caption("All five steps with their answers on one page. Print it from the browser.")
    for step in range(1, STEPS + 1):
        lesson = lesson_of(step)
        if lesson is None:
            continue
        numbers = SHOWN[step - 1].numbers()
        st.header(f"{step}. {lesson.title}", anchor=False)
        st.markdown(filled(lesson.text, numbers))
        st.markdown(f"**{filled(lesson.question, numbers)}**")
        st.markdown(
            "\n".join(
                f"- {filled(answer, numbers)}{' ✓' if place == lesson.right else ''}"
                for place, answer in enumerate(lesson.answers)
            )
        )
        st.markdown(filled(lesson.reveal, numbers))
        SHOWN[step - 1].shown(True)


values, fresh = url.follow("learn")
url.restore_widgets("learn", values, fresh)
view: str = st.session_state["learn.view"]
if view == "present":
    st.html(LARGE)
else:
    st.title("Learn")
url.notice("learn")
with st.container(key="learn_views", horizontal=True, horizontal_alignment="distribute"):
    if view != "handout":
        st.segmented_control(
            "Step",
            list(range(1, STEPS + 1)),
            key="learn.step",
            required=True,
            label_visibility="collapsed",
        )
    st.segmented_control(
        "View",
        list(VIEWS),
        key="learn.view",
        required=True,
        format_func=lambda name: f"{VIEWS[name][1]} {VIEWS[name][0]}",
        label_visibility="collapsed",
    )
if view == "handout":
    handout()
else:
    one_step(st.session_state["learn.step"], large=view == "present")
url.write("learn", {"step": st.session_state.get("learn.step", 1), "view": view})
