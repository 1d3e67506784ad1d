"""The trigger on real images: clean, triggered, and what was changed, five times as strong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st

from ngf.jobs.store import Run

_GAP = 2  # pixels between tiles
_TILE = 96  # about the side of a tile on the page, in pixels
PARTS = {"clean": "clean", "triggered": "triggered", "residual": "difference × 5 (gray: none)"}


@st.cache_data(max_entries=32, show_spinner=False)
def _load(path: str, changed: float) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def preview(run: Run) -> dict[str, np.ndarray] | None:
    """Arrays of `preview.npz`: clean, triggered, residual uint8 (n, H, W, 3), labels; None without one."""
    path = Path(run.path) / "preview.npz"
    return _load(str(path), path.stat().st_mtime) if path.exists() else None


def mosaic(rows: list[np.ndarray]) -> np.ndarray:
    """One picture uint8 (H, W, 4): `rows` of images uint8 (n, h, w, 3), enlarged without smoothing.

    The gaps are transparent, so the picture suits a light and a dark page.
    """
    count, height, width = rows[0].shape[:3]
    scale = max(1, _TILE // height)
    height, width, gap = height * scale, width * scale, _GAP * scale
    sheet = np.zeros((len(rows) * (height + gap) - gap, count * (width + gap) - gap, 4), np.uint8)
    for i, images in enumerate(rows):
        for j, image in enumerate(images.repeat(scale, axis=1).repeat(scale, axis=2)):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top:top + height, left:left + width, :3] = image
            sheet[top:top + height, left:left + width, 3] = 255
    return sheet


def show_trigger(run: Run, *, count: int = 8) -> None:
    """Three rows of `count` images: clean, triggered, difference; a benign model has the first only."""
    arrays = preview(run)
    if arrays is None:
        st.caption("This run has no preview of its images.")
        return
    listed = ", ".join(str(name).replace("_", " ") for name in arrays["labels"][:count])
    if run.spec.attack.name == "none":
        st.image(mosaic([arrays["clean"][:count]]), width="stretch", output_format="PNG",
                 caption="Test images. A benign model has no trigger.", alt=f"Test images of {listed}.")
        return
    st.image(mosaic([arrays[name][:count] for name in PARTS]), width="stretch", output_format="PNG",
             caption=f"Top to bottom: {', '.join(PARTS.values())}.",
             alt=f"Three rows of images. First row: clean images of {listed}. Second row: the same with the "
                 "trigger. Third row: what the trigger changed, five times as strong; gray is unchanged.")
