"""What there is to say about one run: its state in words, its numbers with intervals, why it
failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts import style
from dashboard.charts.titles import lane_title
from dashboard.kit import glossary, library
from ngf.config import PurifySpec
from ngf.runs.folder import OPEN
from ngf.runs.store import Run

RATES = {"ca": "Clean accuracy", "asr": "Attack success", "ra": "Robust accuracy"}
FEW_POINTS = 0.02  # two rates that differ by less are called the same in a sentence


def percent(value: float | None) -> str:
    return "–" if value is None else style.percent(value)


def rate(numbers: Mapping[str, Any], name: str) -> str:
    """`98.6 % [97.9–99.1]`; a dash where nothing was measured."""
    interval = numbers.get(f"{name}_interval")
    text = percent(numbers.get(name))
    if interval and numbers.get(name) is not None:
        text += f" [{100 * interval[0]:.1f}–{100 * interval[1]:.1f}]"
    return text


def counts(numbers: Mapping[str, Any]) -> str:
    """`CA on 2,000 clean test images; ASR and RA on 1,833 triggered ones`"""
    text = f"CA on {numbers['n_clean']:,} clean test images" if numbers.get("n_clean") else ""
    if numbers.get("n_triggered"):
        text += (
            f"; ASR and RA on {numbers['n_triggered']:,} triggered ones whose true class is not "
            "the target"
        )
    return text


def numbers_in_words(run: Run) -> str:
    """`Measured: CA 99.2 % [98.7–99.5], ASR 99.7 % [99.4–99.9], RA 0.3 % [0.1–0.6]; n ...`"""
    result = run.result or {}
    known = [
        f"{name.upper()} {rate(result, name)}" for name in RATES if result.get(name) is not None
    ]
    return f"*Measured*: {', '.join(known)}; {counts(result)}." if known else ""


def in_one_line(text: str) -> str:
    """`text` for a table cell: it scrolls on a narrow screen and does not break."""
    return text.replace(" ", "\u00a0").replace("–", "–\u2060")


def outcome_table(spec: PurifySpec, result: Mapping[str, Any]) -> pd.DataFrame:
    """One row before, one a lane after."""
    rows = [
        {
            "Model": "Before",
            **{word: in_one_line(rate(result["before"], name)) for name, word in RATES.items()},
            "DER": "",
        }
    ]
    for lane in spec.lane_names():
        about = result["lanes"].get(lane)
        if about is None:
            continue
        rows.append(
            {
                "Model": in_one_line(f"After {lane_title(lane)}"),
                **{word: in_one_line(rate(about["after"], name)) for name, word in RATES.items()},
                "DER": in_one_line(percent(about.get("der"))),
            }
        )
    return pd.DataFrame(rows)


def settings_sentence(spec: PurifySpec, result: Mapping[str, Any]) -> str:
    """`NGF tuned stage2.block1.conv2 at learning rate 0.01 in 100 steps (3.4 s).` for each lane."""
    said = []
    for lane in spec.lane_names():
        if about := result["lanes"].get(lane):
            did = about.get("did") or _tuned(about)
            said.append(f"{lane_title(lane)} {did} ({about['seconds']:.1f} s).")
    return " ".join(said)


def _tuned(about: Mapping[str, Any]) -> str:
    """What a fine-tuning did, in words: `tuned stem at learning rate 0.01 in 100 steps`."""
    where = {None: "the model", "all": "all layers"}.get(about.get("layer"), about.get("layer"))
    rate_used = f" at learning rate {about['lr']:g}" if about.get("lr") is not None else ""
    return f"tuned {where}{rate_used} in {about['steps']} steps"


def outcome_sentence(spec: PurifySpec, result: Mapping[str, Any]) -> str:
    """What happened, computed from the numbers: one sentence, whoever won."""
    before, parts = result["before"], []
    for lane in spec.lane_names():
        after = result["lanes"].get(lane, {}).get("after")
        if not after:
            continue
        name = lane_title(lane)
        lost = 100 * (before["ca"] - after["ca"])
        change = f"{'costing' if lost >= 0 else 'gaining'} {abs(lost):.1f} points of clean accuracy"
        if before.get("asr") is None or after.get("asr") is None:
            parts.append(f"{name} ended at {percent(after['ca'])} clean accuracy")
        elif before["asr"] - after["asr"] < FEW_POINTS:
            parts.append(f"{name} left the attack success at {percent(after['asr'])}, {change}")
        else:
            parts.append(
                f"{name} took the attack success from {percent(before['asr'])} to "
                f"{percent(after['asr'])}, {change}"
            )
    return "; ".join(parts) + "." if parts else ""


def show_outcome(run: Run) -> None:
    """The table before and after, the sentence, and what the words mean."""
    spec, result = run.spec, run.result
    st.markdown(f"**{outcome_sentence(spec, result)}**")
    st.table(
        outcome_table(spec, result),
        hide_index=True,
        border="horizontal",
        alt="Clean accuracy, attack success and robust accuracy before and after each defense",
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
    """Seed and machine of a run, in one sentence."""
    environment = (run.result or {}).get("environment") or {}
    device = environment.get("hardware")
    text = f"Seed {run.spec.seed}"
    if device:
        text += f", computed on {device}"
    return text + "."


def model_numbers(run: Run) -> None:
    """Three numbers of a trained model with n and intervals."""
    result = run.result or {}
    for column, (name, word) in zip(st.columns(3), RATES.items(), strict=True):
        column.metric(word, percent(result.get(name)), help=glossary.sentence(name))
        interval = result.get(f"{name}_interval")
        if interval:
            column.caption(f"[{100 * interval[0]:.1f}–{100 * interval[1]:.1f}]")
    st.caption(
        f"*Measured*: {counts(result)}. Brackets: 95 % Wilson interval." if counts(result) else ""
    )


def before_after(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Three numbers, before → after, side by side."""
    for column, (name, word) in zip(st.columns(3), RATES.items(), strict=True):
        change = None
        if before.get(name) is not None and after.get(name) is not None:
            change = f"{100 * (after[name] - before[name]):+.1f} points"
        column.metric(
            word,
            percent(after.get(name)),
            change,
            help=glossary.sentence(name),
            delta_color="inverse" if name == "asr" else "normal",
        )
        column.caption(f"was {rate(before, name)}, now {rate(after, name)}")


