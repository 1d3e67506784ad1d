"""What opens the backdoor of an attack and what does not, measured on the models of the zoo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.style import listed
from dashboard.kit import library
from ngf.attacks.shared.shown import OPEN, SHUT, Opened, failed, over_seeds
from ngf.config import TrainSpec
from ngf.runs.files import read_json
from ngf.runs.folder import CARD
from ngf.runs.store import TrainRun

_CLAIMS = {True: "opens", False: "does not", None: "–"}


def show_opens(found: Sequence[TrainRun]) -> None:
    """The table of an attack and what it shows; nothing where it was not measured.

    found: its models in the zoo; those that differ from the first by more than their seed are left
        out.
    """
    models = [run for run in found if _kind(run) == _kind(found[0])]
    cards = [card for run in models if (card := read_json(run.path / CARD)) and "opens" in card]
    probes = over_seeds(cards)
    if not probes:
        return
    st.markdown("**What opens it, and what does not**")
    st.table(table(probes))
    st.markdown(sentence(probes))
    if lines := figures(cards):
        st.markdown("\n".join(f"- {line}" for line in lines))
    st.caption(
        f"*Measured* on {len(cards)} {'model' if len(cards) == 1 else 'models'}, "
        f"{library.title('data', models[0].spec.data)}, test images: mean (lowest–highest) over "
        "seeds; n images for each. “–”: the attack claims nothing of it."
    )


def _kind(run: TrainRun) -> TrainSpec:
    return replace(run.spec, seed=0)


def table(probes: Sequence[Opened]) -> pd.DataFrame:
    """A row for each probe."""
    return pd.DataFrame(
        [
            {
                "Shown to the model": probe.name[:1].upper() + probe.name[1:],
                "The attack says": _CLAIMS[probe.claims],
                "Called what the attacker wants, %": _spread(probe.called),
                "Keeps its class, %": _spread(probe.kept),
                "n": f"{max(probe.n):,}",
            }
            for probe in probes
        ]
    ).set_index("Shown to the model")


def _spread(shares: Sequence[float]) -> str:
    """`99.2 (98.9–99.4)`"""
    low, mean, high = (100 * value for value in (min(shares), fmean(shares), max(shares)))
    return f"{mean:.1f}" if len(shares) == 1 else f"{mean:.1f} ({low:.1f}–{high:.1f})"


def sentence(probes: Sequence[Opened]) -> str:
    """Whether the attack does what it claims, in a sentence of Markdown."""
    claimed = [probe for probe in probes if probe.claims is not None]
    opening = sum(probe.claims is True for probe in claimed)
    rule = (
        f"what should open the backdoor does on {OPEN:.0%} of the images or more ({opening} of "
        f"these rows), what should not on {SHUT:.0%} or less ({len(claimed) - opening})"
    ).replace("%", " %")
    if wrong := failed(claimed):
        told = listed([f"{library.plain(of.name)} {_spread(of.called)} %" for of in wrong])
        return f"**Not shown for {len(wrong)} of {len(claimed)}**: {told}. The rule: {rule}."
    if all(probe.always for probe in claimed):
        return f"**Shown**, with every seed: {rule}."
    told = listed([library.plain(of.name) for of in claimed if not of.always])
    return f"**Shown** by the mean over seeds, though not with every seed for {told}: {rule}."


def figures(cards: Sequence[dict[str, Any]]) -> list[str]:
    """Further figures of what defines the attack, each in a line: mean (lowest–highest)."""
    names = dict.fromkeys(name for card in cards for name in card.get("figures", {}))
    lines = []
    for name in names:
        values = [card["figures"][name] for card in cards if name in card.get("figures", {})]
        text = f"{fmean(values):.3g}"
        if len(values) > 1:
            text += f" ({min(values):.3g}–{max(values):.3g})"
        lines.append(f"{library.plain(name[:1].upper() + name[1:])}: {text}")
    return lines
