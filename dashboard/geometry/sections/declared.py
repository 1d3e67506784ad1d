"""What measurements declare for themselves: a section each, without a line here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from dashboard.charts.registry import ChartOptions, pictures
from dashboard.geometry.section import Section, beside, explain, measured_on, submitted
from dashboard.kit.measuring import View
from ngf.catalogue import catalogue


def declared() -> list[Section]:
    """One section per measurement with a `Picture`, by title."""
    titles = {name: catalogue()["measurements"][name]["title"] for name in pictures()}
    return [
        Section(
            heading=titles[name],
            question=picture["question"],
            needs=partial(_needs, name),
            draw=partial(_draw, name, titles[name], picture),
        )
        for name, picture in sorted(pictures().items(), key=lambda item: titles[item[0]])
    ]


def _needs(name: str, view: View) -> tuple[str, ...]:
    return (name,)


def _draw(name: str, title: str, picture: Mapping[str, Any], view: View) -> bool:
    pairs = submitted(view.specs(name))
    beside(
        "picture",
        pairs,
        f"geometry.declared.{name}",
        title,
        options=[ChartOptions(value=name)] * len(pairs),
        height=340 if picture["over"] else 130 + 36 * len(pairs),
    )
    if pairs:
        measured_on(pairs)
        explain(picture["cannot"])
    return bool(pairs)
