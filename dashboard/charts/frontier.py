"""The trade-off: clean accuracy against attack success rate for every learning rate of every
method.
"""

from __future__ import annotations

from typing import Any

from dashboard.charts.chart import Chart, make_chart
from dashboard.charts.style import base_layout, escape, lane_colors, lane_title, number, percent

_SYMBOLS = ("circle", "triangle-up", "square", "diamond", "x")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def frontier_chart(points: list[dict[str, Any]]) -> Chart:
    """`points`: dicts {method, lr, ca, asr, picked}; one line a method in the order of its
    learning rates.
    """
    points = [
        point for point in points if point.get("ca") is not None and point.get("asr") is not None
    ]
    methods = list(dict.fromkeys(point["method"] for point in points))
    colors = lane_colors(methods)
    traces, labels = [], []
    for i, method in enumerate(methods):
        own = sorted(
            (point for point in points if point["method"] == method), key=lambda point: point["lr"]
        )
        name = escape(lane_title(method))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [round(100 * point["asr"], 3) for point in own],
                "y": [round(100 * point["ca"], 3) for point in own],
                "customdata": [number(point["lr"]) for point in own],
                "line": {"color": colors[method], "dash": _DASHES[i % 5], "width": 2},
                "marker": {"color": colors[method], "symbol": _SYMBOLS[i % 5], "size": 8},
                "hovertemplate": f"learning rate %{{customdata}}<br>clean accuracy %{{y:.1f}} %<br>"
                f"attack success rate %{{x:.1f}} %<extra>{name}</extra>",
            }
        )
        for point in own:
            if point.get("picked"):
                x, y = round(100 * point["asr"], 3), round(100 * point["ca"], 3)
                traces.append(
                    {
                        "type": "scatter",
                        "mode": "markers",
                        "name": f"{name}, picked",
                        "x": [x],
                        "y": [y],
                        "showlegend": False,
                        "hoverinfo": "skip",
                        "marker": {
                            "color": colors[method],
                            "size": 18,
                            "symbol": "circle-open",
                            "line": {"width": 2.5},
                        },
                    }
                )
                labels.append(
                    {
                        "text": f"{name}, lr {number(point['lr'])}",
                        "x": x,
                        "y": y,
                        "showarrow": True,
                        "arrowhead": 0,
                        "arrowwidth": 1,
                        "ax": -40 if x > 75 else 40,
                        "ay": 30,
                        "xanchor": "right" if x > 75 else "left",
                    }
                )
    layout = base_layout(
        "Attack success rate (%), lower is better",
        "Clean accuracy (%), higher is better",
        showlegend=len(methods) > 1,
        annotations=labels,
        xaxis={"range": [-4, 104]},
    )
    rows = [
        {
            "Method": lane_title(point["method"]),
            "Learning rate": point["lr"],
            "Clean accuracy (%)": round(100 * point["ca"], 3),
            "Attack success rate (%)": round(100 * point["asr"], 3),
            "Picked": bool(point.get("picked")),
        }
        for point in points
    ]
    return make_chart(traces, layout, rows, _finding(points))


def _finding(points: list[dict[str, Any]]) -> str:
    parts = []
    for method in dict.fromkeys(point["method"] for point in points):
        own = [point for point in points if point["method"] == method]
        best = next((point for point in own if point.get("picked")), None)
        verb = (
            "at the picked learning rate"
            if best
            else "at its lowest attack success rate, learning rate"
        )
        best = best or min(own, key=lambda point: point["asr"])
        parts.append(
            f"{lane_title(method)} {verb} {number(best['lr'])} has {percent(best['asr'])} attack "
            f"success and {percent(best['ca'])} clean accuracy"
        )
    return "; ".join(parts) + "." if parts else ""
