"""One run on a page: its state in words, its numbers with intervals, and why it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts import style
from dashboard.charts.rates import RATES
from dashboard.charts.titles import lane_title
from dashboard.kit import estimate, glossary, library
from dashboard.kit.how_far import how_far
from ngf.config import WEAK_ADVICE, PurifySpec
from ngf.runs.folder import OPEN
from ngf.runs.here import remarks
from ngf.runs.store import PurifyRun, Run, TrainRun

FEW_POINTS = 0.02  # a fall of the attack success rate by less counts as none in a sentence


def percent(value: float | None) -> str:
    return "–" if value is None else style.percent(value)


def with_interval(numbers: Mapping[str, Any], key: str) -> str:
    """`98.6 % [97.9–99.1]`; a dash where nothing was measured."""
    text, brackets = percent(numbers.get(key)), _interval(numbers, key)
    return f"{text} {brackets}" if brackets and numbers.get(key) is not None else text


def _interval(numbers: Mapping[str, Any], key: str) -> str:
    """`[97.9–99.1]`; empty where there is none."""
    interval = numbers.get(f"{key}_interval")
    return f"[{100 * interval[0]:.1f}–{100 * interval[1]:.1f}]" if interval else ""


def counts(numbers: Mapping[str, Any]) -> str:
    """`CA on 2,000 clean test images; ASR and RA on 1,833 triggered ones`"""
    text = f"CA on {numbers['n_clean']:,} clean test images" if numbers.get("n_clean") else ""
    if numbers.get("n_triggered"):
        text += (
            f"; ASR and RA on {numbers['n_triggered']:,} triggered ones whose true class is not "
            "the target"
        )
    return text


def numbers_in_words(run: TrainRun) -> str:
    """`Measured: CA 99.2 % [98.7–99.5], ASR 99.7 % [99.4–99.9], RA 0.3 % [0.1–0.6]; n ...`"""
    result = run.result or {}
    known = [
        f"{rate.short} {with_interval(result, rate.key)}"
        for rate in RATES
        if result.get(rate.key) is not None
    ]
    return f"*Measured*: {', '.join(known)}; {counts(result)}." if known else ""


def in_one_line(text: str) -> str:
    """`text` for a table cell: it does not wrap, so a narrow screen scrolls."""
    return text.replace(" ", "\u00a0").replace("–", "–\u2060")


def outcome_table(spec: PurifySpec, result: Mapping[str, Any]) -> pd.DataFrame:
    """One row before the purification, and one per lane after it."""
    rows = [_outcome_row("Before", result["before"], "")]
    for lane in spec.lane_names():
        if (about := result["lanes"].get(lane)) is None:
            continue
        name = f"After {lane_title(lane)}"
        if ended := divergence(about):
            row = _outcome_row(name, {}, "–")
            rows.append({**row, RATES[0].name: in_one_line(ended)})
        else:
            rows.append(_outcome_row(name, about["after"], percent(about.get("der"))))
    return pd.DataFrame(rows)


def divergence(about: Mapping[str, Any]) -> str:
    """`diverged at step 3`, of a lane in a result; "" for one that is sound."""
    ended = about.get("diverged")
    return f"diverged at step {ended['step']}" if ended else ""


def _outcome_row(name: str, numbers: Mapping[str, Any], der: str) -> dict[str, str]:
    return {
        "Model": in_one_line(name),
        **{rate.name: in_one_line(with_interval(numbers, rate.key)) for rate in RATES},
        "DER": in_one_line(der),
    }


def settings_sentence(spec: PurifySpec, result: Mapping[str, Any]) -> str:
    """`NGF tuned stage2.block1.conv2 at learning rate 0.01 in 100 steps (3.4 s).`, per lane."""
    said = []
    for lane in spec.lane_names():
        if about := result["lanes"].get(lane):
            did = library.plain(about.get("did") or _tuned(about))
            if ended := about.get("diverged"):
                did += f" and {library.plain(divergence(about))}"
                did += f" ({about['seconds']:.1f} s). {library.plain(ended['advice'])}"
                said.append(f"{lane_title(lane)} {did}")
            else:
                said.append(f"{lane_title(lane)} {did} ({about['seconds']:.1f} s).")
    return " ".join(said)


def _tuned(about: Mapping[str, Any]) -> str:
    """What a fine-tuning did, in words: `tuned stem at learning rate 0.01 in 100 steps`."""
    where = {None: "the model", "all": "all layers"}.get(about.get("layer"), about.get("layer"))
    how = "in a trust region of" if about.get("strength") == "trust_region" else "at learning rate"
    speed = f" {how} {about['lr']:g}" if about.get("lr") is not None else ""
    return f"tuned {where}{speed} in {about['steps']} steps"


def outcome_sentence(spec: PurifySpec, result: Mapping[str, Any]) -> str:
    """What happened, in one sentence that is computed from the numbers, whoever won."""
    parts = []
    for lane in spec.lane_names():
        about = result["lanes"].get(lane, {})
        if after := about.get("after"):
            parts.append(f"{lane_title(lane)} {_lane_outcome(result['before'], after)}")
        elif ended := divergence(about):
            parts.append(f"{lane_title(lane)} {ended} and has left no model")
    return "; ".join(parts) + "." if parts else ""


def _lane_outcome(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if before.get("asr") is None or after.get("asr") is None:
        return f"ended at {percent(after['ca'])} clean accuracy"
    lost = 100 * (before["ca"] - after["ca"])
    change = f"{'costing' if lost >= 0 else 'gaining'} {abs(lost):.1f} points of clean accuracy"
    if before["asr"] - after["asr"] < FEW_POINTS:
        return f"left the attack success rate at {percent(after['asr'])}, {change}"
    return (
        f"took the attack success rate from {percent(before['asr'])} to {percent(after['asr'])}, "
        f"{change}"
    )


def show_outcome(run: PurifyRun) -> None:
    """The sentence, the table before and after, and what the words mean."""
    spec, result = run.spec, run.finished()
    st.markdown(f"**{outcome_sentence(spec, result)}**")
    st.table(
        outcome_table(spec, result),
        hide_index=True,
        border="horizontal",
        alt="Clean accuracy, attack success rate and robust accuracy before and after each defense",
    )
    st.caption(settings_sentence(spec, result))
    st.caption(
        f"*Measured*: {counts(result['before'])}. Brackets: 95 % Wilson interval. "
        "The curves above are measured between the steps, on a fixed part of these images. "
        f"{provenance(run)}"
    )
    layers = {about["layer"] for about in result["lanes"].values() if about.get("layer")}
    if len(layers) > 1:
        st.caption(
            "The defenses tuned different layers. Choose the same layer in their settings for a "
            "race in which only the method differs."
        )
    glossary.explain(*glossary.RATES)


def provenance(run: Run) -> str:
    """The seed and the machine of a run, in one sentence, and what asking now would change."""
    environment = run.facts.environment
    device, threads = environment.get("hardware"), environment.get("threads")
    text = f"Seed {run.spec.seed}"
    if device:
        text += f", computed on {library.plain(str(device))}"
    if environment.get("device") == "cpu" and threads:
        text += f" with {library.plain(str(threads))} threads; another number rounds differently"
    return " ".join([f"{text}.", *map(library.plain, remarks(environment))])


def model_numbers(run: TrainRun) -> None:
    """The three rates of a trained model with n and intervals."""
    result = run.result or {}
    for column, rate in zip(st.columns(len(RATES)), RATES, strict=True):
        column.metric(rate.name, percent(result.get(rate.key)), help=glossary.sentence(rate.key))
        if brackets := _interval(result, rate.key):
            column.caption(brackets)
    st.caption(
        f"*Measured*: {counts(result)}. Brackets: 95 % Wilson interval." if counts(result) else ""
    )


def before_after(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """The three rates side by side, each with its change."""
    for column, rate in zip(st.columns(len(RATES)), RATES, strict=True):
        old, new = before.get(rate.key), after.get(rate.key)
        change = None if old is None or new is None else new - old
        better = (change or 0) > 0 if rate.key != "asr" else (change or 0) < 0
        column.metric(
            rate.name,
            percent(new),
            None if change is None else f"{style.signed(change)} points",
            help=glossary.sentence(rate.key),
            # Streamlit reads neither from a true minus sign.
            delta_color="green" if better else "red" if change else "gray",
            delta_arrow="up" if (change or 0) > 0 else "down" if change else "off",
        )
        column.caption(
            f"was {with_interval(before, rate.key)}, now {with_interval(after, rate.key)}"
        )


def show_state(run: Run, events: Sequence[Mapping[str, Any]]) -> None:
    """One line: the state, how far the run is, and where it was resumed."""
    status = run.status
    text = f":material/{library.ICONS[status]}: **{library.STATES[status]}**"
    far = how_far(events)
    resumed = [event for event in events if event["type"] == "resumed"]
    if status in OPEN and far.words:
        text += f" · {far.words}"
    if status == "running" and far.seconds is not None:
        left = estimate.words(far.seconds)
        text += f" · {left} until {far.until}" if far.until else f" · {left} left"
    if resumed:
        last = resumed[-1]
        start = last.get("attempt", len(resumed) + 1)
        text += library.plain(f" · resumed at step {last.get('step', 0)} (start {start})")
    st.markdown(text)


def reason(error: Mapping[str, Any], between: str = " ") -> str:
    """Why a run failed and what to do about it, by its error.json, escaped for Markdown."""
    return (
        library.plain(error.get("message", "")) + between + library.plain(error.get("advice") or "")
    )


def show_error(run: Run) -> None:
    """Why a run failed or stopped, and what to do about it."""
    error = run.error
    if run.status == "failed" and error:
        step = f" at step {error['step']}" if error.get("step") not in (None, "") else ""
        said = reason(error, between="\n\n")
        st.error(f"Failed{library.plain(step)}: {said}", icon=":material/error:")
    elif run.status == "lost":
        st.warning(
            "The process that computed this run is gone. It goes on from its last checkpoint as "
            "soon as the supervisor runs.",
            icon=":material/help:",
        )
    elif isinstance(run, TrainRun):
        show_weak(run)


def show_weak(run: Run, what: str = "The model") -> None:
    """Why the model that a run trained or starts from is weak; nothing for a strong one."""
    if run.weak is not None:
        said = library.plain(f"{what} is weak. {run.weak} {WEAK_ADVICE}")
        st.warning(said, icon=":material/fitness_center:")
