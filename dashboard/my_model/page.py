"""My model: import, checkup, purification with an unknown trigger, and the way home."""

from __future__ import annotations

import streamlit as st

from dashboard.kit import library, url, visitor
from dashboard.my_model import bringing, checkup, model, purifying
from ngf.runs.store import TrainRun


def imports() -> list[TrainRun]:
    """The visitor's imported models, the newest first."""
    found = [run for run in library.trained() if run.spec.imported]
    return sorted(found, key=lambda run: run.request["submitted_at"], reverse=True)


def choose(runs: list[TrainRun]) -> TrainRun | None:
    labels = library.tell_apart({run.id: run for run in runs}, model.label)
    picked = st.selectbox(
        "Your imports",
        ["", *labels],
        format_func=lambda name: labels.get(name, "Bring another model"),
        key="my_model.run",
    )
    return next((run for run in runs if run.id == picked), None)


def opened(run_id: str) -> None:
    st.session_state["my_model.run"] = run_id


st.title("My model")
st.markdown(
    "Bring a model that you do not trust and a few hundred clean images. You learn whether it "
    "seems to have a backdoor, clean it although nobody knows the trigger, and take the weights "
    "home in the form in which they came."
)
runs = imports()
values, fresh = url.follow("my_model", {"run": [run.id for run in runs]})
url.restore_widgets("my_model", {"run": values["run"] or (runs[0].id if runs else "")}, fresh)
url.notice("my_model")
if st.session_state["my_model.run"] not in {"", *(run.id for run in runs)}:
    st.session_state["my_model.run"] = ""
said = st.session_state.pop("my_model.said", "")
if said:
    st.info(library.plain(said), icon=":material/info:")
if not runs:
    st.caption("You have not brought a model yet.")
run = choose(runs) if runs else None
if run is None:
    if new := bringing.form():
        st.query_params["run"] = new
        st.session_state.pop("url.my_model", None)
        st.rerun()
else:
    st.header("1. What it is")
    model.show(run)
    checkup.show(run)
    purifying.show(run)
    with st.popover("Delete this import", icon=":material/delete:"):
        if refusal := visitor.why_not(run, "delete"):
            st.caption(refusal)
        else:
            st.markdown("The weights, the images and all that came of them here are gone for good.")
            st.button(
                "Delete for good", key="my_model.delete", on_click=model.delete, args=(run.id,)
            )
url.write("my_model", {"run": run.id if run else ""})
