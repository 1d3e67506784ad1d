"""The loss on a plane through the weights: a contour, or a surface in three dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import base_layout, escape, lane_title, number, percent, the_model

VIEWS = ("contour", "surface")
LEVEL = 1.0  # the finding says on how much of the plane the loss stays below this
_SMALLEST = (
    1e-6  # losses below have the color and height of this one where the scale is logarithmic
)
_CAMERA = {"eye": {"x": 1.35, "y": -1.35, "z": 0.9}, "center": {"x": 0, "y": 0, "z": -0.1}}
_SYMBOLS = ("circle", "x", "diamond", "square")
_PLANES = {
    "random": ("Random direction 1", "Random direction 2"),
    "models": ("Along the models", "Across"),
    "eigenvectors": ("Steepest direction", "Second steepest direction"),
}
_PATH = "#E69F00"


def plane_chart(
    name: str,
    values: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    view: str = "contour",
    log: bool = False,
    which: int = 0,
    among: Sequence[Mapping[str, np.ndarray]] = (),
) -> Chart:
    """`values` and `arrays` are those of `loss_plane`; `which` of its planes; `among` the arrays
    that share axes.

    Cells that are not measured yet hold what the measurement fills in; the finding says how many
    there are.
    """
    if "loss" not in arrays:
        return make_chart([], {}, [], "")
    everyone = [*among] or [arrays]
    which = min(which, len(arrays["loss"]) - 1)
    a, b, loss, rate = arrays["a"], arrays["b"], arrays["loss"][which], arrays["rate"][which]
    low, high = _range([item["loss"][min(which, len(item["loss"]) - 1)] for item in everyone], log)
    heights = _heights(loss, log)
    scale = _ticks(low, high) if log else {}
    hover = (
        "loss %{customdata[0]}<br>right answers %{customdata[1]}<br>at (%{x:.3g}, %{y:.3g})"
        f"<extra>{escape(name)}</extra>"
    )
    said = [
        [
            [number(float(x)) if math.isfinite(x) else "not finite", percent(float(y))]
            for x, y in zip(*rows, strict=True)
        ]
        for rows in zip(loss, rate, strict=True)
    ]
    ground = {
        "x": _plain(a),
        "y": _plain(b),
        "z": heights,
        "customdata": said,
        "colorscale": "Cividis",
        "hovertemplate": hover,
        "name": escape(name),
        "colorbar": {
            "title": {"text": "Loss", "side": "top"},
            "orientation": "h",
            "thickness": 10,
            "len": 0.9,
            "y": 1.0,
            "yanchor": "bottom",
            "x": 0.5,
            "outlinewidth": 0,
            **scale,
        },
    }
    span = {
        axis: [
            min(float(item[axis][0]) for item in everyone),
            max(float(item[axis][-1]) for item in everyone),
        ]
        for axis in "ab"
    }
    titles = [_axis(values, axis, i) for i, axis in enumerate("ab")]
    if view == "surface":
        traces = [
            {
                "type": "surface",
                "cmin": low,
                "cmax": high,
                "showlegend": False,
                "contours": {
                    "z": {
                        "show": True,
                        "usecolormap": False,
                        "color": "rgba(255,255,255,0.35)",
                        "width": 1,
                    }
                },
                **ground,
            }
        ]
        layout = base_layout("", "", margin={"l": 0, "r": 0, "t": 48, "b": 0})
        layout["scene"] = {
            "aspectmode": "manual",
            "aspectratio": {"x": 1, "y": 1, "z": 0.72},
            "camera": _CAMERA,
            "uirevision": "camera",
            "dragmode": "orbit",
            "xaxis": {"title": {"text": "dir. 1"}, "range": span["a"]},
            "yaxis": {"title": {"text": "dir. 2"}, "range": span["b"]},
            "zaxis": {"title": {"text": "Loss"}, "range": [low, high], **scale},
        }
    else:
        traces = [
            {
                "type": "contour",
                "zmin": low,
                "zmax": high,
                "contours": {"coloring": "heatmap"},
                "line": {"width": 0.7, "color": "rgba(255,255,255,0.45)"},
                "ncontours": 14,
                **ground,
            }
        ]
        layout = base_layout(
            titles[0],
            titles[1],
            xaxis={"range": span["a"]},
            yaxis={"range": span["b"]},
            margin={"l": 56, "r": 16, "t": 62, "b": 46},
        )
    traces += _marks(values, arrays, heights, view)
    known = np.asarray(arrays.get("known", np.ones(loss.shape)))
    rows = [
        {
            "a": float(x),
            "b": float(y),
            "Loss": float(loss[j, i]),
            "Right answers": float(rate[j, i]),
            "Measured": bool(known[j, i]),
        }
        for j, y in enumerate(b)
        for i, x in enumerate(a)
    ]
    names = arrays.get("point_names", ())
    if values.get("plane") == "models" and len(names):  # its origin is the first of them
        name = str(names[0]).capitalize()
    finding = _finding(name, a, b, loss, known, len(arrays["loss"]), which)
    return make_chart(
        traces,
        layout,
        rows,
        finding,
        f"{'Surface' if view == 'surface' else 'Contour map'} of the loss on a plane. {finding}",
    )


def _plain(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _heights(loss: np.ndarray, log: bool) -> list[list[float | None]]:
    """Heights for JSON: what is not finite is a hole."""
    shown = np.log10(np.maximum(loss, _SMALLEST)) if log else loss
    return [
        [float(f"{value:.4g}") if math.isfinite(value) else None for value in row] for row in shown
    ]


def _range(losses: list[np.ndarray], log: bool) -> tuple[float, float]:
    """Common ends of color and height."""
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
    return title + (f" ({escape(unit)})" if unit else "")


def _marks(
    values: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    heights: list[list[float | None]],
    view: str,
) -> list[dict[str, Any]]:
    """The models on the plane, and the way of the optimizer where it was kept."""
    traces = []
    if len(arrays.get("path", ())):
        words = [escape(word) for word in arrays.get("path_names", [""] * len(arrays["path"]))]
        traces.append(
            _trace(
                arrays,
                heights,
                view,
                arrays["path"],
                words,
                mode="lines+markers",
                name="Way of the optimizer",
                line={"color": _PATH, "width": 2 if view == "contour" else 5},
                marker={"color": _PATH, "size": 4 if view == "contour" else 3},
            )
        )
    points = arrays.get("points", np.zeros((0, 2)))
    names = [
        escape(_named(str(name), values)) for name in arrays.get("point_names", [""] * len(points))
    ]
    if len(points):
        symbols = [_SYMBOLS[i % 4] for i in range(len(points))]
        traces.append(
            _trace(
                arrays,
                heights,
                view,
                points,
                names,
                mode="markers+text",
                name="Models",
                text=names,
                textposition="top center",
                marker={
                    "symbol": symbols,
                    "size": 11 if view == "contour" else 5,
                    "color": "#FFFFFF",
                    "line": {"color": "#000000", "width": 1.5},
                },
            )
        )
        # on the ground, whose colors do not follow the theme
        traces[-1]["textfont"] = {"color": "#FFFFFF"} | (
            {"shadow": "0 0 3px #000, 0 0 2px #000"} if view == "contour" else {}
        )
    return traces


def _named(name: str, values: Mapping[str, Any]) -> str:
    """`third` is called by the method that made it, where its target names one."""
    lane = str(values.get("third") or "").partition(":")[2]
    return f"by {lane_title(lane)}" if name == "third" and lane else name


def _trace(
    arrays: Mapping[str, np.ndarray],
    heights: list[list[float | None]],
    view: str,
    places: np.ndarray,
    words: list[str],
    **look: Any,
) -> dict[str, Any]:
    trace = {
        "type": "scatter",
        "x": _plain(places[:, 0]),
        "y": _plain(places[:, 1]),
        "showlegend": False,
        "customdata": words,
        "hovertemplate": "%{customdata}<extra></extra>",
        **look,
    }
    if view == "surface":
        near = [
            heights[int(np.abs(arrays["b"] - y).argmin())][int(np.abs(arrays["a"] - x).argmin())]
            for x, y in places[:, :2]
        ]
        trace |= {"type": "scatter3d", "z": near}
    return trace


def _finding(
    name: str,
    a: np.ndarray,
    b: np.ndarray,
    loss: np.ndarray,
    known: np.ndarray,
    planes: int,
    which: int,
) -> str:
    finite = loss[np.isfinite(loss)]
    if not len(finite):
        return "The loss is not finite anywhere on this plane."
    center = loss[int(np.abs(b).argmin()), int(np.abs(a).argmin())]
    text = (
        f"The loss of {the_model(name)} is {number(float(center))} at the origin and at most "
        f"{number(float(finite.max()))}; it stays below {number(LEVEL)} on "
        f"{percent(float((loss < LEVEL).mean()), 0)} of this plane"
    )
    if planes > 1:
        text += f" (plane {which + 1} of {planes})"
    share = float(known.mean())
    return text + (
        "."
        if share >= 1
        else f". Measured so far: {percent(share, 0)} of the points; the others are "
        "filled in from their neighbors."
    )
