"""Attacks: every way of hiding a backdoor that this version knows, with its picture."""

from __future__ import annotations

import streamlit as st

from dashboard.attacks import KINDS
from dashboard.attacks.attack_card import kinds, show_card
from dashboard.attacks.gallery import show_gallery
from dashboard.attacks.removal import show_removal
from dashboard.kit import glossary, library, url
from ngf.catalogue import catalogue

st.title("Attacks")
st.markdown(
    "Every way of hiding a backdoor that can be picked here. Each picture is of a model that was "
    "really trained with it."
)
known = {name: about for name, about in catalogue()["attacks"].items() if name != "none"}
values, fresh = url.follow("attacks", {"attack": list(known)})
url.restore_widgets("attacks", values, fresh)
url.notice("attacks")
there = [kind for kind in KINDS if any(kind in kinds(about) for about in known.values())]
st.session_state["attacks.kind"] = [
    kind for kind in st.session_state["attacks.kind"] if kind in there
]
chosen = st.pills(
    "Kind", there, selection_mode="multi", key="attacks.kind", format_func=KINDS.__getitem__
)
wanted = st.multiselect(
    "Attacks",
    list(known),
    key="attacks.attack",
    placeholder="All",
    format_func=lambda name: known[name]["title"],
)
glossary.explain("trigger", "target", "poison_rate", "ca", "asr", "interval")
shown = [
    name
    for name, about in known.items()
    if (not wanted or name in wanted) and (not chosen or set(chosen) & set(kinds(about)))
]
models = library.trained()
if not any(run.spec.attack.name != "none" for run in models):
    st.info(
        "No model was trained with any of them yet, so there are no pictures. "
        "`python -m evidence zoo` trains some, and so does the Lab.",
        icon=":material/image_not_supported:",
    )
if not shown:
    st.info("No attack fits these filters.", icon=":material/inbox:")
else:
    show_gallery(shown, known, models)
show_removal(shown)
for name in shown:
    show_card(name, known[name], models)
url.write("attacks", {"attack": tuple(wanted), "kind": tuple(chosen)})