def progress(events: list[dict[str, Any]]) -> tuple[float, str]:
    """(fraction done, words) from the events so far: `NGF step 40 of 100`."""
    last, phase = {}, ""
    for event in events:
        if event["type"] in ("step", "epoch"):
            last[event.get("lane", "")] = event
        elif event["type"] == "phase":
            phase = event["phase"]
        elif event["type"] == "partial" and event.get("fraction") is not None:
            last[""] = {"step": event["fraction"], "steps": 1, "type": "partial"}
    if not last:
        return 0.0, phase.capitalize()
    fraction = sum(item["step"] / max(1, item["steps"]) for item in last.values()) / len(last)
    if "" in last and last[""]["type"] == "partial":
        return fraction, f"{100 * fraction:.0f} %"
    words = [
        f"{lane_title(lane) + ' ' if lane else ''}"
        f"{'step' if item['type'] == 'step' else 'epoch'} {item['step']} of {item['steps']}"
        for lane, item in last.items()
    ]
    return fraction, ", ".join(words)


def show_state(run: Run, events: list[dict[str, Any]]) -> None:
    """One line: the state, how far, since when it was resumed."""
    status = run.status
    text = f":material/{library.ICONS[status]}: **{library.STATES[status]}**"
    fraction, words = progress(events)
    resumed = [event for event in events if event["type"] == "resumed"]
    if status in OPEN and words:
        text += f" · {words}"
    if status == "running" and 0.02 < fraction < 1 and events:
        elapsed = events[-1].get("t") or 0.0
        text += f" · {elapsed / fraction - elapsed:.0f} s left"
    if resumed:
        last = resumed[-1]
        text += (
            f" · resumed at step {last.get('step', 0)} (start "
            f"{last.get('attempt', len(resumed) + 1)})"
        )
    st.markdown(text)


def show_error(run: Run) -> None:
    """Why a run failed and what to do; its curves stay."""
    error = run.error
    if run.status == "failed" and error:
        step = f" at step {error['step']}" if error.get("step") not in (None, "") else ""
        st.error(
            f"Failed{step}: {error['message']}\n\n{error.get('advice') or ''}",
            icon=":material/error:",
        )
    elif run.status == "lost":
        st.warning(
            "The process that computed this run is gone. It goes on from its last checkpoint as "
            "soon as the supervisor runs.",
            icon=":material/help:",
        )
