"""The cross-check: eigenvalue and trace by the package PyHessian, beside ours, on the same
images.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from analysis.measures import MEASURES
from dashboard.charts.style import signed
from dashboard.geometry.section import Pairs, Section, in_words, measured_on, submitted
from dashboard.kit import library, readings
from dashboard.kit.measuring import View
from ngf.runs.folder import FINAL
from ngf.runs.store import MeasureRun

_MEASURES = (MEASURES["lambda_max"], MEASURES["trace"])


def _draw(view: View) -> bool:
    pairs = submitted(view.specs("pyhessian_check"))
    if not pairs:
        st.caption(
            "[PyHessian](https://github.com/amirgholami/PyHessian) 0.1 computes the same two "
            "numbers by power iteration and random probes."
        )
        return False
    going = any(run.status not in FINAL for _, run in pairs)
    (st.fragment(_table, run_every=2) if going else _table)(view, pairs)
    measured_on(pairs)
    return True


def _table(view: View, pairs: Pairs) -> None:
    ours = {side: _values(run) for side, run in submitted(view.specs("hessian_spectrum"))}
    rows, problems = [], set()
    for side, run in pairs:
        theirs, mine = _values(run), ours.get(side, {})
        problems.add(theirs.get("density_error") or "")
        for measure in _MEASURES:
            rows.append(
                {
                    "Model": side.subject.title,
                    "Number": measure.symbol,
                    "PyHessian": in_words(theirs, measure, 4),
                    "Ours": in_words(mine, measure, 4),
                    "Difference": _difference(mine.get(measure.name), theirs.get(measure.name)),
                    "Products, PyHessian": library.plain(theirs.get("num_hvps", "–")),
                    "Products, ours": library.plain(mine.get("num_hvps", "–")),
                }
            )
    st.table(pd.DataFrame(rows).set_index("Model"))
    if not ours:
        st.caption("Measure the spectrum above to see ours beside it.")
    st.caption(
        "PyHessian gives no error bar; that of its trace is ours, from its samples. Its "
        "eigenvalue is the one of largest magnitude. Products are Hessian-vector products, which "
        "take nearly all of the time; ours are for the whole spectrum."
    )
    for problem in sorted(filter(None, problems)):
        st.info(
            "PyHessian's spectral density does not run on this version of torch: "
            f"{library.plain(problem.split('. ')[0])}.",
            icon=":material/info:",
        )


def _values(run: MeasureRun) -> dict[str, Any]:
    """What the run has found so far."""
    reading = readings.read(run)
    return reading.values if reading else {}


def _difference(mine: float | None, theirs: float | None) -> str:
    if mine is None or theirs is None or not mine:
        return "–"
    return f"{signed(theirs / mine - 1)} %"


SECTION = Section(
    heading="Second opinion",
    question="Does a program that others wrote find the same numbers?",
    needs=lambda view: ("pyhessian_check",),
    draw=_draw,
)
