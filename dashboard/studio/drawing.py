"""The choices of the trigger studio: a drawing, its place, and the model it is tried on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from dashboard.components.painter import painted, painter
from dashboard.kit import library, url
from dashboard.kit.submit import refuse, show_refusal
from dashboard.kit.trigger import readable
from dashboard.studio.upload import FORMATS, MOST_MEGABYTES, drawing_of
from ngf.attacks.shared.drawing import LARGEST, decode, encode
from ngf.catalogue import normalize, options_of
from ngf.config import Choice
from ngf.options import SpecError
from ngf.outside.pictures import names_of
from ngf.runs.store import TrainRun

_PLACE = ("row", "column", "scale", "alpha", "target", "poison")
_FIRST = ("signs", "drawn", 0)  # of the model that is tried first: it knows the first drawing


def restore_widgets(values: Mapping[str, Any], fresh: bool, models: Sequence[TrainRun]) -> None:
    """Give the widgets of the page their values from the address, if that is new; otherwise they
    keep theirs. `url.notice` shows what the address says wrongly.
    """
    if fresh or "studio.drawing" not in st.session_state:
        set_drawing(_decoded(values["drawing"] or default_drawing()))
        st.session_state["studio.touched"] = False  # a link makes choices; it measures nothing
        known = [run.id for run in models]
        if values["model"] and values["model"] not in known:
            url.ignore("studio", f"model “{values['model']}” is not a trained model of this store.")
        st.session_state["studio.model"] = (
            values["model"] if values["model"] in known else _first(models)
        )
    url.restore_widgets("studio", {name: values[name] for name in _PLACE}, fresh)


def _decoded(text: str) -> np.ndarray:
    """The drawing of a text, the default one where the text is none."""
    try:
        return decode(text)
    except SpecError as error:
        url.ignore("studio", f"The drawing was ignored. {error}")
        return decode(default_drawing())


def default_drawing() -> str:
    """The text of the drawing that the attack `drawn` has by default."""
    return str(options_of("attacks", Choice("drawn"))["drawing"])


def _first(models: Sequence[TrainRun]) -> str:
    """The id of the model that is tried first; empty when there is none."""
    fitting = [
        run.id for run in models if (run.spec.data, run.spec.attack.name, run.spec.seed) == _FIRST
    ]
    return (fitting or [run.id for run in models] or [""])[0]


def touch() -> None:
    """Note that the visitor has changed something, so that the trigger may be measured."""
    st.session_state["studio.touched"] = True


def set_drawing(pixels: np.ndarray) -> None:
    """Give the painter another drawing: uint8 (h, w, 4)."""
    st.session_state["studio.drawing"] = encode(pixels)
    st.session_state["studio.version"] = st.session_state.get("studio.version", 0) + 1
    st.session_state["studio.side"] = max(2, *pixels.shape[:2])
    st.session_state["studio.pictured"] = False
    touch()


def _take_stroke() -> None:
    pixels = painted("studio.painter")
    if pixels is not None:
        st.session_state["studio.drawing"] = encode(pixels)
        st.session_state["studio.pictured"] = False
        touch()


def _take_side() -> None:
    """Take another size of the grid: a picture is scaled again; what was painted keeps its place,
    counted from the upper left.
    """
    if st.session_state.get("studio.pictured") and st.session_state.get("studio.file") is not None:
        _take_file()
        return
    side, before = st.session_state["studio.side"], decode(st.session_state["studio.drawing"])
    pixels = np.zeros((side, side, 4), np.uint8)
    height, width = min(side, before.shape[0]), min(side, before.shape[1])
    pixels[:height, :width] = before[:height, :width]
    set_drawing(pixels)


def _take_file() -> None:
    file = st.session_state.get("studio.file")
    refuse("studio.picture", None)
    if file is None:
        return
    try:
        picture = drawing_of(file.getvalue(), st.session_state["studio.side"])
        set_drawing(picture.made)
        st.session_state["studio.pictured"] = True
        st.session_state["studio.several"] = picture.several
    except ValueError as error:
        refuse("studio.picture", error)


def choose_model(models: Sequence[TrainRun]) -> TrainRun:
    """One select box with all trained models."""
    known = {run.id: run for run in models}
    if st.session_state["studio.model"] not in known:
        st.session_state["studio.model"] = _first(models)
    labels = library.tell_apart(
        known,
        lambda run: (
            f"{library.short('attacks', run.spec.attack.name)} · "
            f"{library.short('data', run.spec.data)} · {library.describe_train(run)}"
        ),
    )
    chosen = st.selectbox(
        "Model",
        list(known),
        key="studio.model",
        format_func=labels.__getitem__,
        on_change=touch,
        help="Models of the zoo, and those that you trained. Most have never seen your trigger.",
    )
    return known[chosen]


def choose_drawing() -> np.ndarray:
    """The painter, the size of its grid, and a picture instead: uint8 (h, w, 4)."""
    pixels = decode(st.session_state["studio.drawing"])
    painter(
        pixels,
        version=st.session_state["studio.version"],
        key="studio.painter",
        on_change=_take_stroke,
    )
    st.slider(
        "Grid",
        2,
        LARGEST,
        key="studio.side",
        on_change=_take_side,
        format="%d pixels",
        help=(
            "Pixels on a side. What is painted keeps its place; a picture is made as small as the "
            "grid."
        ),
    )
    with st.expander("Use a picture", icon=":material/image:"):
        st.file_uploader(
            f"{names_of(FORMATS)}, at most {MOST_MEGABYTES} MB",
            key="studio.file",
            max_upload_size=MOST_MEGABYTES,
            on_change=_take_file,
            help="It is made as small as the grid; only that is kept.",
        )
        show_refusal("studio.picture")
        if st.session_state["studio.pictured"] and st.session_state.get("studio.several"):
            st.caption("The file holds several pictures; this is the first.")
    return pixels


def choose_place(pixels: np.ndarray, shape: Sequence[int]) -> None:
    """Sliders for place, size and opacity, within images of `shape` (C, H, W)."""
    height, width = pixels.shape[:2]
    _slider("Enlarge", "scale", 1, max(1, min(shape[1] // height, shape[2] // width)), "%d ×")
    scale = st.session_state["studio.scale"]
    first, second = st.columns(2)
    with first:
        _slider("Row", "row", 0, max(0, shape[1] - height * scale), "%d")
    with second:
        _slider("Column", "column", 0, max(0, shape[2] - width * scale), "%d")
    _slider("Opacity", "alpha", 1, 100, "%d %%")


def _slider(label: str, name: str, low: int, high: int, form: str) -> None:
    key = f"studio.{name}"
    st.session_state[key] = max(low, min(high, st.session_state[key]))
    if low == high:  # a slider needs room
        st.caption(f"{label}: {form % low}")
    else:
        st.slider(label, low, high, key=key, format=form, on_change=touch)


def choose_target(classes: Sequence[str]) -> None:
    """The class that the attacker wants, by name."""
    if st.session_state["studio.target"] >= len(classes):
        st.session_state["studio.target"] = 0
    st.selectbox(
        "Target class",
        range(len(classes)),
        key="studio.target",
        on_change=touch,
        format_func=lambda i: readable(classes[i]),
        help="The class that triggered images are to be called.",
    )


def use_model(run_id: str) -> None:
    """Try the trigger on another model, for a button."""
    st.session_state["studio.model"] = run_id
    touch()


def place() -> dict[str, int]:
    """`row`, `column`, `scale` and `target`; `alpha` and `poison` in percent."""
    return {name: st.session_state[f"studio.{name}"] for name in _PLACE}


def choice() -> Choice:
    """The attack with the choices of the page. Raises SpecError."""
    options = place()
    return normalize(
        "attacks",
        Choice(
            "drawn",
            {
                "drawing": st.session_state["studio.drawing"],
                "alpha": options.pop("alpha") / 100,
                "poison_rate": options.pop("poison") / 100,
                **options,
            },
        ),
    )


def in_address(trained: TrainRun | None, models: Sequence[TrainRun]) -> dict[str, Any]:
    """The values of the address for the choices of the page, the drawing included."""
    text, first = st.session_state["studio.drawing"], _first(models)
    return {
        **place(),
        "drawing": "" if text == default_drawing() else text,
        "model": "" if trained is None or trained.id == first else trained.id,
    }
