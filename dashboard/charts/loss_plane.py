"""The loss on a plane through the weights: a contour, or a surface in three dimensions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import Trace, base_layout, escape, listed, number, percent
from dashboard.charts.subject import BACKDOORED, Measured, Subject
from dashboard.charts.titles import lane_title
from ngf.config import Target

VIEWS = ("contour", "surface")
LEVEL = 1.0  # the finding says on how much of the plane the loss stays below this
_SMALLEST = (
    1e-6  # losses below have the color and height of this one where the scale is logarithmic
)
_CAMERA = {"eye": {"x": 1.35, "y": -1.35, "z": 0.9}, "center": {"x": 0, "y": 0, "z": -0.1}}
_PLANES = {
    "random": ("Random direction 1", "Random direction 2"),
    "models": ("Along the models", "Across"),
    "eigenvectors": ("Steepest direction", "Second steepest direction"),
    "filter_eigenvectors": ("Steepest direction", "Second steepest direction"),
}
# Marks lie on a ground of many colors, so they are white, with a black rim where there can be one.
_WHITE = "#FFFFFF"
_RIM = {"color": "#000000", "width": 1}
_SOLID = ("diamond", "cross")  # shapes that every font has for three dimensions, too
_OTHER = "square-open"  # in place of the others, and of a model that nobody can name
Arrays = Mapping[str, np.ndarray]
_STEP = re.compile(r"step (\d+)")


@dataclass(frozen=True)
class _Ground:
    """One plane of a measurement, and how it is drawn.

    which: of several planes.
    among: the arrays of all planes that share axes.
    solid: in three dimensions.
    log: whether heights are logarithms of the loss.
    """

    measured: Measured
    which: int
    among: Sequence[Arrays]
    solid: bool
    log: bool

    @property
    def arrays(self) -> Arrays:
        return self.measured.arrays

    @property
    def loss(self) -> np.ndarray:
        """Of each cell: (B, A)."""
        return _of_plane(self.arrays["loss"], self.which)

    @property
    def rate(self) -> np.ndarray:
        """Share of right answers of each cell: (B, A)."""
        return _of_plane(self.arrays["rate"], self.which)

    @property
    def known(self) -> np.ndarray:
        """Which cells are measured: (B, A)."""
        return np.asarray(self.arrays.get("known", np.ones(self.loss.shape)))

    @cached_property
    def range(self) -> tuple[float, float]:
        """Common ends of color and height."""
        return _range([_of_plane(item["loss"], self.which) for item in self.among], self.log)

    @cached_property
    def heights(self) -> list[list[float | None]]:
        """For JSON: what is not finite is a hole."""
        shown = np.log10(np.maximum(self.loss, _SMALLEST)) if self.log else self.loss
        return [
            [float(f"{value:.4g}") if math.isfinite(value) else None for value in row]
            for row in shown
        ]

    @property
    def scale(self) -> dict[str, Any]:
        """Ticks of the heights, if they are not the loss itself."""
        return _ticks(*self.range) if self.log else {}

    def span(self, axis: str) -> list[float]:
        """The ends of a horizontal axis."""
        return [
            min(float(item[axis][0]) for item in self.among),
            max(float(item[axis][-1]) for item in self.among),
        ]


def plane_chart(
    measured: Measured,
    *,
    view: str = "contour",
    log: bool = False,
    which: int = 0,
    among: Sequence[Arrays] = (),
) -> Chart:
    """What `loss_plane` has found; `which` of its planes; `among` the arrays that share axes.

    Cells that are not measured yet hold what the measurement fills in; the finding says how many
    there are.
    """
    if "loss" not in measured.arrays:
        return make_chart([], {}, [], "")
    ground = _Ground(measured, which, among or [measured.arrays], solid=view == "surface", log=log)
    finding = _finding(ground)
    kind = "Surface" if ground.solid else "Contour map"
    ground_trace = _surface(ground) if ground.solid else _contour(ground)
    return make_chart(
        [ground_trace, *_way(ground), *_models(ground)],
        _scene(ground) if ground.solid else _map(ground) | _ball(ground),
        _rows(ground),
        finding,
        f"{kind} of the loss on a plane. {finding}",
    )


def _of_plane(arrays: np.ndarray, which: int) -> np.ndarray:
    """Those of one plane: the last where there are not so many."""
    found: np.ndarray = arrays[min(which, len(arrays) - 1)]
    return found


# ---- the ground


def _cells(ground: _Ground) -> Trace:
    """What map and surface have in common."""
    name = escape(ground.measured.subject.title)
    return {
        "x": _plain(ground.arrays["a"]),
        "y": _plain(ground.arrays["b"]),
        "z": ground.heights,
        "customdata": _said(ground),
        "colorscale": "Cividis",
        "hovertemplate": (
            "loss %{customdata[0]}<br>right answers %{customdata[1]}<br>at (%{x:.3g}, %{y:.3g})"
            f"<extra>{name}</extra>"
        ),
        "name": name,
        "colorbar": {
            "title": {"text": "Loss", "side": "top"},
            "orientation": "h",
            "thickness": 10,
            "len": 0.9,
            "y": 1.0,
            "yanchor": "bottom",
            "x": 0.5,
            "outlinewidth": 0,
            **ground.scale,
        },
    }


def _said(ground: _Ground) -> list[list[list[str]]]:
    """Loss and right answers of each cell in words."""
    return [
        [
            [number(float(x)) if math.isfinite(x) else "not finite", percent(float(y))]
            for x, y in zip(*rows, strict=True)
        ]
        for rows in zip(ground.loss, ground.rate, strict=True)
    ]


def _surface(ground: _Ground) -> Trace:
    return {
        "type": "surface",
        "cmin": ground.range[0],
        "cmax": ground.range[1],
        "showlegend": False,
        "contours": {
            "z": {
                "show": True,
                "usecolormap": False,
                "color": "rgba(255,255,255,0.35)",
                "width": 1,
            }
        },
        **_cells(ground),
    }


def _contour(ground: _Ground) -> Trace:
    return {
        "type": "contour",
        "zmin": ground.range[0],
        "zmax": ground.range[1],
        "contours": {"coloring": "heatmap"},
        "line": {"width": 0.7, "color": "rgba(255,255,255,0.45)"},
        "ncontours": 14,
        **_cells(ground),
    }


def _scene(ground: _Ground) -> dict[str, Any]:
    layout = base_layout("", "", margin={"l": 0, "r": 0, "t": 48, "b": 0})
    layout["scene"] = {
        "aspectmode": "manual",
        "aspectratio": {"x": 1, "y": 1, "z": 0.72},
        "camera": _CAMERA,
        "uirevision": "camera",
        "dragmode": "orbit",
        "xaxis": {"title": {"text": "dir. 1"}, "range": ground.span("a")},
        "yaxis": {"title": {"text": "dir. 2"}, "range": ground.span("b")},
        "zaxis": {
            "title": {"text": "Loss"},
            "range": list(ground.range),
            **ground.scale,
        },
    }
    return layout


def _map(ground: _Ground) -> dict[str, Any]:
    return base_layout(
        _axis(ground.measured.values, "a", 0),
        _axis(ground.measured.values, "b", 1),
        xaxis={"range": ground.span("a")},
        yaxis={"range": ground.span("b")},
        margin={"l": 56, "r": 16, "t": 62, "b": 46},
    )


def _rows(ground: _Ground) -> list[dict[str, Any]]:
    known, loss, rate = ground.known, ground.loss, ground.rate
    return [
        {
            "a": float(x),
            "b": float(y),
            "Loss": float(loss[j, i]),
            "Right answers": float(rate[j, i]),
            "Measured": bool(known[j, i]),
        }
        for j, y in enumerate(ground.arrays["b"])
        for i, x in enumerate(ground.arrays["a"])
    ]


def _plain(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _range(losses: list[np.ndarray], log: bool) -> tuple[float, float]:
    found = np.concatenate([loss[np.isfinite(loss)] for loss in losses] or [np.zeros(1)])
    if not len(found):
        return 0.0, 1.0
    low, high = (max(float(end), _SMALLEST) for end in (found.min(), found.max()))
    if log:
        low, high = math.log10(low), math.log10(high)
        return low, max(high, low + 0.1)
    return 0.0, high


def _ticks(low: float, high: float) -> dict[str, Any]:
    """Ticks of a logarithmic scale, named by the loss itself."""
    places = [
        k + math.log10(m) for k in range(math.floor(low), math.ceil(high) + 1) for m in (1, 3)
    ]
    places = [place for place in places if low - 1e-9 <= place <= high + 1e-9]
    if high - low > 3:
        places = [place for place in places if abs(place - round(place)) < 1e-9]
    return {"tickvals": places, "ticktext": [number(10**place, 1) for place in places]}


def _axis(values: Mapping[str, Any], axis: str, i: int) -> str:
    """`Steepest direction, λ = 11.2 (distance)`"""
    title = _PLANES.get(str(values.get("plane")), ("Direction a", "Direction b"))[i]
    if values.get(f"lambda_{axis}") is not None:
        title += f", λ = {number(values[f'lambda_{axis}'])}"
    unit = values.get(f"{axis}_unit")
    if i and unit and unit == values.get("a_unit"):
        unit = "same unit"  # a map is not as high as it is wide
    return title + (f" ({escape(unit)})" if unit else "")


# ---- what lies on it


def _way(ground: _Ground) -> list[Trace]:
    """The way of the optimizer, where it was kept."""
    path = ground.arrays.get("path", np.zeros((0, 2)))
    if not len(path):
        return []
    words = [escape(word) for word in ground.arrays.get("path_names", [""] * len(path))]
    about = {
        "mode": "lines+markers",
        "name": "Way of the optimizer",
        "line": {"color": _WHITE, "width": 5 if ground.solid else 2},
        "marker": {"color": _WHITE, "size": 3 if ground.solid else 5, "line": _RIM},
    }
    return [_on(ground, path, words) | about]


def _ball(ground: _Ground) -> dict[str, Any]:
    """What lets a ball lie on the way, at the step that another chart shows: the step of each of
    its points. Nothing where they are not known.
    """
    named = [_STEP.fullmatch(str(word)) for word in ground.arrays.get("path_names", ())]
    if len(named) < 2 or not all(named):
        return {}
    steps = [int(found[1]) for found in named if found]
    return {"meta": {"balls": [{"trace": 1, "steps": steps}]}}


def _models(ground: _Ground) -> list[Trace]:
    """The models on the plane, each with its own shape."""
    points = ground.arrays.get("points", np.zeros((0, 2)))
    if not len(points):
        return []
    names = [str(name) for name in ground.arrays.get("point_names", [""] * len(points))]
    words = [escape(_word(name, ground)) for name in names]
    about = {
        "mode": "markers+text",
        "name": "Models",
        "text": words,
        "textposition": "top center",
        "marker": {
            "symbol": [_symbol(_who(name, ground), ground.solid) for name in names],
            "size": 5 if ground.solid else 11,
            "color": _WHITE,
            "line": _RIM | {"width": 1.5},
        },
        "textfont": {"color": _WHITE}  # on the ground, whose colors do not follow the theme
        | ({} if ground.solid else {"shadow": "0 0 3px #000, 0 0 2px #000"}),
    }
    return [_on(ground, points, words) | about]


def _who(name: str, ground: _Ground) -> Subject | None:
    """Who lies at a point of that name; None for a third model that is not a lane's."""
    if name == "third":
        lane = _third(ground)
        return Subject("purified", lane) if lane else None
    return BACKDOORED if name == "backdoored" else ground.measured.subject


