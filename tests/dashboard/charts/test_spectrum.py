"""The chart of a spectrum: its scale, and which eigenvalues count as outliers."""

from __future__ import annotations

from dataclasses import replace

from dashboard.charts.spectrum import Spectrum, spectrum_chart, symlog
from dashboard.charts.subject import BENIGN
from tests.helpers.made_up_charts import SPECTRA


def test_models_side_by_side_have_one_scale() -> None:
    shared = [replace(item, grid=SPECTRA[0].grid) for item in SPECTRA]
    ticks = [spectrum_chart([item]).figure["layout"]["xaxis"]["tickvals"] for item in shared]
    assert ticks[0] == ticks[1]
    assert symlog(-10, 1) == -symlog(10, 1) and symlog(0, 1) == 0


def test_outliers_are_counted_only_when_they_are_certain() -> None:
    item = Spectrum(
        BENIGN,
        grid=[],
        density=[],
        lambda_min=-1.0,
        eigenvalues=[-1.0, 0.5, 1.2, 3.0, 3.05, 9.0],
        residuals=[0, 0, 0.5, 0.1, 0.1, 0.1],
    )
    assert item.edge == 1.0
    assert item.outliers() == 2, "1.2 may lie below the edge, and 3.0 and 3.05 may be the same one"
    assert replace(item, lambda_min=0.0).outliers() is None
