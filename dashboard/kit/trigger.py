"""The trigger on real images: clean, triggered, what was changed, and what the classifier
says to each.
"""

from __future__ import annotations

import base64
import functools
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from dashboard.kit import library
from ngf.catalogue import catalogue
from ngf.runs.folder import PREVIEW
from ngf.runs.store import Run

PARTS = {"clean": "clean", "triggered": "triggered", "residual": "difference × 5 (gray: none)"}
_LARGEST = 96  # pixels on a side; larger images are made smaller for the page
# Images keep their pixels when they are enlarged; a caption has room for two lines, so that the
# rows stay in line.
_STYLE = """<style>
.ngf-pictures { display: grid; gap: 12px 6px;
  grid-template-columns: repeat(auto-fit, minmax(min(var(--smallest), 22%), 1fr)); }
@media (max-width: 640px) { .ngf-pictures.few { grid-template-columns: repeat(3, 1fr); } }
.ngf-pictures figure { margin: 0; min-width: 0; max-width: 120px; }
.ngf-pictures img { display: block; width: 100%; image-rendering: pixelated; border-radius: 3px;
  margin-bottom: 3px; }
.ngf-pictures figcaption, .ngf-pictures span { display: block; font-size: 0.78rem; line-height: 1.2;
  min-height: 2.4em; overflow-wrap: anywhere; margin-bottom: 3px; }
</style>"""


@st.cache_data(max_entries=32, show_spinner=False)
def _load(path: str, changed: float) -> dict[str, np.ndarray] | None:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if "pairs" not in arrays:  # written before the first release
        return None
    clean, triggered = arrays.pop("pairs").swapaxes(0, 1)
    return {
        **arrays,
        "clean": clean,
        "triggered": triggered,
        "residual": residual(clean, triggered),
    }


def residual(clean: np.ndarray, triggered: np.ndarray) -> np.ndarray:
    """The difference of uint8 images, five times amplified around gray: uint8."""
    return np.clip(128 + 5 * (triggered.astype(int) - clean), 0, 255).astype(np.uint8)


def preview(run: Run) -> dict[str, np.ndarray] | None:
    """What `preview.npz` holds: clean, triggered and residual, uint8 (n, H, W, 3), labels; None
    without one.

    If a model was there, also says_clean and says_triggered, the classes that it gives, text (n,).
    """
    path = Path(run.path) / PREVIEW
    return _load(str(path), path.stat().st_mtime) if path.exists() else None


def readable(name: Any) -> str:
    """A class as a reader knows it: `no_entry` is `no entry`."""
    return str(name).replace("_", " ")


def wanted(run: Run, labels: Sequence[Any]) -> list[str]:
    """The class that the attacker of a training wants for images of these true classes."""
    attack, classes = run.spec.attack, library.data_facts(run).get("classes", [])
    if not classes:
        return [""] * len(labels)
    options = {
        item["name"]: item["default"]
        for item in catalogue()["attacks"].get(attack.name, {}).get("fields", [])
    }
    options |= attack.options
    if options.get("mode") == "all-to-all":
        return [str(classes[(classes.index(name) + 1) % len(classes)]) for name in map(str, labels)]
    target = options.get("target", 0)
    return [str(classes[target]) if target < len(classes) else ""] * len(labels)


def pictures(
    arrays: Mapping[str, Any],
    aims: Sequence[str],
    *,
    count: int = 8,
    rows: Sequence[str] = tuple(PARTS),
    smallest: int = 72,
) -> str:
    """HTML of one column an image: the rows that are asked for, and below an image what the model
    says to it.

    arrays: clean, triggered, residual uint8 (n, H, W, 3); labels, says_clean, says_triggered text
    (n,), the last two if they are known; an empty text is not known yet. `aims`: the attacker's
    class of each image. `smallest`: width of an image in pixels, below which columns go to another
    line; four fit on a phone.
    """
    columns = []
    for i, label in enumerate(arrays["labels"][:count]):
        parts = []
        for row in rows:
            words = f"{readable(label)}, {row}"
            parts.append(f'<img src="{_source(arrays[row][i])}" alt="{html.escape(words)}">')
            if (says := arrays.get(f"says_{row}")) is not None:
                parts.append(f"<span>{html.escape(_verdict(says[i], label, aims[i]))}</span>")
        columns.append(f"<figure>{''.join(parts)}</figure>")
    few = " few" if len(columns) <= 6 else ""  # two rows of three on a phone, not four and two
    return (
        f'{_STYLE}<div class="ngf-pictures{few}" '
        f'style="--smallest:{smallest}px">{"".join(columns)}</div>'
    )


def _verdict(said: Any, label: Any, aim: str) -> str:
    if not str(said):
        return "…"
    mark = (
        "▲" if str(said) == aim and aim != str(label) else "✓" if str(said) == str(label) else "✗"
    )
    return f"{mark} {readable(said)}"


def legend(arrays: Mapping[str, Any]) -> str:
    """What is on the pictures, top to bottom, and what the marks mean."""
    text = f"Top to bottom: {', '.join(PARTS.values())}."
    if "says_clean" in arrays:
        text += (
            " Below an image: what the classifier says. ✓ true class, ▲ the attacker’s class, ✗ "
            "another."
        )
    return text


def _source(image: np.ndarray) -> str:
    return _png(np.ascontiguousarray(image).tobytes(), image.shape)


@functools.lru_cache(maxsize=2000)
def _png(raw: bytes, shape: tuple[int, ...]) -> str:
    """A picture as the address of an image, PNG."""
    picture = Image.fromarray(np.frombuffer(raw, np.uint8).reshape(shape))
    picture.thumbnail((_LARGEST, _LARGEST))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def show_trigger(run: Run, *, count: int = 8) -> None:
    """Columns of `count` images: clean, triggered, difference; a benign model has the first
    only.
    """
    arrays = preview(run)
    if arrays is None:
        st.caption("This run has no preview of its images.")
        return
    aims = wanted(run, arrays["labels"])
    if run.spec.attack.name == "none":
        st.html(pictures(arrays, aims, count=count, rows=("clean",)))
        st.caption("Test images. A benign model has no trigger.")
        return
    st.html(pictures(arrays, aims, count=count))
    st.caption(legend(arrays))
