"""What a trigger does, on the page of the studio: pictures at once, numbers as soon as they are
measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from dashboard.charts.rates import RATES
from dashboard.charts.style import percent
from dashboard.kit import library, readings
from dashboard.kit.trigger import legend, pictures, preview, readable, residual
from ngf.attacks.shared.effect import effect
from ngf.runs.folder import UNFINISHED
from ngf.runs.store import MeasureRun

EVERY = 0.2  # seconds between two looks at a probe that goes on
ASR = next(rate for rate in RATES if rate.key == "asr")
HELP = {
    "asr": (
        "Share of triggered test images, whose true class is not the target, that are called the "
        "target class."
    ),
    "unchanged": "Share of the images that are called the same with and without the trigger.",
    "ssim": "Structural similarity of images with and without the trigger (11x11 Gaussian window, "
    "sigma 1.5), mean over images: 1 means equal.",
    "residual": "Size of the change, pixels from 0 to 1: the largest change of any pixel (L∞), "
    "and the Euclidean length of the change of an image, mean over images (L2).",
}


@dataclass(frozen=True)
class Trial:
    """A drawing that is tried on a model.

    model_id: the run of the model.
    pixels: the drawing, uint8 (h, w, 4).
    place: `row`, `column`, `scale` and `target`; `alpha` in percent.
    classes: the names of the model's classes.
    gray: whether the model takes images of one channel.
    """

    model_id: str
    pixels: np.ndarray
    place: Mapping[str, int]
    classes: Sequence[str]
    gray: bool


def show_probe(trial: Trial, run: MeasureRun | None) -> None:
    """Pictures and numbers, which follow the probe while it goes on."""
    going = run is not None and run.status in UNFINISHED
    draw = st.fragment(_draw, run_every=EVERY) if going else _draw
    draw(trial, run.id if run else "", going)


def _draw(trial: Trial, run_id: str, going: bool) -> None:
    run = library.find_measurement(run_id)
    reading = readings.read(run)
    values = reading.values if reading else {}
    if run is not None:
        _numbers(values)
        st.markdown(_finding(values, readable(trial.classes[trial.place["target"]])))
    st.caption(_sentence(values, run))
    if reading and reading.arrays:
        arrays = named(reading.arrays, trial.classes)
        st.session_state["studio.examples"] = trial.model_id, arrays["clean"], arrays["labels"]
    else:
        arrays = composed_examples(trial, submitted=run is not None)
    if arrays:
        _warn(arrays, trial)
        aims = arrays.get("wanted", [""] * len(arrays["labels"]))
        st.html(pictures(arrays, aims, count=12, smallest=92 if len(aims) > 8 else 72))
        st.caption(legend(arrays))
    if going and (run is None or run.status not in UNFINISHED):
        st.rerun()  # the whole page, without this fragment


def _warn(arrays: Mapping[str, Any], trial: Trial) -> None:
    """Say so when the drawing leaves most of the shown images as they are; gray ones are shown with
    three equal channels.
    """
    clean, triggered = (
        arrays[name][..., : 1 if trial.gray else 3] for name in ("clean", "triggered")
    )
    if (found := effect(clean, triggered)).nothing:
        st.warning(
            f"{found.sentence('images below')} Paint in other colors, move the drawing, or raise "
            "its opacity.",
            icon=":material/visibility_off:",
        )


def named(arrays: Mapping[str, np.ndarray], classes: Sequence[str]) -> dict[str, Any]:
    """The arrays of a probe with the names of classes in place of their numbers."""
    words = {
        name: [readable(classes[i]) for i in arrays[name]]
        for name in ("labels", "wanted", "says_clean", "says_triggered")
    }
    # An image of the target class cannot be attacked, so no verdict on it is a success.
    words["wanted"] = [
        aim if counts else "" for aim, counts in zip(words["wanted"], arrays["counts"], strict=True)
    ]
    return {**{name: arrays[name] for name in ("clean", "triggered", "residual")}, **words}


def composed_examples(trial: Trial, submitted: bool) -> dict[str, Any]:
    """The drawing on the images that were shown last, or on those of the model's own preview; empty
    when there are none.

    What the model says to them is not known yet; there is room for it if a probe was `submitted`.
    """
    model_id, clean, labels = st.session_state.get("studio.examples", ("", None, None))
    if model_id != trial.model_id:
        run = library.find_training(trial.model_id)
        arrays = preview(run) if run is not None else None
        if arrays is None:
            return {}
        clean, labels = arrays["clean"], [readable(name) for name in arrays["labels"]]
    triggered = composed(clean, trial)
    room = dict.fromkeys(("says_clean", "says_triggered"), [""] * len(labels)) if submitted else {}
    return {
        "clean": clean,
        "triggered": triggered,
        "residual": residual(clean, triggered),
        "labels": labels,
        **room,
    }


def composed(clean: np.ndarray, trial: Trial) -> np.ndarray:
    """The drawing on images, by the formula of the attack `drawn` but without torch or a model.

    clean: uint8 (n, H, W, 3); so is the result.
    """
    row, column, scale = (trial.place[name] for name in ("row", "column", "scale"))
    large = trial.pixels.repeat(scale, 0).repeat(scale, 1).astype(np.float64) / 255
    colors = large[:, :, :3].mean(2, keepdims=True) if trial.gray else large[:, :, :3]
    share = trial.place["alpha"] / 100 * large[:, :, 3:]
    out = clean.copy()
    window = out[:, row : row + large.shape[0], column : column + large.shape[1]]
    window[:] = np.rint((1 - share) * window + 255 * share * colors)
    return out


def _numbers(values: Mapping[str, Any]) -> None:
    def told(name: str, form: str, factor: float = 1) -> str:
        return "–" if values.get(name) is None else form.format(factor * values[name])

    with st.container(horizontal=True):
        st.metric(ASR.name, told("asr", "{:.1f} %", 100), help=HELP["asr"], width=165)
        st.metric(
            "Predictions kept",
            told("unchanged", "{:.1f} %", 100),
            help=HELP["unchanged"],
            width=150,
        )
        st.metric("SSIM", told("ssim", "{:.3f}"), help=HELP["ssim"], width=95)
        st.metric(
            "L∞, L2",
            f"{told('linf', '{:.2f}')}, {told('l2', '{:.2f}')}",
            help=HELP["residual"],
            width=145,
        )


def _finding(values: Mapping[str, Any], target: str) -> str:
    if values.get("asr") is None:
        return ""
    opens = (
        "opens"
        if values["asr"] >= 0.5
        else "partly opens"
        if values["asr"] >= 0.1
        else "does not open"
    )
    return (
        f"**This trigger {opens} this model: {percent(values['asr'])} of the images that carry it "
        f"are called “{library.plain(target)}”.**"
    )


def _sentence(values: Mapping[str, Any], run: MeasureRun | None) -> str:
    if values.get("n_triggered") is not None:
        n_triggered, n, seed = (library.plain(values[key]) for key in ("n_triggered", "n", "seed"))
        return (
            f"*Measured*: {ASR.name.lower()} "
            f"[{100 * values['asr_low']:.1f}–{100 * values['asr_high']:.1f} %] on "
            f"{n_triggered} triggered test images whose true class is not the target; "
            f"the rest on {n} clean test images, of which {percent(values['ca'])} are "
            f"called their true class without the trigger. Seed {seed}, BatchNorm in "
            "eval mode. Brackets: 95 % Wilson interval."
        )
    if run is None:
        return "Change something, or press Measure, to see what the model makes of it."
    if run.status in ("queued", "lost") and not library.store().supervised:
        return (
            ":material/power_off: Nothing executes runs at the moment. `make dashboard` starts "
            "what does."
        )
    return ":material/hourglass_empty: Measuring …"
