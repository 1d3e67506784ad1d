"""The spectrum of the Hessian, or of the Fisher information."""

from __future__ import annotations

from dashboard.charts.registry import ChartOptions
from dashboard.charts.spectrum import SMOOTHING
from dashboard.geometry.section import (
    Section,
    beside,
    explain,
    measured_on,
    submitted,
    switch,
)
from dashboard.kit.measuring import View

MATRICES = {"hessian": "Hessian of the loss", "fisher": "Fisher of the predictions"}
CANNOT = {
    "hessian": (
        "The density comes from a few random start vectors and is smoothed; a thin peak "
        "may be missing. The Hessian is that of a few hundred images, not of all data, and it is "
        "not invariant: rescaling a layer changes it although the predictions stay."
    ),
    "fisher": (
        "The Fisher information knows nothing of the labels: it says how the predictions react to "
        "the weights, not how the loss does. It equals the curvature of the loss only where the "
        "predictions are right and sure. It changes, too, when a layer is rescaled."
    ),
}


def _draw(view: View) -> bool:
    switch("matrix", MATRICES)
    pairs = submitted(view.specs(f"{view.matrix}_spectrum"))
    beside(
        "spectra",
        pairs,
        f"geometry.spectrum.{view.matrix}",
        f"{view.matrix.capitalize()} spectrum",
        options=[ChartOptions(together=view.overlaid)] * len(pairs),
    )
    if pairs:
        measured_on(pairs, f"smoothed by {100 * SMOOTHING:g} % of the range")
        explain(CANNOT[view.matrix], "spectrum", "outliers", "lambda_max", "fisher")
    return bool(pairs)


SECTION = Section(
    heading="Curvature",
    question="How many directions are steep, and how steep?",
    needs=lambda view: (f"{view.matrix}_spectrum",),
    draw=_draw,
    switched=True,
)
