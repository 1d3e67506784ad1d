"""What was measured beforehand of every model in the zoo: are backdoored minima sharper, are
purified ones smoother, what of it is clean loss, and which measure tells them apart?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.answer import answer_chart
from dashboard.charts.detector import detector_chart
from dashboard.charts.minima import minima_chart
from dashboard.charts.ratios import interval, rests_on
from dashboard.kit import library
from dashboard.kit.evidence import answer_effects, evidence, of_group
from dashboard.kit.show import show

IMAGES = {"train": "Training images", "test": "Test images"}
METHODS = {
    "ngf": "NGF",
    "ngf, with regularizer": "NGF, with regularizer",
    "sgd": "SGD",
    "adam": "Adam",
}
Row = Mapping[str, Any]


def show_evidence() -> None:
    """The section, if there is evidence."""
    found = evidence("sharpness")
    if found is None or not found["models"]:
        return
    st.header("All models of the zoo")
    st.markdown(
        "The paper's argument has two steps: a backdoored minimum is *sharper* than a benign one, "
        "and purification makes it *smoother*. But a network that fits its images less well (a "
        "higher loss) is sharper for that alone. So each comparison is made twice: as the models "
        "are, and with benign ones of the same clean loss, which every training passes through."
    )
    data, images, measure, titles = _choose(found)
    shown = {
        name: of_group(found[name], data, images)
        for name in ("models", "purified", "along", "effects", "shares", "detectors")
    }
    key = f"evidence.{data}.{images}"
    effects = answer_effects(shown["effects"])
    own = [row for row in effects if row["measure"] == measure]
    if own:
        show(
            answer_chart(own, {measure: titles[measure]}),
            f"{key}.{measure}.answer",
            name="how many times as sharp",
            height=110 + 75 * len(own),
        )
    by_ngf = [row for row in shown["purified"] if row["method"] == "ngf"]
    along = [row for row in shown["along"] if row["method"] == "ngf"]
    show(
        minima_chart(shown["models"], by_ngf, along, own, measure, titles[measure]),
        f"{key}.{measure}.models",
        name="all models of the zoo",
        height=460,
    )
    _show_every_measure(shown, titles)
    _show_attacks(shown["effects"], measure)
    _show_methods(shown["effects"], measure)
    _show_detectors(shown["detectors"], titles, key)
    _show_what_was_measured(found, shown)


def _choose(found: Row) -> tuple[str, str, str, dict[str, str]]:
    """Data set, images and measure; and what the measures are called."""
    columns = st.columns(3)
    sets = list(dict.fromkeys(row["data"] for row in found["models"]))
    data = columns[0].selectbox(
        "Data set", sets, key="evidence.data", format_func=lambda name: library.title("data", name)
    )
    kinds = [
        kind
        for kind in IMAGES
        if any((row["data"], row["images"]) == (data, kind) for row in found["models"])
    ]
    images = columns[1].selectbox(
        "Measured on",
        kinds,
        key="evidence.images",
        format_func=IMAGES.__getitem__,
        help="The minimum that training reached is a thing of training images, without the "
        "poisoned ones; test images are what a defender has.",
    )
    titles = {item["name"]: item["title"] for item in found["measures"]}
    models = of_group(found["models"], data, images)
    known = [name for name in titles if name != "loss" and any(name in row for row in models)]
    measure = columns[2].selectbox(
        "Measure", known, key="evidence.measure", format_func=titles.__getitem__
    )
    return data, images, measure, titles


def _ratio(effect: Row | None) -> str:
    if effect is None:
        return "–"
    return f"{effect['ratio']:.2f} ({interval(effect['low'], effect['high'])})"


def _find(effects: Sequence[Row], **wanted: str) -> Row | None:
    wanted = {"attack": "all"} | wanted
    for row in effects:
        if all(row.get(key, "") == value for key, value in wanted.items()):
            return row
    return None


def _p(effect: Row | None) -> str:
    if effect is None or effect["p"] is None:
        return "–"
    return "< 0.001" if effect["p"] < 0.001 else f"{effect['p']:.2g}"


def _show_every_measure(shown: Mapping[str, Sequence[Row]], titles: Mapping[str, str]) -> None:
    """A row per measure: raw, at equal loss, and the share that passes through the loss."""
    rows = []
    for name, title in titles.items():
        raw, equal = (
            _find(shown["effects"], question="backdoored", compared=compared, measure=name)
            for compared in ("raw", "loss")
        )
        if raw is None:
            continue
        share = next((row for row in shown["shares"] if row["measure"] == name), None)
        rows.append(
            {
                "Measure": title,
                "Backdoored / benign": _ratio(raw),
                "Holm's p": _p(raw),
                "At the same clean loss": _ratio(equal),
                "Holm's p ": _p(equal),
                "Goes with the loss": _share(share),
                "After NGF / before": _ratio(
                    _find(
                        shown["effects"],
                        question="purified",
                        compared="raw",
                        measure=name,
                        method="ngf",
                    )
                ),
            }
        )
    if rows:
        st.markdown("**By every measure**: ratios with their 95 % intervals; 1 is no difference.")
        st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", key="evidence.measures")


def _share(share: Row | None) -> str:
    if share is None or share["share"] is None:
        return "–"
    return f"{100 * share['share']:.0f} % ({100 * share['low']:.0f} to {100 * share['high']:.0f})"


def _show_attacks(effects: Sequence[Row], measure: str) -> None:
    """The chosen measure by attack."""
    own = [row for row in effects if row["question"] == "backdoored" and row["measure"] == measure]
    attacks = [row["attack"] for row in own if row["compared"] == "raw" and row["attack"] != "all"]
    if not attacks:
        return
    with st.expander("By attack", icon=":material/table_chart:"):
        st.dataframe(
            pd.DataFrame(
                [
                    {
                        "Attack": library.title("attacks", name),
                        "Models": _of(own, name)["n"]["models"],
                        "Backdoored / benign": _ratio(_of(own, name)),
                        "At the same clean loss": _ratio(_find(own, compared="loss", attack=name)),
                    }
                    for name in attacks
                ]
            ),
            hide_index=True,
            width="stretch",
        )
        st.caption("Each attack is shrunken towards all of them, as far as its models spread.")


def _of(own: Sequence[Row], attack: str) -> Row:
    return next(row for row in own if row["compared"] == "raw" and row["attack"] == attack)


def _show_methods(effects: Sequence[Row], measure: str) -> None:
    """After / before by every method, with and without the regularizer."""
    own = [row for row in effects if row["question"] == "purified" and row["measure"] == measure]
    methods = list(dict.fromkeys(row["method"] for row in own))
    if not methods:
        return
    with st.expander("By method: after against before", icon=":material/table_chart:"):
        rows = [
            {
                "Method": METHODS.get(name, name),
                "As they are": _ratio(_find(own, compared="raw", method=name)),
                "At the same clean loss": _ratio(_find(own, compared="loss", method=name)),
                "At the same clean accuracy": _ratio(_find(own, compared="ca", method=name)),
                "Rests on": rests_on(next(row for row in own if row["method"] == name)["n"]),
            }
            for name in methods
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def _show_detectors(rows: Sequence[Row], titles: Mapping[str, str], key: str) -> None:
    overall = [row for row in rows if row["attack"] == "all"]
    if not overall:
        return
    st.subheader("Could sharpness find a backdoor?")
    st.markdown(
        "Direction and threshold are learned from all attacks but one, and tried on the one that "
        "was left out, against benign models that were left out as well. The AUC is how often a "
        "backdoored model scores higher than a benign one."
    )
    show(
        detector_chart(overall, titles),
        f"{key}.detectors",
        name="which measure tells them apart",
        height=90 + 44 * len(overall),
    )
    st.markdown(
        "**A first step to a detector, and not one.** All these models have one network, one data "
        "set and one way of training, and benign ones of the same kind were there to compare with. "
        "Somebody who is handed a single model has none of that."
    )


def _show_what_was_measured(found: Row, shown: Mapping[str, Sequence[Row]]) -> None:
    final = [row for row in shown["models"] if row["kind"] == "final"]
    attacked = {(row["attack"], row["seed"]) for row in final if row["attack"] != "none"}
    benign = sum(row["attack"] == "none" for row in final)
    seeds = {row["purification_seed"] for row in shown["purified"]}
    purified = {(row["attack"], row["seed"]) for row in shown["purified"]}
    text = (
        f"*Measured*: {len(attacked)} backdoored models of "
        f"{len({attack for attack, _ in attacked})} attacks, {benign} benign ones and "
        f"{len(shown['models']) - len(final)} states on the way of their training"
    )
    if purified:
        text += f"; {len(purified)} models purified with {len(seeds)} seeds each"
    hardware = found["hardware"]
    st.caption(
        f"{text}; {found['num_images']:,} images, plain cross-entropy without augmentation or "
        f"poison, BatchNorm in eval mode. {hardware['hardware']}, torch {hardware['torch']}."
    )
