"""The state of the trigger studio: a drawing, its place, the model it is tried on, and the
runs that follow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from dashboard.components.painter import painted, painter
from dashboard.kit import library, url
from dashboard.kit.submit import ask, refuse, show_refusal
from dashboard.studio.upload import MOST_MEGABYTES, drawing_of
from ngf.attacks.shared.drawing import LARGEST, decode, encode
from ngf.catalogue import catalogue, normalize
from ngf.config import Choice, MeasureSpec, TrainSpec
from ngf.options import SpecError
from ngf.runs.folder import OPEN
from ngf.runs.store import Run

KEPT = 5  # finished probes of one visit; those before are deleted, because every stroke makes one
REFUSED = "studio"  # where it is said that a probe or a training was refused
_PLACE = ("row", "column", "scale", "alpha", "target", "poison")
_FIRST = ("signs", "badnets", 0)  # data, attack and seed of the model that is tried first


def seed(values: Mapping[str, Any], fresh: bool, models: Sequence[Run]) -> None:
    """Start values from the address when it is new; what it says wrongly is named there."""
    if fresh or "studio.drawing" not in st.session_state:
        text = values["drawing"] or _default("drawing")
        try:
            decode(text)
        except SpecError as error:
            url.ignore("studio", f"The drawing was ignored. {error}")
            text = _default("drawing")
        set_drawing(decode(text))
        st.session_state["studio.touched"] = False  # a link chooses; it measures nothing
        known = [run.id for run in models]
        if values["model"] and values["model"] not in known:
            url.ignore("studio", f"model “{values['model']}” is not a trained model of this store.")
        st.session_state["studio.model"] = (
            values["model"] if values["model"] in known else _first(models)
        )
    url.seed("studio", {name: values[name] for name in _PLACE}, fresh)


def _default(name: str) -> Any:
    return next(
        item["default"]
        for item in catalogue()["attacks"]["drawn"]["fields"]
        if item["name"] == name
    )


def _first(models: Sequence[Run]) -> str:
    fitting = [
        run.id for run in models if (run.spec.data, run.spec.attack.name, run.spec.seed) == _FIRST
    ]
    return (fitting or [run.id for run in models] or [""])[0]


def touch() -> None:
    """Something was changed by hand: what follows from it may be measured."""
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
    """Another grid: a picture is made small anew; what was painted stays, counted from the
    upper left.
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
        set_drawing(drawing_of(file.getvalue(), st.session_state["studio.side"]))
        st.session_state["studio.pictured"] = True
    except ValueError as error:
        refuse("studio.picture", error)


def choose_model(models: Sequence[Run]) -> Run:
    """One selectbox over all trained models."""
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
    return known[
        st.selectbox(
            "Model",
            list(known),
            key="studio.model",
            format_func=labels.get,
            on_change=touch,
            help=(
                "Models of the zoo, and those that you trained. Most have never seen your trigger."
            ),
        )
    ]


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
            f"PNG or JPEG, at most {MOST_MEGABYTES} MB",
            type=["png", "jpg", "jpeg"],
            key="studio.file",
            max_upload_size=MOST_MEGABYTES,
            on_change=_take_file,
            help="It is made as small as the grid; only that is kept.",
        )
        show_refusal("studio.picture")
    return pixels


def choose_place(pixels: np.ndarray, shape: Sequence[int]) -> None:
    """Sliders for place, size and opacity, in the bounds of images of `shape` (C, H, W)."""
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
    if st.session_state["studio.target"] >= len(classes):
        st.session_state["studio.target"] = 0
    st.selectbox(
        "Target class",
        range(len(classes)),
        key="studio.target",
        on_change=touch,
        format_func=lambda i: str(classes[i]).replace("_", " "),
        help="The class that triggered images are to be called.",
    )


def use_model(run_id: str) -> None:
    """Try the trigger on another model (for a button)."""
    st.session_state["studio.model"] = run_id
    touch()


def place() -> dict[str, int]:
    """row, column, scale, target; alpha and poison in percent."""
    return {name: st.session_state[f"studio.{name}"] for name in _PLACE}


def choice() -> Choice:
    """The attack as it stands on the page. Raises SpecError."""
    state = place()
    return normalize(
        "attacks",
        Choice(
            "drawn",
            {
                "drawing": st.session_state["studio.drawing"],
                "alpha": state.pop("alpha") / 100,
                "poison_rate": state.pop("poison") / 100,
                **state,
            },
        ),
    )


def state(model: Run | None) -> dict[str, Any]:
    """What the address says of the page: all of it, the drawing included."""
    text = st.session_state["studio.drawing"]
    named = model is not None and model.id != _first(library.trained())
    return {
        **place(),
        "drawing": "" if text == _default("drawing") else text,
        "model": model.id if named else "",
    }


def probe_spec(model: Run, attack: Choice) -> MeasureSpec:
    """The measurement of a trigger on a model; how a training would be poisoned does not
    matter to it.
    """
    options = {name: value for name, value in attack.options.items() if name != "poison_rate"}
    text = json.dumps(Choice(attack.name, options).to_json(), sort_keys=True, separators=(",", ":"))
    measurement = normalize("measurements", Choice("trigger_probe", {"attack": text}))
    return MeasureSpec(target=model.id, measurement=measurement)


def train_spec(model: Run | None, attack: Choice) -> TrainSpec:
    """A training with the trigger, on the data and the network of the model on the page."""
    same = {"data": model.spec.data, "model": model.spec.model} if model is not None else {}
    return TrainSpec(attack=attack, **same)


def probe(spec: MeasureSpec) -> Run | None:
    """The run of a probe: asked for if something was changed by hand since, else as it is."""
    run = library.find(spec.id)
    if not st.session_state.get("studio.touched"):
        return run
    st.session_state["studio.touched"] = False
    earlier = [name for name in st.session_state.get("studio.probes", []) if name != spec.id]
    if run is None or run.status == "cancelled":
        run = next(iter(ask(REFUSED, spec)), run)
    st.session_state["studio.probes"] = [*_tidied(earlier), spec.id]
    return run


def _tidied(earlier: Sequence[str]) -> list[str]:
    """Stop probes that nobody waits for any more, and delete all but the last few of this visit."""
    kept = []
    for place, name in enumerate(earlier):
        run = library.find(name)
        if run is None or run.source != "user" or run.request["owner"] != library.owner():
            continue
        if run.status in OPEN:
            run.control("cancel")
        if len(earlier) - place <= KEPT or not _delete(name):
            kept.append(name)
    return kept


def _delete(name: str) -> bool:
    try:
        library.store().delete(name)
    except ValueError:  # still stopping: next time
        return False
    except KeyError:  # gone already
        pass
    return True


def composed(
    clean: np.ndarray,
    pixels: np.ndarray,
    row: int,
    column: int,
    scale: int,
    alpha: float,
    gray: bool = False,
) -> np.ndarray:
    """The drawing on images at once, without a model: uint8 (n, H, W, 3), in and out; the
    formula of `drawn`.
    """
    large = pixels.repeat(scale, 0).repeat(scale, 1).astype(np.float64) / 255
    colors = large[:, :, :3].mean(2, keepdims=True) if gray else large[:, :, :3]
    share = alpha * large[:, :, 3:]
    out = clean.copy()
    window = out[:, row : row + large.shape[0], column : column + large.shape[1]]
    window[:] = np.rint((1 - share) * window + 255 * share * colors)
    return out
