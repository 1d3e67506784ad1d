"""How far a run is, in words, and how long what it is doing now goes on. No Streamlit.

A run has phases that take their time for reasons of their own: loading, the choice of a layer, the
steps. What is left is told from the pace within the present phase and for that phase alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dashboard.charts.titles import lane_title
from dashboard.kit import library
from ngf.runs.phases import choosing, chosen_now

Event = Mapping[str, Any]

_ENOUGH = 0.02  # of a phase: before that its pace says little
_COUNTED = ("step", "epoch")
_BETWEEN = ("choosing", "layer", "left_out", "chosen", "phase", "resumed")  # no part of the steps


@dataclass(frozen=True)
class HowFar:
    """fraction: of the whole run, by its steps.

    words: what it is doing, `NGF step 40 of 100`, escaped for Markdown.
    seconds: left of the present phase; None while its pace is not known.
    until: what there will be then, `the layer is chosen`; empty for the end of the run.
    """

    fraction: float
    words: str
    seconds: float | None = None
    until: str = ""


@dataclass
class _Seen:
    """What was read of the events so far.

    last: the last event of each lane that says how far it is.
    trial: what each lane is choosing, and since when: time and number of the first trial.
    began: time and fraction at the end of what came before the steps.
    """

    last: dict[str, Event] = field(default_factory=dict)
    trial: dict[str, tuple[Event, float, int]] = field(default_factory=dict)
    phase: str = ""
    began: tuple[float, float] = (0.0, 0.0)
    now: float = 0.0

    def add(self, event: Event) -> None:
        kind, lane = event["type"], event.get("lane") or ""
        self.now = event.get("t") or 0.0
        if kind in _COUNTED:
            self.last[lane], self.phase = event, ""
            if event["step"]:
                self.trial.pop(lane, None)
        elif kind == "diverged":
            self.last[lane] = {**event, "steps": event["step"]}
            self.trial.pop(lane, None)
        elif kind == "partial" and event.get("fraction") is not None:
            self.last[""] = {"step": event["fraction"], "steps": 1, "type": "partial"}
        elif kind == "phase":
            self.phase = event["phase"]
        elif kind == "choosing":
            self._try(lane, event)
        elif kind == "chosen":
            self.trial.pop(lane, None)
        elif kind == "resumed":
            self.phase = ""
        if kind in _BETWEEN:
            self.began = self.now, self.fraction

    def _try(self, lane: str, event: Event) -> None:
        number, before = event.get("number") or 0, self.trial.get(lane)
        same = before is not None and before[0].get("what") == event.get("what")
        if same and before is not None and before[2]:
            self.trial[lane] = event, *before[1:]
        else:
            self.trial[lane] = event, self.now, number

    @property
    def fraction(self) -> float:
        done = [
            1.0 if item["type"] == "diverged" else item["step"] / max(1, item["steps"])
            for item in self.last.values()
        ]
        return sum(done) / len(done) if done else 0.0

    def left(self) -> tuple[float | None, str]:
        """Seconds left of the present phase, and what there will be then."""
        if self.trial:
            event, since, first = list(self.trial.values())[-1]
            made, total = (event.get("number") or 0) - first, event.get("total")
            if not total or made < 1:
                return None, ""
            each = (self.now - since) / made
            return each * (total - event["number"] + 1), f"the {chosen_now(event)} is chosen"
        since, before = self.began
        gained = self.fraction - before
        if self.phase or gained <= _ENOUGH or self.fraction >= 1:
            return None, ""
        return (self.now - since) / gained * (1 - self.fraction), ""


def how_far(events: Sequence[Event]) -> HowFar:
    """How far the run is that has told these events."""
    seen = _Seen()
    for event in events:
        seen.add(event)
    if seen.phase or not seen.last:
        said = seen.phase[:1].upper() + seen.phase[1:]
        return HowFar(seen.fraction, library.plain(said))  # may name files
    if seen.last.get("", {}).get("type") == "partial":
        words = f"{100 * seen.fraction:.0f} %"
    else:
        words = ", ".join(_lane(lane, item, seen) for lane, item in seen.last.items())
    return HowFar(seen.fraction, words, *seen.left())


def _lane(lane: str, item: Event, seen: _Seen) -> str:
    """`NGF step 40 of 100`"""
    name = f"{lane_title(lane)} " if lane else ""
    if lane in seen.trial:
        return name + library.plain(choosing(seen.trial[lane][0]))  # may name a layer
    if item["type"] == "diverged":
        return f"{name}diverged at step {item['step']}"
    return f"{name}{item['type']} {item['step']} of {item['steps']}"
