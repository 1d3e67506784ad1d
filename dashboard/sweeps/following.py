"""How far a sweep is, what has failed, and the buttons that pause, resume and cancel all of it. The
store holds it all: a page that is loaded again goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import streamlit as st

from dashboard.kit import library, url, visitor
from dashboard.kit.pages import script
from dashboard.kit.submit import refuse, show_refusal
from dashboard.sweeps.fields import title_of
from dashboard.sweeps.starting import say
from ngf.options import SpecError
from ngf.runs.folder import ACTIVE, OPEN
from ngf.runs.store import Run
from ngf.runs.submit import REFUSALS
from ngf.sweeps import folder
from ngf.sweeps.control import cancel, pause, submit_all
from ngf.sweeps.folder import Seen, Sweep
from ngf.sweeps.spec import SweepSpec
from ngf.sweeps.timing import left_in_words

PLACE = "sweeps.following"  # where a refusal is said
WORDS = {
    "running": "running",
    "queued": "waiting",
    "paused": "paused",
    "lost": "interrupted",
    "failed": "failed",
    "cancelled": "stopped",
    "missing": "not asked for",
}
_AGAIN = ("cancelled", "missing")  # what “Resume all” asks for beside what is paused
_MOVES = (*ACTIVE, "lost")  # states in which more happens by itself
_REASONS, _RUNS = 6, 3  # failures shown one by one
_FRESH = 1.0  # seconds that all visitors share one look
_EVERY, _SLOW = 2.0, 500  # seconds between two looks, and runs for each of which it is one more


# ---- what there is


def choose() -> Sweep | None:
    """One of the sweeps of the store, the newest first; None when there is none to show."""
    names = folder.names(library.store())
    if not names:
        st.info(
            "There is no sweep in this store yet. Put one together under “Build”.",
            icon=":material/grid_on:",
        )
        return None
    if st.session_state.get("sweeps.sweep") not in names:
        st.session_state["sweeps.sweep"] = names[0]
    name = st.selectbox("Sweep", names, key="sweeps.sweep", format_func=_label)
    try:
        return load(name)
    except SpecError as error:
        st.error(library.plain(error), icon=":material/error:")
        return None


def load(name: str) -> Sweep:
    """Raises SpecError."""
    store = library.store()
    try:
        changed = folder.path_of(store, name).stat().st_mtime_ns
    except FileNotFoundError:
        changed = 0
    return _load(str(store.root), name, changed)


@st.cache_resource(max_entries=32, show_spinner=False)
def _load(root: str, name: str, changed: int) -> Sweep:
    return folder.load(library.store(), name)


def _label(name: str) -> str:
    """`3 Attack × 5 Trust region × 3 Purification seed · sweep-0123456789`"""
    try:
        spec = load(name).spec
    except SpecError:
        return f"{name} (damaged)"
    return f"{describe(spec)} · {name}"


def describe(spec: SweepSpec) -> str:
    parts = [
        f"{title_of(spec.base, path)} ({len(values):,})"
        for path, values in spec.axes.items()
        if len(values) > 1
    ]
    return " × ".join(parts) or "one run"


def look(sweep: Sweep) -> Seen:
    """Its runs now, or up to a second ago unless something was asked of them since."""
    store = library.store()
    return _look(str(store.root), sweep.id, store.wake_time(), store.changed(), sweep)


@st.cache_resource(ttl=_FRESH, max_entries=16, show_spinner=False)
def _look(root: str, name: str, woken: int, changed: int, _sweep: Sweep) -> Seen:
    return _sweep.seen(library.store())


def every(sweep: Sweep, seen: Seen) -> float | None:
    """Seconds between two looks; None where nothing more happens by itself."""
    if not moves(seen.states()):
        return None
    return max(_EVERY, len(sweep.runs) / _SLOW)


def moves(states: Counter[str]) -> bool:
    return any(states[name] for name in _MOVES)


# ---- how far it is


def show_progress(sweep: Sweep, seen: Seen) -> None:
    """Counts, the time left, what can be done, and what has failed and why."""
    states = seen.states()
    moving = moves(states)
    left = left_in_words(seen) if moving else ""
    st.progress(
        states["done"] / max(1, states.total()), " · ".join(filter(None, [sentence(states), left]))
    )
    if moving and not library.store().supervised:
        st.warning(
            "Nothing executes runs at the moment. `make dashboard` starts what does.",
            icon=":material/power_off:",
        )
    if refused := len(sweep.refused):
        st.caption(f"{refused:,} combinations were left out, as they do not go together.")
    show_refusal(PLACE)
    _show_commands(sweep, seen, states)
    _show_failures(sweep, seen)


def sentence(states: Counter[str]) -> str:
    """`12 of 40 runs done, 2 running, 26 waiting`"""
    more = "".join(f", {states[name]:,} {word}" for name, word in WORDS.items() if states[name])
    return f"{states['done']:,} of {states.total():,} runs done{more}"


def _show_commands(sweep: Sweep, seen: Seen, states: Counter[str]) -> None:
    open_ = _runs(seen, OPEN)
    mine = visitor.mine(open_)
    paused = sum(_is_paused(seen, run.id) for run in mine)
    again = paused + sum(states[name] for name in _AGAIN)
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(mine) > paused:
            _button("Pause all", "pause", _pause, sweep)
        if again:
            _button(f"Resume all ({again:,})", "play_arrow", _resume, sweep)
        if mine:
            _button("Cancel all", "stop", _cancel, sweep)
    if others := len(open_) - len(mine):
        st.caption(
            f":material/visibility: {others:,} of its runs were asked for by somebody else: only "
            "they, or the terminal of this machine, can pause or cancel those."
        )
    elsewhere = sum(run.request["sweep"] != sweep.id for run in mine)
    if elsewhere:
        st.caption(
            f"{elsewhere:,} of its runs were asked for elsewhere as well, singly or by another "
            "sweep. What is done to all is done to them, too."
        )


def status_of(seen: Seen, run: str) -> str:
    state = seen.runs[run]
    return state.status if state else "missing"


def _is_paused(seen: Seen, run: str) -> bool:
    """Whether it was told to pause, also where it has not noticed it yet."""
    state = seen.runs[run]
    return state is not None and state.status in OPEN and state.facts.command == "pause"


def _button(words: str, icon: str, command: Callable[[str], None], sweep: Sweep) -> None:
    st.button(
        words,
        icon=f":material/{icon}:",
        key=f"sweeps.{icon}",
        on_click=command,
        args=(sweep.id,),
    )


def _runs(seen: Seen, states: Sequence[str]) -> list[Run]:
    return [state.run for state in seen.runs.values() if state and state.status in states]


# ---- the buttons


def _pause(name: str) -> None:
    """Pause what waits or runs and is the visitor's, for a button."""
    pause(visitor.mine(_runs(load(name).seen(library.store()), ACTIVE)))


