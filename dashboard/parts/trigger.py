"""The trigger on real images: clean, triggered, and what was changed, five times as strong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st

from ngf.jobs.store import Run

_GAP = 2  # pixels between tiles
_TILE = 96  # about the side of a tile on the page, in pixels
PARTS = {"clean": "Clean", "triggered": "Triggered", "residual": "Difference × 5"}


@st.cache_data(max_entries=32, show_spinner=False)
def _load(path: str, changed: float) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def preview(run: Run) -> dict[str, np.ndarray] | None:
    """Arrays of `preview.npz`: clean, triggered, residual uint8 (n, H, W, 3), labels; None without one."""
    path = Path(run.path) / "preview.npz"
    return _load(str(path), path.stat().st_mtime) if path.exists() else None


def mosaic(images: np.ndarray, columns: int) -> np.ndarray:
    """One picture uint8 (H, W, 4) of `images` uint8 (n, h, w, 3) in rows, enlarged without smoothing.

    The gaps are transparent, so the picture suits a light and a dark page.
    """
    count, height, width = images.shape[:3]
    scale = max(1, _TILE // height)
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width, gap = height * scale, width * scale, _GAP * scale
    rows = -(-count // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top:top + height, left:left + width, :3] = image
        sheet[top:top + height, left:left + width, 3] = 255
    return sheet


def show_trigger(run: Run, *, count: int = 4, columns: int = 2) -> None:
    """Three pictures side by side, each `count` images."""
    arrays = preview(run)
    if arrays is None:
        st.caption("This run has no preview of its trigger.")
        return
    labels = [str(name).replace("_", " ") for name in arrays["labels"][:count]] if "labels" in arrays else []
    listed = ", ".join(labels[:count])
    for column, (name, caption) in zip(st.columns(3), PARTS.items(), strict=True):
        alt = {"clean": f"Clean images: {listed}.", "triggered": "The same images with the trigger.",
               "residual": "What the trigger changed, five times as strong; gray means unchanged."}[name]
        column.image(mosaic(arrays[name][:count], columns), caption=caption, width="stretch",
                     output_format="PNG", alt=alt)
