"""The numbers of a run as a LaTeX table in the style of booktabs: before and after, with intervals
and counts. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ngf.catalogue import catalogue
from ngf.config import MeasureSpec, PurifySpec, TrainSpec
from ngf.export.about import PARTIAL, about, in_lines
from ngf.export.numbers import Rates, outcome, values_so_far
from ngf.runs.rows import RATES
from ngf.runs.store import Run

_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "–": "--",
    "−": "$-$",
    "λ": r"$\lambda$",
}


def escape(text: object) -> str:
    """Text from a run, in one line, that LaTeX sets as it is."""
    return "".join(_SIGNS.get(sign, sign) for sign in " ".join(str(text).split()))


def latex(run: Run) -> str:
    """A table that compiles with `\\usepackage{booktabs}`."""
    facts = about(run)
    lines = [f"% {escape(line)}" for line in in_lines([facts])]
    body = _values(run) if isinstance(run.spec, MeasureSpec) else _rates(run)
    state = f" Partial: the run is {facts['status']}." if facts[PARTIAL] else ""
    counted = "; ".join(f"{count:,} {words}" for words, count in facts["n"].items())
    caption = f"{_caption(run)}{state} Seed {facts['seed']}{'; n: ' + counted if counted else ''}."
    return "\n".join(
        [
            *lines,
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{escape(caption)}}}",
            f"  \\label{{tab:{run.id}}}",
            *(f"  {line}" for line in body),
            r"\end{table}",
            "",
        ]
    )


def _caption(run: Run) -> str:
    spec = run.spec
    if isinstance(spec, MeasureSpec):
        name = catalogue()["measurements"].get(spec.measurement.name, {}).get("title")
        return f"{name or spec.measurement.name} of {spec.target}."
    interval = "Brackets: 95 % Wilson interval. CA: clean accuracy; ASR: attack success rate; RA: "
    interval += "robust accuracy, triggered images that are given their true class."
    if isinstance(spec, PurifySpec):
        return f"Purification of {spec.parent}, before and after. {interval}"
    assert isinstance(spec, TrainSpec)
    return f"{spec.model} trained on {spec.data} under {spec.attack.name}. {interval}"


def _rates(run: Run) -> list[str]:
    heads = ["Model", *(f"{rate.upper()} (\\%)" for rate in RATES)]
    rows = [[escape(one.name), *(_rate(one, rate) for rate in RATES)] for one in outcome(run)]
    return _tabular("l" + "r" * len(RATES), heads, rows)


def _rate(one: Rates, rate: str) -> str:
    value, between = one.numbers.get(rate), one.numbers.get(f"{rate}_interval")
    if value is None:
        return "--"
    text = f"{100 * value:.1f}"
    return f"{text} [{100 * between[0]:.1f}, {100 * between[1]:.1f}]" if between else text


def _values(run: Run) -> list[str]:
    rows = [
        [escape(name.replace("_", " ")), _number(value)]
        for name, value in values_so_far(run).items()
        if not isinstance(value, (Mapping, list))
    ]
    return _tabular("lr", ["Quantity", "Value"], rows)


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "--" if value is None else escape(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", "{,}") if value >= 0 else f"${value}$"
    if value == 0 or not math.isfinite(value) or 1e-3 <= abs(value) < 1e5:
        return f"${value:.4g}$" if value < 0 else f"{value:.4g}"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"${mantissa} \\times 10^{{{int(exponent)}}}$"


def _tabular(columns: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"\\begin{{tabular}}{{{columns}}}",
        r"  \toprule",
        f"  {' & '.join(heads)} \\\\",
        r"  \midrule",
        *(f"  {' & '.join(row)} \\\\" for row in rows),
        r"  \bottomrule",
        r"\end{tabular}",
    ]
