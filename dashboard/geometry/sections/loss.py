"""Loss slices: walks along random directions."""

from __future__ import annotations

from dashboard.charts.registry import ChartOptions
from dashboard.geometry.section import Section, beside, explain, measured_on, submitted
from dashboard.kit.measuring import View

CANNOT = (
    "A slice is a walk along a few random directions out of tens of thousands; another "
    "valley may be one step away. A network can also be rescaled, layer by layer, so that it "
    "predicts the same and looks sharper or flatter. Look at the spectrum and the numbers before "
    "you believe the picture."
)


def _draw(view: View) -> bool:
    pairs = submitted(view.specs("loss_slice"))
    beside(
        "slices",
        pairs,
        "geometry.slice",
        "loss slice",
        options=[ChartOptions(together=view.overlaid)] * len(pairs),
    )
    if pairs:
        measured_on(pairs, "random directions, scaled filter by filter; the band is their spread")
        explain(CANNOT, "slice", "batchnorm")
    return bool(pairs)


SECTION = Section(
    heading="Loss around the minimum",
    question="How fast does the loss rise when the weights walk away?",
    needs=lambda view: ("loss_slice",),
    draw=_draw,
)
