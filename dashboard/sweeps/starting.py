"""What a sweep would be, told before it starts, and the buttons that start it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.kit import estimate, library
from dashboard.kit.submit import refuse
from dashboard.kit.visitor import visitor, why_not
from dashboard.sweeps.fields import title_of, word_of
from dashboard.sweeps.form import PLACE, as_text
from dashboard.sweeps.plan import Plan
from ngf.runs.submit import REFUSALS
from ngf.sweeps.control import MANY, submit_all
from ngf.sweeps.folder import keep
from ngf.sweeps.spec import SweepSpec

STARTED = "sweeps.started"  # in the session: a sweep to be shown
_SURE = "sweeps.sure"  # in the session: the sweep whose start was asked once
_REASONS, _FEW = 8, 2  # shown one by one, and without a click
_TOLD = 20  # runs between two moves of the bar


def show_plan(plan: Plan) -> None:
    """Counts, time, the queue, what is left out, and the start."""
    count, there = len(plan.sweep.points), len(plan.specs) - len(plan.left)
    st.header(f"{count:,} combination{'' if count == 1 else 's'}")
    told = [f"{plan.counted}."]
    if there:
        told.append(f"{there:,} of them {'is' if there == 1 else 'are'} there already.")
    st.markdown(" ".join([*told, f"**{len(plan.left):,} to compute.**"]))
    if plan.left:
        st.markdown(f":material/timer: {plan.length}")
        if plan.untimed is not None:
            estimate.offer(plan.untimed)
        st.caption(_queue())
    _show_refused(plan)
    _show_start(plan)
    show_texts(plan.sweep.spec)


def _queue() -> str:
    """What the queue means for a sweep."""
    ahead = len(library.store().queue())
    now = "None waits there now" if not ahead else f"{ahead:,} wait there now"
    return (
        f"Its runs join the queue of this store like any others. {now}. Visitors take turns, and "
        "what you ask for singly goes before your sweep. Only you and the terminal of this machine "
        "can pause or cancel them."
    )


def _show_refused(plan: Plan) -> None:
    """Which combinations do not go together, by reason."""
    reasons = plan.sweep.reasons()
    if not reasons:
        return
    total = sum(map(len, reasons.values()))
    with st.expander(
        f"{total:,} combination{' is' if total == 1 else 's are'} left out",
        icon=":material/block:",
        expanded=len(reasons) <= _FEW,
    ):
        for why, which in list(reasons.items())[:_REASONS]:
            more = f" and {len(which) - 1:,} more" if len(which) > 1 else ""
            st.markdown(f"- {library.plain(why)} *{say(plan.sweep.spec, which[0])}{more}*")
        if len(reasons) > _REASONS:
            st.caption(f"and {len(reasons) - _REASONS:,} other reasons.")


def say(spec: SweepSpec, values: Mapping[str, Any]) -> str:
    """`Attack BadNets, Purification seed 0`, escaped for Markdown."""
    return library.plain(
        ", ".join(
            f"{title_of(spec.base, path)} {word_of(spec.base, path, value)}"
            for path, value in values.items()
            if len(spec.axes.get(path, ())) > 1
        )
        or "all of it"
    )


# ---- the start


def _show_start(plan: Plan) -> None:
    """One button; two for very many runs."""
    sweep, wanted = plan.sweep, len(plan.left) - plan.waiting
    if not wanted:
        if st.button("Show it", icon=":material/visibility:", key="sweeps.show", type="primary"):
            _start(plan)
        return
    many = wanted > MANY
    words = f"Start {wanted:,} run{'' if wanted == 1 else 's'}{' …' if many else ''}"
    if st.button(words, icon=":material/play_arrow:", key="sweeps.start", type="primary"):
        if not many:
            _start(plan)
        st.session_state[_SURE] = sweep.id
    if many and st.session_state.get(_SURE) == sweep.id:
        st.warning(
            f"There are {wanted:,} runs to compute. {plan.length} Do you mean it?",
            icon=":material/help:",
        )
        with st.container(horizontal=True):
            if st.button(f"Yes, start {wanted:,} runs", key="sweeps.sure_yes"):
                _start(plan)
            st.button("No", key="sweeps.sure_no", on_click=_not_sure)


def _not_sure() -> None:
    st.session_state.pop(_SURE, None)


def _start(plan: Plan) -> None:
    """Keep the sweep, put its runs into the queue, and show it."""
    store, sweep, total = library.store(), plan.sweep, len(plan.left)
    bar = st.progress(0.0, f"Asking for {total:,} runs …")

    def tell(count: int) -> None:
        if count % _TOLD == 0:
            bar.progress(count / total, f"Asking for {total:,} runs: {count:,} …")

    refuse(PLACE, None)
    _not_sure()
    try:
        keep(store, sweep)
        submit_all(
            {name: plan.specs[name] for name in plan.left},
            store,
            sweep.id,
            owner=visitor().id,
            may=lambda run: not why_not(run, "resume"),
            tell=tell,
        )
    except REFUSALS as error:
        refuse(PLACE, error)
        st.rerun()
    st.session_state[STARTED] = sweep.id
    st.rerun()


def show_texts(spec: SweepSpec) -> None:
    """The same as JSON and as a command, to copy."""
    text = as_text(spec)
    with st.expander("The same as JSON and in a terminal", icon=":material/terminal:"):
        st.code(text, language="json", height=240)
        st.download_button(
            "Download JSON",
            text,
            "sweep.json",
            "application/json",
            key="sweeps.download",
            icon=":material/download:",
            on_click="ignore",
        )
        st.code("python -m ngf sweep sweep.json", language="sh")
        st.caption(
            "With the file beside it. `--dry-run` only says what would be run; while a dashboard "
            "serves this store, it executes the runs."
        )