def _cancel(name: str) -> None:
    """Cancel what has not ended and is the visitor's, for a button."""
    cancel(visitor.mine(_runs(load(name).seen(library.store()), OPEN)))


def _resume(name: str) -> None:
    """Ask for what is paused, was cancelled or is not there, for a button."""
    sweep = load(name)
    seen = sweep.seen(library.store())
    _ask(sweep, [r for r in seen.runs if _is_paused(seen, r) or status_of(seen, r) in _AGAIN])


def _retry(name: str, runs: Sequence[str]) -> None:
    """Ask for failed runs once more, for a button."""
    _ask(load(name), runs)


def _ask(sweep: Sweep, wanted: Sequence[str]) -> None:
    """Put these runs of a sweep into the queue, in the order of the sweep."""
    store, asked = library.store(), set(wanted)
    known = {name: run.spec for name in asked if (run := store.find(name)) is not None}
    refuse(PLACE, None)
    try:
        specs = known if len(known) == len(asked) else sweep.spec.expand(store).specs()
        submit_all(
            {name: specs[name] for name in sweep.runs if name in asked and name in specs},
            store,
            sweep.id,
            owner=visitor.visitor().id,
            may=lambda run: not visitor.why_not(run, "resume"),
        )
    except REFUSALS as error:
        refuse(PLACE, error)


# ---- what has failed


def _show_failures(sweep: Sweep, seen: Seen) -> None:
    """By reason, with what was asked for and a button that tries again."""
    reasons: dict[str, list[str]] = {}
    for run, why in seen.failures().items():
        reasons.setdefault(why, []).append(run)
    if not reasons:
        return
    total = sum(map(len, reasons.values()))
    values = {run: values for values, run in sweep.points}
    first = library.plain(url.short(next(iter(reasons))))
    with st.expander(f"{total:,} failed: {first}", icon=":material/error:", key="sweeps.failures"):
        for place, (why, runs) in enumerate(list(reasons.items())[:_REASONS]):
            st.markdown(f"**{len(runs):,} ×** {library.plain(why)}")
            with st.container(horizontal=True, vertical_alignment="center"):
                for run in runs[:_RUNS]:
                    st.page_link(
                        script("runs"),
                        label=say(sweep.spec, values[run]) if run in values else library.plain(run),
                        query_params={"run": run},
                    )
                if len(runs) > _RUNS:
                    st.caption(f"and {len(runs) - _RUNS:,} more")
                st.button(
                    "Retry" if len(runs) == 1 else f"Retry these {len(runs):,}",
                    icon=":material/replay:",
                    key=f"sweeps.retry.{place}",
                    on_click=_retry,
                    args=(sweep.id, runs),
                )
        if len(reasons) > 1:
            st.button(
                f"Retry all {total:,}",
                icon=":material/replay:",
                key="sweeps.retry.all",
                on_click=_retry,
                args=(sweep.id, list(seen.failures())),
            )
