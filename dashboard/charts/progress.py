"""Inside the steps of a purification: what each lane tells of itself, panel below panel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeGuard

from dashboard.charts.axes import stack
from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.pixels import per_pixel
from dashboard.charts.race import Steps, last_step, step_title, steps_of
from dashboard.charts.rates import RATES, Event
from dashboard.charts.style import (
    DASHES,
    Mark,
    Trace,
    base_layout,
    escape,
    lane_marks,
    line,
    listed,
    number,
)
from dashboard.charts.titles import lane_title
from ngf.config import PurifySpec

# what every step has, or another chart shows
_ELSEWHERE = {"seq", "t", "type", "lane", "step", "steps", *(rate.key for rate in RATES)}
_COLUMNS = {
    "fisher_trace": "Tr(F) of the tuned layers",
    "distance": "Distance from the start",
    "update_norm": "Length of the update",
    "damping": "Damping",
    "kl": "KL divergence",
    "kl_predicted": "KL divergence that the curvature predicts",
    "radius": "Largest KL divergence allowed",
    "loss": "Training loss",
    "lr": "Learning rate",
}


@dataclass(frozen=True)
class Panel:
    """One quantity over the steps.

    phrase: what it is called in a sentence.
    bound: the key of the largest value that it may have, drawn as a dotted line; a step that has
        none is not drawn.
    """

    key: str
    title: str
    column: str
    phrase: str
    logarithmic: bool = False
    bound: str = ""

    def knows(self, event: Event) -> bool:
        """Whether the event has a value that can be drawn."""
        value = event.get(self.key)
        bounded = not self.bound or _is_number(event.get(self.bound))
        return bounded and _is_number(value) and (value > 0 or not self.logarithmic)


_FISHER = Panel(
    "fisher_trace",
    "Tr(F), tuned layers",
    _COLUMNS["fisher_trace"],
    "the Fisher trace of the tuned layers",
    logarithmic=True,
)
_DISTANCE = Panel(
    "distance", "Distance", _COLUMNS["distance"], "the distance that the weights have moved"
)
# Without its bound it is a number of an earlier version, which was a guess of the curvature.
_KL = Panel(
    "kl", "KL of a step (nats)", _COLUMNS["kl"], "how far a step moves predictions", bound="radius"
)
_LOSS = Panel("loss", "Training loss", _COLUMNS["loss"], "the training loss")


def internals_chart(spec: PurifySpec, events: Iterable[Event]) -> Chart:
    """Fisher trace and distance of fine-tuning, and whatever numbers a defense of another kind puts
    into its steps.
    """
    steps = steps_of(spec, events)
    panels = _panels(steps)
    finding = _finding(steps)
    shown = listed([f"of {panel.phrase}" for panel in panels])
    alt = f"Line chart {shown}, over {last_step(steps)} steps. {finding}" if panels else finding
    return make_chart(_traces(steps, panels), _layout(steps, panels), _rows(steps), finding, alt)


def _own_fields(steps: Steps) -> list[str]:
    """Numbers that only this kind of defense has in its steps."""
    found: dict[str, None] = {}
    for seen in steps.values():
        for event in seen:
            found |= dict.fromkeys(key for key in event if _is_own(key, event[key]))
    return list(found)


def _is_own(key: str, value: Any) -> bool:
    return key not in _COLUMNS and key not in _ELSEWHERE and _is_number(value)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _own(key: str) -> Panel:
    words = _readable(key)
    return Panel(key, words, words, f"“{words.lower()}”")


def _readable(key: str) -> str:
    """`Share pruned`"""
    return key.replace("_", " ").capitalize()


def _panels(steps: Steps) -> list[Panel]:
    """What at least one lane knows; the loss is drawn for lanes that know nothing else."""
    events = [event for seen in steps.values() for event in seen]
    own = [key for key in _own_fields(steps) if len(set(_values(key, events))) > 1]
    known = [_FISHER, _KL, _DISTANCE, *map(_own, own)]  # what never changes is in the table
    wanted: set[Panel] = set()
    for seen in steps.values():
        told = [panel for panel in known if any(map(panel.knows, seen))]
        wanted.update(told or [_LOSS] * any(map(_LOSS.knows, seen)))
    return [panel for panel in (*known, _LOSS) if panel in wanted]


def _traces(steps: Steps, panels: list[Panel]) -> list[Trace]:
    """One line per lane and panel; a lane stands in the legend once."""
    marks = lane_marks(list(steps))
    traces: list[Trace] = []
    told: set[str] = set()
    for place, panel in enumerate(panels, start=1):
        for i, (lane, seen) in enumerate(steps.items()):
            drawn = [event for event in seen if panel.knows(event)]
            if drawn:
                axis = "y" if place == 1 else f"y{place}"
                trace = _line(
                    lane, panel, drawn, marks[lane], dash=DASHES[i % len(DASHES)], yaxis=axis
                )
                traces.append({**trace, "showlegend": lane not in told})
                told.add(lane)
                if panel.bound:
                    traces.append(_bound(lane, panel, drawn, marks[lane].color, axis))
    return traces


def _bound(lane: str, panel: Panel, drawn: list[Event], color: str, axis: str) -> Trace:
    """The largest value that was allowed, step by step."""
    steps, values = [event["step"] for event in drawn], [event[panel.bound] for event in drawn]
    return {
        **line(lane_title(lane), *per_pixel(steps, values), color, yaxis=axis),
        "mode": "lines",
        "line": {"color": color, "dash": "dot", "width": 1},
        "legendgroup": escape(lane),
        "showlegend": False,
        "hovertemplate": f"{escape(_COLUMNS[panel.bound])}: %{{y:.3g}}<extra></extra>",
    }


def _line(lane: str, panel: Panel, drawn: list[Event], mark: Mark, **about: Any) -> Trace:
    trace = line(
        lane_title(lane),
        *per_pixel([event["step"] for event in drawn], [event[panel.key] for event in drawn]),
        mark.color,
        symbol=mark.symbol,
        legendgroup=escape(lane),
        hovertemplate=(
            f"{escape(panel.column)}: %{{y:.3g}}<extra>{escape(lane_title(lane))}, "
            "step %{x}</extra>"
        ),
        **about,
    )
    return {**trace, "mode": "lines" if len(drawn) > 1 else "lines+markers"}


def _layout(steps: Steps, panels: list[Panel]) -> dict[str, Any]:
    layout = base_layout(
        step_title(steps),
        "",
        showlegend=True,
        xaxis={"range": [0, last_step(steps)]},
        meta={"x_name": "step"},
    )
    return stack(layout, [_axis(panel) for panel in panels])


def _axis(panel: Panel) -> dict[str, Any]:
    scale = {"type": "log", "tickformat": "~g"} if panel.logarithmic else {"rangemode": "tozero"}
    return {"title": {"text": escape(panel.title), "standoff": 8}, **scale}


def _rows(steps: Steps) -> list[dict[str, Any]]:
    """The columns that some step has."""
    events = [(lane, event) for lane, seen in steps.items() for event in seen]
    columns = {key: words for key, words in _COLUMNS.items() if any(key in e for _, e in events)}
    columns |= {key: _readable(key) for key in _own_fields(steps)}
    return [
        {
            "Lane": lane_title(lane),
            "Step": event["step"],
            **{words: event.get(key) for key, words in columns.items()},
        }
        for lane, event in events
    ]


def _finding(steps: Steps) -> str:
    parts = [words for lane, seen in steps.items() if (words := _said(lane, seen))]
    return "; ".join(parts) + "." if parts else "The steps have not been recorded in detail."


def _said(lane: str, seen: list[Event]) -> str:
    """What one lane has done, in the terms of its kind."""
    name, moved = lane_title(lane), _moved(seen)
    changes = [_change(_readable(key), key, seen) for key in _own_fields({lane: seen})]
    if not moved and not any(changes):
        changes = [_change(_LOSS.title, _LOSS.key, seen)]
    told = listed([words for words in changes if words])
    if moved:
        return f"{name} {moved}" + (f" ({told})" if told else "")
    return f"{name}: {told}" if told else ""


def _moved(seen: list[Event]) -> str:
    """How far fine-tuning went."""
    distances, traces = _values("distance", seen), _values("fisher_trace", seen)
    if not distances:
        return ""
    words = f"has moved the weights by {number(distances[-1])}"
    if len(traces) > 1:
        words += f" while Tr(F) went from {number(traces[0])} to {number(traces[-1])}"
    return words


def _change(words: str, key: str, seen: list[Event]) -> str:
    """`share pruned went from 0 to 0.4`; nothing where it stayed as it was."""
    values = _values(key, seen)
    if len(set(values)) < 2:
        return ""
    return f"{words.lower()} went from {number(values[0])} to {number(values[-1])}"


def _values(key: str, seen: list[Event]) -> list[float]:
    return [event[key] for event in seen if _is_number(event.get(key))]
