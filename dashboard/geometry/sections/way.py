"""From before to after: the straight line between the models, or a trained bend."""

from __future__ import annotations

from dashboard.geometry.section import (
    Section,
    beside,
    explain,
    measured_on,
    submitted,
    switch,
)
from dashboard.kit.measuring import View

WAYS = {"line": "Straight line", "bend": "Trained bend"}
CANNOT = {
    "line": (
        "A straight line is one path of many. A hill on it does not prove that the two models "
        "lie in different valleys; a curved path may go around it."
    ),
    "bend": (
        "One trained curve of many. That its loss stays low shows that the two models are "
        "connected; that it does not may only mean that the training of the curve was too short."
    ),
}
HOW = {
    "line": "0 is the model before, 1 the model after; the band is two standard errors",
    "bend": "0 is the model before, 1 the model after; the bend is trained on these images",
}


def _draw(view: View) -> bool:
    switch("way", WAYS)
    pairs = submitted(view.specs(f"loss_{view.way}"))
    name = f"{view.way} between the models"
    beside(f"{view.way}s", pairs, f"geometry.{view.way}", name, height=380)
    if pairs:
        # the line is measured on several kinds of images, which the chart names
        measured_on(pairs, HOW[view.way], images=view.way != "line")
        explain(CANNOT[view.way], "line")
    return bool(pairs)


SECTION = Section(
    heading="From before to after",
    question="Is there a way from one model to the other on which the loss stays low?",
    needs=lambda view: (f"loss_{view.way}",),
    draw=_draw,
    switched=True,
)
