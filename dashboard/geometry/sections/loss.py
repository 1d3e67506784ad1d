"""Loss slices: walks away from the weights, in the steepest or in random directions."""

from __future__ import annotations

from dashboard.charts.registry import ChartOptions
from dashboard.geometry.section import Section, beside, explain, measured_on, submitted, switch
from dashboard.kit.measuring import View

WALKS = {
    "steepest": "Steepest direction",
    "random": "Random directions",
    "eigenvectors": "Steepest, each in its own unit",
}
HOW = {
    "steepest": "along the steepest direction of each model, over the same distance relative to "
    "its filters",
    "random": "random directions, scaled filter by filter; the band is their spread",
    "eigenvectors": "1 is where each model is predicted to rise by 1 nat: shapes can be compared, "
    "steepness cannot",
}
CANNOT = (
    "A slice is a walk along one or a few directions out of tens of thousands; another valley may "
    "be one step away. Random directions miss the few that are steep, so models look alike in "
    "them. A network that fits its images less well is steeper for that alone: look at the loss "
    "at 0, too."
)


def _draw(view: View) -> bool:
    switch("walk", WALKS)
    pairs = submitted(view.specs("loss_slice"))
    beside(
        "slices",
        pairs,
        "geometry.slice",
        "loss slice",
        options=[ChartOptions(together=view.overlaid or view.walk == "steepest")] * len(pairs),
    )
    if pairs:
        measured_on(pairs, HOW[view.walk])
        explain(CANNOT, "slice", "batchnorm")
    return bool(pairs)


SECTION = Section(
    heading="Loss around the minimum",
    question="How fast does the loss rise when the weights walk away?",
    needs=lambda view: ("loss_slice",),
    draw=_draw,
    switched=True,
)
