"""The card of one attack: its picture, its kind, its source, and what it did to our models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from statistics import mean
from typing import Any, NamedTuple

import streamlit as st

from dashboard.attacks import KINDS
from dashboard.attacks.opens import show_opens
from dashboard.attacks.removal import show_rates
from dashboard.charts.style import percent
from dashboard.kit import library
from dashboard.kit.pages import script
from dashboard.kit.trigger import legend, pictures, preview, wanted
from ngf.config import TrainSpec
from ngf.runs.store import TrainRun

_MEANS = {
    "poisoning": "changes training images and their labels, nothing else",
    "clean-label": "changes images of the target class only, and no label",
    "prepared": "needs training images, or a clean model, before it poisons anything",
    "controlled": "writes the loss of the training itself",
}
_PICTURES = 6  # so many images are shown


class About(NamedTuple):
    """The docstring of an attack, taken apart into Markdown, one text per paragraph.

    source: the first paragraph.
    formula: how the attack works.
    changed: what differs from the source here, from the paragraph on that begins with `Changed`.
    """

    source: str
    formula: list[str]
    changed: list[str]


def anchor(name: str) -> str:
    """Where the card of an attack is on the page."""
    return name.replace("_", "-")


def kinds(about: Mapping[str, Any]) -> list[str]:
    """The kinds of an attack, that is, what the attacker must be able to do; there may be two."""
    found = [
        name
        for name, is_one in (
            ("clean-label", about["clean_label"]),
            ("prepared", about["prepared"]),
            ("controlled", about["controlled"]),
        )
        if is_one
    ]
    return found or ["poisoning"]


def taken_apart(text: str) -> About:
    """The docstring of an attack by its parts."""
    source, *others = text.split("\n\n")
    starts = (i for i, other in enumerate(others) if other.startswith("Changed"))
    cut = next(starts, len(others))
    return About(
        _markdown(source), [*map(_markdown, others[:cut])], [*map(_markdown, others[cut:])]
    )


def _markdown(paragraph: str) -> str:
    """A paragraph in Markdown: indented lines are formulas, the others flow, and numbers of
    preprints are links.
    """
    lines, flowing = [], False
    for line in paragraph.rstrip().splitlines():
        if line.startswith("  "):
            lines.append(f"\n```text\n{line.strip()}\n```\n")
            flowing = False
        else:
            lines.append((" " if flowing else "") + library.plain(line.replace("`", "")))
            flowing = True
    joined = "".join(lines).strip()
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", joined)


def zoo_runs(name: str, models: Sequence[TrainRun]) -> list[TrainRun]:
    """The models of the zoo with this attack, signs first, then by seed."""
    found = [run for run in models if run.spec.attack.name == name and run.source == "zoo"]
    return sorted(
        found,
        key=lambda run: (run.spec.data != "signs", run.spec.data, run.spec.model, run.spec.seed),
    )


def zoo_sentences(models: Sequence[TrainRun]) -> list[str]:
    """A sentence per group of models that differ by their seed only."""
    groups: dict[TrainSpec, list[TrainRun]] = {}
    for run in models:
        groups.setdefault(replace(run.spec, seed=0), []).append(run)
    return [_sentence(spec, group) for spec, group in groups.items()]


def _sentence(spec: TrainSpec, models: Sequence[TrainRun]) -> str:
    """CA and ASR of these models: mean, lowest and highest, and of how many images."""
    results = [run.finished() for run in models]
    rates = [f"{key.upper()} {_spread([found[key] for found in results])}" for key in ("ca", "asr")]
    return (
        f"{library.short('data', spec.data)}, {library.short('models', spec.model)}: "
        f"{', '.join(rates)} ({len(models)} {'model' if len(models) == 1 else 'models'}, "
        f"{results[0]['n_clean']:,} clean and {results[0]['n_triggered']:,} triggered test images)"
    )


def _spread(values: Sequence[float]) -> str:
    """`99.2 % (98.9–99.4)`"""
    if len(values) == 1:
        return percent(values[0])
    return f"{percent(mean(values))} ({100 * min(values):.1f}–{100 * max(values):.1f})"


def show_card(name: str, about: Mapping[str, Any], models: Sequence[TrainRun]) -> None:
    """The card of one attack.

    name: of the attack.
    about: what the catalogue says about it.
    models: all trained models.
    """
    found = zoo_runs(name, models)
    with st.container(border=True, key=f"attacks.{name}"):
        st.header(about["title"], anchor=anchor(name))
        st.markdown(library.plain(about["summary"]))
        st.caption(". ".join(f"{KINDS[kind]}: {_MEANS[kind]}" for kind in kinds(about)) + ".")
        figure, words = st.columns([3, 2], gap="large")
        with figure:
            _figure(found or [run for run in models if run.spec.attack.name == name])
            show_rates(name)
        with words:
            _numbers(about, found)
            _links(name, found)
        show_opens(found)
        with st.expander(
            "Source, formula, and what is different here", key=f"attacks.{name}.about"
        ):
            told = taken_apart(about["about"])
            st.markdown(told.source)
            for paragraph in told.formula:
                st.markdown(paragraph)
            if told.changed:
                st.markdown("**What we changed, and why**")
                for paragraph in told.changed:
                    st.markdown(paragraph)


def _figure(models: Sequence[TrainRun]) -> None:
    """The pictures of the first model that has some, rather of one that has kept its verdicts."""
    # Read one after the other, and no further than needed.
    seen = ((run, arrays) for run in models if (arrays := preview(run)) is not None)
    if (first := next(seen, None)) is None:
        st.caption("No picture yet: it is made when a model is trained.")
        return
    run, arrays = next((one for one in chain([first], seen) if "says_clean" in one[1]), first)
    st.html(pictures(arrays, wanted(run, arrays["labels"]), count=_PICTURES))
    st.caption(f"{legend(arrays)} {library.title('data', run.spec.data)}, seed {run.spec.seed}.")


def _numbers(about: Mapping[str, Any], found: Sequence[TrainRun]) -> None:
    if found:
        st.markdown("*Measured* on the zoo, mean (lowest–highest) over seeds:")
        st.markdown("\n".join(f"- {sentence}" for sentence in zoo_sentences(found)))
    else:
        st.markdown("The zoo has no model of it yet.")
    st.markdown(f"**ASR here:** {library.plain(about['asr_definition'])}")


def _links(name: str, found: Sequence[TrainRun]) -> None:
    with st.container(horizontal=True):
        if name == "drawn":
            st.page_link(script("studio"), label="Paint one", icon=":material/brush:")
        if found:
            st.page_link(
                script("lab"),
                label="Purify a model in the Lab",
                icon=":material/science:",
                query_params={"attack": name, "data": found[0].spec.data},
            )
        st.page_link(
            script("lab"),
            label="Train with it in the Lab",
            icon=":material/model_training:",
            query_params={"view": "train", "attack": name},
        )
