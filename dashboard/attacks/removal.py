"""What purification achieves on the models of the zoo, measured beforehand for every attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.method import BEFORE, method_title
from dashboard.charts.rates import RATES
from dashboard.charts.removal import attack_chart, removal_chart
from dashboard.kit import library
from dashboard.kit.evidence import evidence
from dashboard.kit.show import show

HOW = "default"  # of the ways to a strength: as a press on Start in the Lab has it
_MARKS = "A mark is one model; its line goes from the lowest to the highest of its purifications."
_ROW = 12  # pixels of a method of an attack
_MODELS = 60  # pixels of a method where an attack has a chart of its own
Row = Mapping[str, Any]


def show_removal(names: list[str]) -> None:
    """The attacks `names` in one chart, if several were measured, with the methods that were tried
    on all of them; the card of an attack has the others.
    """
    if (found := evidence("methods")) is None:
        return
    rows = _of(found["models"], names)
    methods = _everywhere(rows)
    rows = [row for row in rows if row["method"] in methods]
    attacks = {row["attack"] for row in rows}
    if len(attacks) < 2 or len(methods) < 2:
        return
    st.header("What purification achieves")
    titles = {name: library.title("attacks", name) for name in names}
    show(
        removal_chart(rows, titles),
        f"attacks.removal.{'-'.join(names)}",
        name="purification of every attack",
        height=120 + _ROW * (len(methods) + 1) * len(attacks),
    )
    st.caption(f"{_MARKS} {caption(rows, found['about'])}")


def show_rates(name: str) -> None:
    """The rates of an attack's models before and after each method, and each model's in a chart."""
    if (found := evidence("methods")) is None:
        return
    rows = _of(found["models"], [name])
    if len({row["method"] for row in rows}) < 2:
        return
    st.markdown("**Purified**, with the Lab's defaults:")
    st.table(table([row for row in found["methods"] if _is_of(row, name)]))
    st.caption(
        f"In percent: mean ± standard deviation between models (between purification seeds of one "
        f"model). {caption(rows, found['about'])}"
    )
    with st.expander(
        "Each model",
        key=f"attacks.{name}.models",
        icon=":material/scatter_plot:",
        on_change="rerun",
    ) as models:
        if models.open:
            show(
                attack_chart(rows, {name: library.title("attacks", name)}),
                f"attacks.removal.of.{name}",
                name=f"purification of {library.title('attacks', name)}",
                height=90 + _MODELS * len({row["method"] for row in rows}),
            )
            st.caption(_MARKS)


def _of(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    return [row for row in rows if row["attack"] in names and row["how"] in (BEFORE, HOW)]


def _is_of(row: Row, name: str) -> bool:
    return row["attack"] == name and row["how"] in (BEFORE, HOW)


def _everywhere(rows: Sequence[Row]) -> list[str]:
    """The methods that every attack has."""
    attacks = {row["attack"] for row in rows}
    return [
        method
        for method in dict.fromkeys(row["method"] for row in rows)
        if {row["attack"] for row in rows if row["method"] == method} == attacks
    ]


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """A row per method, both spreads in each cell. rows: of the table `methods`."""
    return pd.DataFrame(
        [
            {
                "Model": method_title(row["method"])
                if row["method"] == BEFORE
                else f"after {method_title(row['method'])}",
                **{f"{rate.short} %": _spread(row, rate.key) for rate in RATES},
                "Diverged": f"{row['diverged']} of {row['purifications']}"
                if row["method"] != BEFORE
                else "–",
            }
            for row in rows
        ]
    ).set_index("Model")


def _spread(row: Row, rate: str) -> str:
    """`7.4 ± 4.0 (± 2.1)`; a spread that nobody can know is left out."""
    if row[rate] is None:
        return "–"
    told = f"{100 * row[rate]:.1f}"
    if (models := row[f"{rate}_between_models"]) is not None:
        told += f" ± {100 * models:.1f}"
    seeds = row[f"{rate}_between_seeds"]
    return told if seeds is None or row["method"] == BEFORE else f"{told} (± {100 * seeds:.1f})"


def caption(rows: Sequence[Row], about: Row) -> str:
    """What the numbers are of: models, seeds, and all that the defender has."""
    models = {row["run"] for row in rows}
    attacks = {row["attack"] for row in rows}
    seeds = [row["purification_seeds"] for row in rows if row["method"] != BEFORE]
    few = f"{min(seeds)}" if min(seeds) == max(seeds) else f"{min(seeds)} to {max(seeds)}"
    clean = " or ".join(f"{count:,}" for count in about["num_clean"])
    machines = " or ".join(
        sorted({f"{of['hardware']}, torch {of['torch']}" for of in about["environments"]})
    )
    of_attacks = f" of {len(attacks)} attacks" if len(attacks) > 1 else ""
    planned = about["rows_planned"]
    so_far = (
        f" So far {about['rows']:,} of {planned:,} planned purifications are measured."
        if about["rows"] < planned
        else ""
    )
    return (
        f"*Measured*: {len(models)} models{of_attacks} on {library.title('data', 'signs')}, "
        f"{few} purification seeds for each method and model. {clean} clean images in all, other "
        f"ones with every seed; nothing is chosen on others. Whole test set.{so_far} {machines}."
    )
