"""What others have published, beside what was measured here: never in one column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.arena.cell import caption
from dashboard.charts.arena_titles import arena_title
from dashboard.charts.titles import short
from ngf import places
from ngf.runs.files import Damaged, read_once

Found = Mapping[str, Any]
_FILE = "backdoorbench.json"


def show_published(found: Found) -> dict[str, str]:
    """Two tables: of shares that count as removed, and cell by cell."""
    public = _read()
    if public is None:
        st.info("The file of published figures is missing.", icon=":material/inbox:")
        return {}
    about, methods = public["about"], found["about"]["methods"]
    st.markdown(
        f"*Published*: {about['source']}, {about['dated']}; {about['data']}, {about['network']}, "
        f"{100 * about['poison_rate']:.0f} % poisoned, {about['clean_images']:,} clean images. "
        f"*Measured*: here, drawn traffic signs, a small residual network, "
        f"{found['about']['num_clean']} clean images. Data, network, budget and the way in which "
        "settings were chosen differ, so a column says how a method does there, and no difference "
        "between columns is the method's alone."
    )
    here = {row["method"]: row for row in found["methods"]}
    gone = about["shares"]["gone"]
    st.markdown("**Share of models whose attack success falls to 10 % or less**")
    st.dataframe(
        [
            {
                "Method": arena_title(name, methods),
                "Published (%)": None if name not in gone else round(100 * gone[name]),
                "Measured (%)": round(100 * row["gone"]),
                "Measured on models": row["models"],
            }
            for name, row in here.items()
            if row["gone"] is not None
        ],
        hide_index=True,
        width="stretch",
    )
    st.caption(f"Published: {about['shares']['of']}.")
    cells = {(row["attack"], row["method"]): row for row in found["cells"]}
    st.markdown("**Cell by cell: ASR left, and clean accuracy before and after (%)**")
    before = {row["attack"]: row for row in public["rows"] if row["method"] == "before"}
    st.dataframe(
        [
            {
                "Attack": short("attacks", row["attack"]),
                "Method": arena_title(row["method"], methods),
                "Published ASR": 100 * row["asr"],
                "Published CA": f"{100 * before[row['attack']]['ca']:.1f} → {100 * row['ca']:.1f}",
                "Measured ASR": round(100 * cells[row["attack"], row["method"]]["asr"], 1),
                "Measured CA lost": round(100 * cells[row["attack"], row["method"]]["ca_lost"], 1),
            }
            for row in public["rows"]
            if (row["attack"], row["method"]) in cells
        ],
        hide_index=True,
        width="stretch",
    )
    st.caption(caption(found["about"]))
    return {}


def _read() -> dict[str, Any] | None:
    try:
        found = read_once(places.ASSETS / "published" / _FILE)
    except Damaged:
        return None
    return found if isinstance(found, dict) else None
