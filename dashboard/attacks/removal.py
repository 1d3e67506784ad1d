"""What purification made of the zoo's models, measured beforehand for every attack."""

from __future__ import annotations

import functools
import json
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.evidence import SUBJECTS, method_title
from dashboard.charts.removal import rates, removal_chart
from dashboard.kit import library
from dashboard.kit.show import show
from ngf import places


@functools.cache
def _load() -> dict[str, Any]:
    path = places.ASSETS / "evidence" / "removal.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}


def show_removal(names: list[str]) -> None:
    """All attacks of `names` in one chart, if there is evidence of several; the card of one
    has its own numbers.
    """
    found = _load()
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
    counts = sorted({sum(row["attack"] == name for row in rows) for name in attacks} - {0})
    seeds = "–".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    hardware = found["environment"]
    st.caption(
        f"*Measured*: {len(rows)} models on {library.title('data', 'signs')}, "
        f"{seeds} seeds an attack; NGF, SGD and Adam with the Lab's defaults, "
        f"{found['steps']} steps on {found['num_clean']} clean images, each seed's own; whole "
        f"test set. {hardware['hardware']}, torch {hardware['torch']}."
    )


def show_rates(name: str) -> None:
    """CA, ASR and RA of one attack's models before and after, mean (lowest–highest) over seeds."""
    rows = [row for row in _load()["rows"] if row["attack"] == name]
    if not rows:
        return

    def spread(method: str, rate: str) -> str:
        values = [100 * rates(row, method)[rate] for row in rows]
        return f"{sum(values) / len(values):.1f} ({min(values):.1f}–{max(values):.1f})"

    st.markdown(f"**Purified**, 500 clean images, {len(rows)} seeds:")
    st.table(
        pd.DataFrame(
            [
                {
                    "Model": method_title(method),
                    **{f"{rate.upper()} %": spread(method, rate) for rate in ("ca", "asr", "ra")},
                }
                for method in SUBJECTS
            ]
        ).set_index("Model")
    )
