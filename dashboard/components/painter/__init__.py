"""A grid of pixels to paint on, with mouse, finger or keyboard: a component of our own, plain
JavaScript.

The browser holds the drawing while it is painted and sends it a moment after the last stroke. What
it sends is checked here before anything else sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from ngf.attacks.shared.drawing import LARGEST

_HERE = Path(__file__).parent
# Registered once a process: a second registration under the name would only be logged as a
# duplicate.
_mount = st.components.v2.component(
    "ngf_painter",
    html='<div class="ngf-painter"></div>',
    isolate_styles=False,
    css=(_HERE / "painter.css").read_text(encoding="utf-8"),
    js=(_HERE / "painter.js").read_text(encoding="utf-8"),
)


def painter(pixels: np.ndarray, *, version: int, key: str, on_change: Callable[[], None]) -> None:
    """Show a drawing, uint8 (h, w, 4), RGBA, to be painted on.

    The browser keeps what the visitor paints until `version` is another number: then it takes
    `pixels`. `on_change` is called after a stroke; `painted(key)` is the drawing then.
    """
    data = {
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "pixels": pixels.tobytes().hex(),
        "version": version,
    }
    _mount(data=data, key=key, on_drawing_change=on_change)


def painted(key: str) -> np.ndarray | None:
    """What was painted last, uint8 (h, w, 4); None when nothing was, or when what came is no
    drawing.
    """
    return pixels_of((st.session_state.get(key) or {}).get("drawing"))


def pixels_of(sent: Any) -> np.ndarray | None:
    """The drawing in what a browser sent, which may be anything; None when it is no drawing."""
    if not isinstance(sent, dict):
        return None
    height, width, text = sent.get("height"), sent.get("width"), sent.get("pixels")
    if not all(
        type(side) is int and 1 <= side <= LARGEST for side in (height, width)
    ) or not isinstance(text, str):
        return None
    try:
        raw = bytes.fromhex(text) if len(text) == 8 * height * width else b""
    except ValueError:
        return None
    return (
        np.frombuffer(raw, np.uint8).reshape(height, width, 4)
        if len(raw) == 4 * height * width
        else None
    )