def _third(ground: _Ground) -> str:
    return Target.parse(str(ground.measured.values.get("third") or "")).lane


def _word(name: str, ground: _Ground) -> str:
    """`third` is called by the method that made it, where its target names one."""
    lane = _third(ground)
    return f"by {lane_title(lane)}" if name == "third" and lane else name


def _symbol(subject: Subject | None, solid: bool) -> str:
    if subject is None or (solid and subject.mark.symbol not in _SOLID):
        return _OTHER
    return subject.mark.symbol


def _on(ground: _Ground, places: np.ndarray, words: list[str]) -> Trace:
    """A trace at `places` (n, 2); in three dimensions it lies on the surface."""
    trace: Trace = {
        "type": "scatter",
        "x": _plain(places[:, 0]),
        "y": _plain(places[:, 1]),
        "showlegend": False,
        "customdata": words,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    if not ground.solid:
        return trace
    heights = ground.heights
    near = [
        heights[_nearest(ground.arrays["b"], y)][_nearest(ground.arrays["a"], x)]
        for x, y in places[:, :2].tolist()
    ]
    return trace | {"type": "scatter3d", "z": near}


def _nearest(values: np.ndarray, wanted: float) -> int:
    return int(np.abs(values - wanted).argmin())


# ---- in words


def _origin(ground: _Ground) -> Subject:
    """A plane through models has the first of them at its origin, others the measured one."""
    names = [str(name) for name in ground.arrays.get("point_names", [])]
    if ground.measured.values.get("plane") != "models" or not names:
        return ground.measured.subject
    return _who(names[0], ground) or ground.measured.subject


def _at(ground: _Ground, place: Sequence[float]) -> float:
    """The loss at the nearest cell."""
    row, column = _nearest(ground.arrays["b"], place[1]), _nearest(ground.arrays["a"], place[0])
    return float(ground.loss[row, column])


def _between(ground: _Ground) -> str:
    """`The loss is 7.9 at the backdoored model, 0.07 at the model purified by NGF and ...`"""
    names = [str(name) for name in ground.arrays["point_names"]]
    said = []
    for name, place in zip(names, ground.arrays["points"], strict=True):
        who = _who(name, ground)
        called = "the third model" if who is None else who.phrase
        said.append(f"{number(_at(ground, place), 2)} at {called}")
    return f"The loss is {listed(said)}"


def _finding(ground: _Ground) -> str:
    loss, arrays = ground.loss, ground.arrays
    finite = loss[np.isfinite(loss)]
    if not len(finite):
        return "The loss is not finite anywhere on this plane."
    if ground.measured.values.get("plane") == "models" and len(arrays.get("points", ())) > 1:
        text = _between(ground)
    else:
        center = _at(ground, (0.0, 0.0))
        text = (
            f"The loss of {_origin(ground).phrase} is {number(center)} at the origin and at "
            f"most {number(float(finite.max()))}; it stays below {number(LEVEL)} on "
            f"{percent(float((loss < LEVEL).mean()), 0)} of this plane"
        )
    planes = len(arrays["loss"])
    if planes > 1:
        text += f" (plane {min(ground.which + 1, planes)} of {planes})"
    share = float(ground.known.mean())
    if share >= 1:
        return text + "."
    return (
        f"{text}. Measured so far: {percent(share, 0)} of the points; the others are filled in "
        "from their neighbors."
    )
