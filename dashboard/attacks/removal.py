"""What purification achieves on the models of the zoo, measured beforehand for every attack."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.charts.evidence import SUBJECTS, method_title
from dashboard.charts.rates import RATES
from dashboard.charts.removal import rates, removal_chart
from dashboard.charts.style import listed
from dashboard.charts.titles import lane_title
from dashboard.kit import library
from dashboard.kit.evidence import evidence
from dashboard.kit.show import show


def show_removal(names: list[str]) -> None:
    """The attacks `names` in one chart, if several were measured; the card of an attack shows its
    numbers.
    """
    if (found := evidence("removal")) is None:
        return
    rows = [row for row in found["rows"] if row["attack"] in names]
    shown = len({row["attack"] for row in rows})
    if shown < 2:
        return
    st.header("What purification achieves")
    attacks = {name: library.title("attacks", name) for name in names}
    show(
        removal_chart(rows, attacks, found["gone"]),
        f"attacks.removal.{'-'.join(names)}",
        name="purification of every attack",
        height=120 + 62 * shown,
    )
    data = listed(list(dict.fromkeys(library.title("data", row["data"]) for row in rows)))
    methods = listed([lane_title(lane) for lane in rows[0]["after"]])
    counts = sorted({sum(row["attack"] == name for row in rows) for name in attacks} - {0})
    seeds = "–".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    hardware = found["environment"]
    st.caption(
        f"*Measured*: {len(rows)} models on {data}, {seeds} seeds per attack; {methods} with the "
        f"Lab's defaults, {found['steps']} steps on {found['num_clean']} clean images, each seed's "
        f"own; whole test set. {hardware['hardware']}, torch {hardware['torch']}."
    )


def show_rates(name: str) -> None:
    """The rates of an attack's models before and after, mean (lowest–highest) over seeds."""
    if (found := evidence("removal")) is None:
        return
    rows = [row for row in found["rows"] if row["attack"] == name]
    if not rows:
        return

    def spread(method: str, key: str) -> str:
        values = [100 * rates(row, method)[key] for row in rows]
        return f"{sum(values) / len(values):.1f} ({min(values):.1f}–{max(values):.1f})"

    st.markdown(f"**Purified**, {found['num_clean']} clean images, {len(rows)} seeds:")
    st.table(
        pd.DataFrame(
            [
                {
                    "Model": method_title(method),
                    **{f"{rate.short} %": spread(method, rate.key) for rate in RATES},
                }
                for method in SUBJECTS
            ]
        ).set_index("Model")
    )
