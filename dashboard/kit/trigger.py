"""The trigger on real images: clean, triggered, the difference, and the class that the model gives
to each.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from dashboard.charts.png import source
from dashboard.kit import library
from ngf.catalogue import options_of
from ngf.runs.folder import PREVIEW
from ngf.runs.store import TrainRun

PARTS = {"clean": "clean", "triggered": "triggered", "residual": "difference × 5 (gray: none)"}
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
    """The difference of uint8 images, amplified five times around gray: uint8."""
    return np.clip(128 + 5 * (triggered.astype(int) - clean), 0, 255).astype(np.uint8)


def preview(run: TrainRun) -> dict[str, np.ndarray] | None:
    """The example images of a training, None when it kept none.

    clean, triggered, residual: images, uint8 (n, H, W, 3).
    labels: their true classes, text (n,).
    says_clean, says_triggered: the classes that the model gives, text (n,); missing when the
        images were made before there was a model.
    """
    path = run.path / PREVIEW
    return _load(str(path), path.stat().st_mtime) if path.exists() else None


def readable(name: Any) -> str:
    """The name of a class as readers know it: `no_entry` is `no entry`."""
    return str(name).replace("_", " ")


def wanted(run: TrainRun, labels: Iterable[Any]) -> list[str]:
    """The class that the attacker wants for each image, by the true classes of the images; empty
    texts where the names of the classes are unknown.
    """
    names = [str(label) for label in labels]
    attack, classes = run.spec.attack, library.data_facts(run).get("classes", [])
    if not classes:
        return [""] * len(names)
    options = options_of("attacks", attack, run.spec.revision)
    if options.get("mode") == "all-to-all":
        return [str(classes[(classes.index(name) + 1) % len(classes)]) for name in names]
    target = options.get("target", 0)
    return [str(classes[target]) if target < len(classes) else ""] * len(names)


def pictures(
    arrays: Mapping[str, Any],
    aims: Sequence[str],
    *,
    count: int = 8,
    rows: Sequence[str] = tuple(PARTS),
    smallest: int = 72,
) -> str:
    """HTML with one column per image, and below an image the class that the model gives to it.

    arrays: as `preview` gives them; an empty text in says_* stands for a class not known yet.
    aims: the class that the attacker wants for each image.
    count: how many images are shown at most.
    rows: which of the images are shown, top to bottom.
    smallest: the width in pixels below which columns move to the next line; four fit on a phone.
    """
    columns = []
    for i, label in enumerate(arrays["labels"][:count]):
        parts = []
        for row in rows:
            words = f"{readable(label)}, {row}"
            parts.append(f'<img src="{source(arrays[row][i])}" alt="{html.escape(words)}">')
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
    """What the pictures show, top to bottom, and what the marks mean."""
    text = f"Top to bottom: {', '.join(PARTS.values())}."
    if "says_clean" in arrays:
        text += (
            " Below an image: what the classifier says. ✓ true class, ▲ the attacker’s class, ✗ "
            "another."
        )
    return text


def show_trigger(run: TrainRun, *, count: int = 8) -> None:
    """The first `count` images: clean, triggered, difference; of a benign model only the clean
    ones.
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
