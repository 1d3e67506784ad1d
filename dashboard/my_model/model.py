"""An imported model: what it is, how it does, and what was found out of it."""

from __future__ import annotations

import streamlit as st

from dashboard.charts.style import percent
from dashboard.kit import library, visitor
from dashboard.my_model.bringing import show_found
from ngf.runs.store import TrainRun


def label(run: TrainRun) -> str:
    """`model.pt · resnet18 · CA 84 %`, and how many pictures with the trigger came along"""
    about = (run.result or {}).get("imported", {})
    (row,) = run.facts.rows
    text = f"{about.get('file', run.id)} · {run.spec.model} · CA {percent(row['ca'])}"
    if row["asr"] is None:
        return text
    return f"{text} · ASR {percent(row['asr'])} of {(run.result or {})['n_triggered']:,} pictures"


def show(run: TrainRun) -> None:
    result = run.result or {}
    about = result["imported"]
    low, high = result["ca_interval"]
    pools = result["facts"]["pools"]
    known = result["n_triggered"]
    first, second, third, *more = st.columns(4 if known else 3)
    first.metric("Clean accuracy", percent(result["ca"]))
    first.caption(
        f"of {pools['test']:,} images that no defense sees; 95 % interval {percent(low)} to "
        f"{percent(high)}"
    )
    second.metric("Images for the defender", f"{pools['holdout']:,}")
    if not about["labeled"]:
        second.caption("Labels are the model's own predictions: accuracy says how many stay.")
    third.metric("Classes", len(result["facts"]["classes"]))
    for column in more:
        column.metric("Attack success rate", percent(result["asr"]))
        low, high = result["asr_interval"]
        column.caption(
            f"of the {known:,} pictures with the trigger that came along; 95 % interval "
            f"{percent(low)} to {percent(high)}"
        )
    with st.expander("What was found out of the file", icon=":material/search:"):
        st.markdown(
            f"**{library.plain(about['file'])}** · SHA-256 `{about['sha256'][:16]}…`\n"
            + "".join(f"\n- {library.plain(note)}" for note in about["notes"])
        )
        if about["unused"]:
            st.caption(f"Not used: {library.plain(', '.join(about['unused']))}.")
        show_found(
            {
                "network": {"title": about["network"]},
                **{name: about[f"found_{name}"] for name in ("tried", "classes", "images")},
            }
        )


def delete(run_id: str) -> None:
    """Delete an import and all that came of it, for a button."""
    run = library.find(run_id)
    try:
        if run is not None:
            visitor.delete(run)
            st.session_state["my_model.said"] = "The import is deleted, and all that came of it."
            st.session_state["my_model.run"] = ""
    except (ValueError, KeyError) as error:
        st.session_state["my_model.said"] = str(error)
