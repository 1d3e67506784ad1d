"""All attacks at one look: an image of each, without and with its trigger. A press leads to its
card.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import streamlit as st

from dashboard.attacks.attack_card import anchor, zoo_runs
from dashboard.charts.style import percent
from dashboard.kit import library
from dashboard.kit.trigger import preview, source
from ngf.runs.store import TrainRun

_STYLE = """<style>
.ngf-gallery { display: grid; gap: 14px 12px;
  grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }
.ngf-gallery a { color: inherit; text-decoration: none; border-radius: 8px; padding: 6px;
  border: 1px solid color-mix(in srgb, currentColor 18%, transparent); }
.ngf-gallery a:hover, .ngf-gallery a:focus-visible { border-color: var(--st-primary-color, #0072b2);
  outline: 2px solid var(--st-primary-color, #0072b2); }
.ngf-gallery .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 4px; min-height: 4rem; }
.ngf-gallery img { display: block; width: 100%; image-rendering: pixelated; border-radius: 4px; }
.ngf-gallery b { display: block; margin-top: 6px; line-height: 1.25; }
.ngf-gallery span { font-size: 0.85rem; opacity: 0.8; }
</style>"""


def show_gallery(
    names: Sequence[str], known: Mapping[str, Mapping[str, Any]], models: Sequence[TrainRun]
) -> None:
    """A tile per attack. known: what the catalogue says of each; models: all trained ones."""
    tiles = "".join(_tile(name, known[name], zoo_runs(name, models)) for name in names)
    st.html(f'{_STYLE}<nav class="ngf-gallery" aria-label="All attacks">{tiles}</nav>')
    st.caption(
        "Left without, right with the trigger. ASR: attack success rate, mean over the models that "
        "come along. A press leads to the card below."
    )


def _tile(name: str, about: Mapping[str, Any], found: Sequence[TrainRun]) -> str:
    signs = [run for run in found if run.spec.data == "signs"] or found
    rates = [run.finished()["asr"] for run in signs]
    said = f"ASR {percent(mean(rates))}" if rates else "not trained yet"
    return (
        f'<a href="#{anchor(name)}"><div class="pair">{_images(signs)}</div>'
        f"<b>{html.escape(library.short('attacks', name))}</b><span>{html.escape(said)}</span></a>"
    )


def _images(found: Sequence[TrainRun]) -> str:
    """The image on which the trigger changes most, so that something is seen."""
    arrays = next((a for run in found if (a := preview(run)) is not None), None)
    if arrays is None:
        return ""
    changes = abs(arrays["residual"].astype(int) - 128).reshape(len(arrays["residual"]), -1).mean(1)
    place = int(changes.argmax())
    return "".join(
        f'<img src="{source(arrays[kind][place])}" alt="{words}">'
        for kind, words in (("clean", "without the trigger"), ("triggered", "with the trigger"))
    )
