"""What there is to know about a network before it is used: its size, its features, and the layers
that can be tuned. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.kit import library
from ngf.catalogue import catalogue


def model_card(name: str, key: str) -> None:
    """How many weights and layers a network has, and behind a click which; nothing for an unknown
    network.
    """
    about = catalogue()["models"].get(name)
    if about is None:
        return
    with st.expander(
        f"{about['num_parameters']:,} parameters, {len(about['layers'])} layers to tune",
        key=key,
        icon=":material/lan:",
    ):
        st.markdown("\n".join(f"- **{word}**: {said}" for word, said in facts(about)))
        st.dataframe(
            layers(about), hide_index=True, height="content" if len(about["layers"]) < 12 else 320
        )
        st.caption(
            "Counted for 10 classes and color images of 32x32. BatchNorm is not among the layers: "
            "its statistics tie the images of a batch together, and NGF uses the Fisher "
            "information of single images."
        )


def facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines of the card, each as (what it is about, what it says)."""
    lines = [
        ("Features", f"{about['num_features']:,}, from `{about['features']}`"),
        (
            "Classifier",
            f"`{about['classifier']}`, exact natural gradient; all other layers by K-FAC",
        ),
    ]
    return [*lines, ("Small images", library.plain(about["small"]))] if about["small"] else lines


def layers(about: Mapping[str, Any]) -> pd.DataFrame:
    """The layers that can be tuned, in the order of the network, and what each is."""
    return pd.DataFrame({"Layer": about["layers"], "What it is": about["kinds"]})
