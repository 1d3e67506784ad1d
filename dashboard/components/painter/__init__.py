"""A grid of pixels to paint on with mouse, finger or keyboard, a component in plain JavaScript.

The browser holds the drawing while somebody paints and sends it a moment after the last stroke.
What it sends is checked here before anything else sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import streamlit as st

from ngf.attacks.shared.drawing import LARGEST

_HERE = Path(__file__).parent
# Registered once per process: a second registration under this name would be logged as a duplicate.
_mount = st.components.v2.component(
    "ngf_painter",
    html='<div class="ngf-painter"></div>',
    isolate_styles=False,
    css=(_HERE / "painter.css").read_text(encoding="utf-8"),
    js=(_HERE / "painter.js").read_text(encoding="utf-8"),
)


def painter(pixels: np.ndarray, *, version: int, key: str, on_change: Callable[[], None]) -> None:
    """Show a drawing to paint on.

    pixels: the drawing, RGBA, uint8 (h, w, 4).
    version: the browser keeps what the visitor paints until this number changes; then it takes
        `pixels`.
    on_change: is called after a stroke; `painted(key)` gives the new drawing.
    """
    data = {
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "pixels": pixels.tobytes().hex(),
        "version": version,
    }
    _mount(data=data, key=key, on_drawing_change=on_change)


def painted(key: str) -> np.ndarray | None:
    """The drawing that the browser sent last, uint8 (h, w, 4); None when it sent none."""
    return pixels_of((st.session_state.get(key) or {}).get("drawing"))


def pixels_of(sent: Any) -> np.ndarray | None:
    """The drawing in what a browser sent, which may be anything; None when it is no drawing."""
    if not isinstance(sent, dict):
        return None
    height, width, text = sent.get("height"), sent.get("width"), sent.get("pixels")
    if not _is_side(height) or not _is_side(width) or not isinstance(text, str):
        return None
    if len(text) != 8 * height * width:  # two digits for each of four bytes
        return None
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    if len(raw) != 4 * height * width:  # there were spaces between the digits
        return None
    return np.frombuffer(raw, np.uint8).reshape(height, width, 4)


def _is_side(value: object) -> TypeGuard[int]:
    return type(value) is int and 1 <= value <= LARGEST
