"""README.md says what the files say."""

from __future__ import annotations

import re

import pytest

from evidence import readme
from evidence.computing import Failed
from evidence.markdown import machine, one
from evidence.readme import PARTS, renewed, rounded
from evidence.shipped import README
from evidence.zoo import specs
from ngf import models
from ngf.catalogue import catalogue
from ngf.config import NUM_VALIDATION, PurifySpec, TrainSpec
from ngf.defenses.fine_tuning.layer_choice import NEAR
from ngf.defenses.fine_tuning.options import FOLDS
from ngf.defenses.strength import TOLERATED_DROP

# fmt: off
WORDS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
# fmt: on


@pytest.fixture(scope="module")
def text() -> str:
    return README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def prose(text: str) -> str:
    return " ".join(text.split())


def test_tables_and_figures_are_those_of_the_files(text: str) -> None:
    new = renewed(text)
    wrong = [
        f"{old!r} should be {now!r}"
        for old, now in zip(text.splitlines(), new.splitlines(), strict=False)
        if old != now
    ]
    assert new == text, "\n".join(["README.md is not what the files say; run: make readme", *wrong])


def test_nothing_else_is_touched() -> None:
    text = "# Title  \n\n<!-- begin: a -->\nold\nlines\n<!-- end: a -->\nrest \n"
    assert renewed(text, {"a": lambda: "new \\1"}) == text.replace("old\nlines", "new \\1")


@pytest.mark.parametrize(
    "text",
    [
        "none",
        "<!-- begin: a -->\n1\n<!-- end: b -->",
        "<!-- begin: a -->\n1\n<!-- end: a -->\n<!-- begin: b -->",
        "<!-- begin: a -->\n1\n<!-- end: a -->\n<!-- begin: a -->\n1\n<!-- end: a -->",
        "<!-- begin: b -->\n1\n<!-- end: b -->",
    ],
)
def test_markers_that_are_wrong_are_refused(text: str) -> None:
    with pytest.raises(Failed, match="needs the markers of these parts"):
        renewed(text, {"a": lambda: "new"})


def test_a_sentence_about_one_value_needs_one_value() -> None:
    assert one([500, 500]) == 500
    with pytest.raises(Failed, match=r"\[500, 1000\]"):
        one([500, 1000])


def test_every_machine_is_named() -> None:
    here = {"cores": 2, "hardware": "AMD EPYC", "torch": "2.14.1+cu130"}
    there = here | {"hardware": "Intel Xeon", "torch": "2.15.0"}
    assert machine([here, here]) == "2 cores of an AMD EPYC, torch 2.14.1"
    assert machine([there, here, here], "shared ") == (
        "2 shared cores of an AMD EPYC, torch 2.14.1 or 2 shared cores of an Intel Xeon, torch "
        "2.15.0"
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [(2214.4, "2,200"), (22.4, "22"), (4.54, "4.5"), (19.59, "20"), (10.01, "10"), (2.0, "2.0")],
)
def test_ratios_are_told_with_two_digits(value: float, told: str) -> None:
    assert rounded(value) == told


def test_the_step_writes_only_what_changed(monkeypatch, tmp_path) -> None:
    path = tmp_path / "README.md"
    text = README.read_text(encoding="utf-8")
    path.write_text(text.replace("| BadNets | Before | ", "| BadNets | Before | 1"), "utf-8")
    monkeypatch.setattr(readme, "README", path)
    assert readme.missing() == ["README.md"]
    readme.make("README.md")
    assert path.read_text(encoding="utf-8") == text and readme.missing() == []


# ---- what is written by hand


def test_counts_in_prose_are_those_of_the_catalogue(prose: str) -> None:
    known = catalogue()
    attacks = len(known["attacks"]) - 1
    # images that came with a model are no data set to train on
    sets = sum(not about.get("imported") for about in known["data"].values())
    assert f"{WORDS[attacks].capitalize()} attacks, {WORDS[sets]} data sets" in prose
    assert f"{WORDS[len(known['models'])]} networks from " in prose


def test_defaults_are_told_as_they_are(prose: str) -> None:
    defaults = {
        name: {item["name"]: item["default"] for item in about["fields"]}
        for name, about in catalogue()["defenses"].items()
    }
    rates = [
        f"NGF {defaults['ngf']['trust_region']:g} nats",
        *(f"{title} {defaults[title.lower()]['lr']:g}" for title in ("SGD", "Adam")),
    ]
    assert f"The Lab's defaults ({', '.join(rates)}) are fixed" in prose
    assert defaults["ngf"]["layer"] == "fisher"


def test_the_zoo_is_as_large_as_it_says(prose: str) -> None:
    every = specs()
    assert f"A **zoo** of {len(every)} trained models" in prose
    seeds = {
        spec.attack.name: sum(
            other.attack == spec.attack and other.data == "signs" for other in every
        )
        for spec in every
    }
    benign = seeds.pop("none")
    low, high = min(seeds.values()), max(seeds.values())
    assert f"under every attack with {WORDS[low]} to {WORDS[high]} seeds" in prose
    assert f"{WORDS[benign]} benign ones" in prose


def test_measures_are_counted(prose: str) -> None:
    from analysis.measures import MEASURES

    invariant = sum(measure.invariant for measure in MEASURES.values())
    assert f"{WORDS[invariant]} measures of sharpness" in prose


def test_sizes_of_networks(prose: str) -> None:
    def parameters(name: str) -> int:
        classes = len(catalogue()["data"]["signs"]["classes"])
        return sum(value.numel() for value in models.build(name, classes).parameters())

    smallest = parameters("vgg_tiny")
    assert f"networks from {smallest // 1000},000 parameters to ResNet-50" in prose
    assert all(parameters(name) >= smallest for name in ("preact_resnet_tiny", "wide_resnet_16_1"))
    assert f"({round(parameters('preact_resnet_tiny'), -3):,} parameters)" in prose


def test_rules_are_told_with_their_numbers(prose: str) -> None:
    assert f"Judging on {NUM_VALIDATION:,} further clean images" in prose
    assert TOLERATED_DROP == 0.01 and "loses at most one point of clean accuracy" in prose
    assert FOLDS == 2 and "they are cut in two" in prose
    assert f"of the layers within {NEAR} of the best" in prose
    assert f"within the defender's own {PurifySpec.num_clean} clean images" in prose
    assert f"on {TrainSpec.training.num_images:,} images" in prose


def test_every_part_has_its_place(text: str) -> None:
    assert re.findall("<!-- begin: (.*?) -->", text) == list(PARTS)
