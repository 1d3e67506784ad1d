"""What there is to say about one attack: its figure, its kind, where it comes from, what our
models say of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, NamedTuple

import streamlit as st

from dashboard.attacks import KINDS
from dashboard.attacks.removal import show_rates
from dashboard.charts.style import percent
from dashboard.kit import library
from dashboard.kit.pages import script
from dashboard.kit.trigger import legend, pictures, preview, wanted
from ngf.runs.store import Run

_MEANS = {
    "poisoning": "changes training images and their labels, nothing else",
    "clean-label": "changes images of the target class only, and no label",
    "prepared": "needs training images, or a clean model, before it poisons anything",
    "controlled": "writes the loss of the training itself",
}
_PICTURES = 6
# How the part of a docstring begins that says what is different here.
_CHANGED = re.compile(
    r"(?:^|(?<=[.:;)]\s))(?=(?:Changed|Unchanged though|What deviates|What is different)\b)", re.M
)


class About(NamedTuple):
    """The docstring of an attack, taken apart: paragraphs of text, each ready for a page."""

    source: str
    formula: list[str]
    changed: list[str]


def kinds(about: Mapping[str, Any]) -> list[str]:
    """What the attacker must be able to do; an attack can be of two kinds."""
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
    """Source (the first sentence or paragraph), formula, and what was changed, of a module's
    docstring.
    """
    source, _, rest = text.partition("\n\n")
    if (early := _CHANGED.search(source)) is not None:
        source, rest = source[: early.start()], source[early.start() :] + "\n\n" + rest
    cut = _CHANGED.search(rest)
    formula, changed = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
    return About(_paragraphs(source)[0], _paragraphs(formula), _paragraphs(changed))


def _paragraphs(text: str) -> list[str]:
    """Markdown of each paragraph: indented lines are formulas, the others flow; numbers of
    preprints are links.
    """
    found = []
    for paragraph in text.split("\n\n"):
        lines, flowing = [], False
        for line in paragraph.rstrip().splitlines():
            if line.startswith("  "):
                lines.append(f"\n```text\n{line.strip()}\n```\n")
                flowing = False
            else:
                lines.append((" " if flowing else "") + library.plain(line.replace("`", "")))
                flowing = True
        if joined := "".join(lines).strip():
            found.append(
                re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", joined)
            )
    return found


def zoo_runs(name: str, runs: Sequence[Run]) -> list[Run]:
    """Trained models of the zoo with this attack, signs first, then by seed."""
    found = [run for run in runs if run.spec.attack.name == name and run.source == "zoo"]
    return sorted(
        found,
        key=lambda run: (run.spec.data != "signs", run.spec.data, run.spec.model, run.spec.seed),
    )


def zoo_sentences(runs: Sequence[Run]) -> list[str]:
    """CA and ASR of models that differ by their seed only: mean, lowest and highest, and how
    many.
    """
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault(
            (run.spec.data, run.spec.model, run.spec.attack, run.spec.training), []
        ).append(run)
    return [
        f"{library.short('data', data)}, {library.short('models', model)}: "
        + ", ".join(
            f"{rate.upper()} {_spread([run.result[rate] for run in same])}"
            for rate in ("ca", "asr")
        )
        + f" ({len(same)} {'model' if len(same) == 1 else 'models'}, {same[0].result['n_clean']:,} "
        f"clean and {same[0].result['n_triggered']:,} triggered test images)"
        for (data, model, *_), same in groups.items()
    ]


def _spread(values: Sequence[float]) -> str:
    """`99.2 % (98.9–99.4)`"""
    if len(values) == 1:
        return percent(values[0])
    return f"{percent(mean(values))} ({100 * min(values):.1f}–{100 * max(values):.1f})"


def show_card(name: str, about: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """The card of one attack; `runs` are the trained models of the store."""
    found = zoo_runs(name, runs)
    with st.container(border=True, key=f"attacks.{name}"):
        st.header(about["title"])
        st.markdown(library.plain(about["summary"]))
        st.caption(". ".join(f"{KINDS[kind]}: {_MEANS[kind]}" for kind in kinds(about)) + ".")
        figure, words = st.columns([3, 2], gap="large")
        with figure:
            _figure(found or [run for run in runs if run.spec.attack.name == name])
            show_rates(name)
        with words:
            _numbers(about, found)
            _links(name, found)
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


def _figure(runs: Sequence[Run]) -> None:
    """Of the first model that has a picture; a newer one that also tells what the model says
    goes before.
    """
    seen = [(run, arrays) for run in runs if (arrays := preview(run)) is not None]
    if not seen:
        st.caption("No picture yet: it is made when a model is trained.")
        return
    run, arrays = next(((run, arrays) for run, arrays in seen if "says_clean" in arrays), seen[0])
    st.html(pictures(arrays, wanted(run, arrays["labels"]), count=_PICTURES))
    st.caption(f"{legend(arrays)} {library.title('data', run.spec.data)}, seed {run.spec.seed}.")


def _numbers(about: Mapping[str, Any], found: Sequence[Run]) -> None:
    if found:
        st.markdown("*Measured* on the zoo, mean (lowest–highest) over seeds:")
        st.markdown("\n".join(f"- {sentence}" for sentence in zoo_sentences(found)))
    else:
        st.markdown("The zoo has no model of it yet.")
    st.markdown(f"**ASR here:** {library.plain(about['asr_definition'])}")


def _links(name: str, found: Sequence[Run]) -> None:
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
