"""The table of measures says of each what leaves it as it is."""

from __future__ import annotations

import subprocess
import sys

from analysis.measurements.sharpness import ERRORS
from analysis.measures import MEASURES


def test_every_measure_says_what_leaves_it_as_it_is():
    assert all(measure.unchanged_by and measure.title for measure in MEASURES.values())
    invariant = {name for name, measure in MEASURES.items() if measure.invariant}
    assert invariant == set(ERRORS) - {"weight_norm"}, "held by the two tests on rescaling below"
    code = "import analysis.measures, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
