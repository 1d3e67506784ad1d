"""The attacks gallery: a card for whatever the catalogue has, with or without a picture."""

from __future__ import annotations

import re

import pytest

from dashboard.attacks import attack_card
from dashboard.kit import library
from ngf.catalogue import build, catalogue
from ngf.config import Choice
from tests.helpers.pages import checked, read, text

ATTACKS = {name: about for name, about in catalogue()["attacks"].items() if name != "none"}


def headings(page) -> list[str]:
    return [item.value for item in page.header]


def test_every_attack_has_a_card_on_an_empty_store(open_page, empty):
    page = open_page("attacks")
    assert headings(page) == [about["title"] for about in ATTACKS.values()]
    said = text(page)
    assert "No model was trained with any of them yet" in said
    assert (
        said.count("No picture yet")
        == said.count("The zoo has no model of it yet.")
        == len(ATTACKS)
    )
    assert said.count("**ASR here:** Share of") == len(ATTACKS)


def test_cards_have_the_numbers_of_the_zoo(open_page, store):
    page = open_page("attacks", attack="badnets")
    assert headings(page) == ["BadNets (patch)"]
    runs = [
        run
        for run in library.trained()
        if run.source == "zoo"
        and run.spec.attack.name == "badnets"
        and run.spec.data == "signs"
        and run.spec.model == "preact_resnet_tiny"
    ]
    mean = sum(run.result["ca"] for run in runs) / len(runs)
    said = text(page)
    assert f"CA {100 * mean:.1f} %" in said and f"{len(runs)} models" in said
    assert "[arXiv 1708.06733](https://arxiv.org/abs/1708.06733)" in said
    told = attack_card.taken_apart(ATTACKS["badnets"]["about"])
    assert told.changed and "**What we changed, and why**" in said
    paragraphs = (told.source, *told.formula, *told.changed)
    assert all(read(paragraph) in said for paragraph in paragraphs)
    figure = page.get("html")[-1].proto.body
    assert figure.count("<figure>") == 6 and figure.count("<img") == 18


def test_filters_are_in_the_address(open_page, store):
    page = open_page("attacks", kind="clean-label")
    assert headings(page) and all(
        ATTACKS[name]["clean_label"] == (about["title"] in headings(page))
        for name, about in ATTACKS.items()
    )
    page.multiselect(key="attacks.attack").set_value(["badnets"]).run()
    assert "No attack fits these filters." in text(checked(page))
    assert page.query_params["attack"] == ["badnets"] or page.query_params["attack"] == "badnets"


def test_a_bad_link_to_the_gallery_opens_on_all(open_page, store):
    page = open_page("attacks", attack="<script>", kind="dance", bogus="1")
    assert "could not be used" in text(page) and "<script>" not in text(page)
    assert headings(page)[-len(ATTACKS) :] == [about["title"] for about in ATTACKS.values()]


@pytest.mark.parametrize("name", ATTACKS)
def test_the_catalogue_says_what_the_asr_is_and_where_the_attack_comes_from(name):
    about = ATTACKS[name]
    assert about["asr_definition"] == build("attacks", Choice(name)).asr_definition()
    assert set(attack_card.kinds(about)) <= set(attack_card.KINDS)
    told = attack_card.taken_apart(about["about"])
    assert told.source and not re.search(r"(?<!\\)[*_$<]", told.source), (
        "nothing in it is read as markup"
    )
    told_words = re.sub(
        r"\(https://arxiv.org/abs/[\d.]+\)|```text",
        "",
        "".join([told.source, *told.formula, *told.changed]),
    )
    assert re.sub(r"\W", "", told_words) == re.sub(r"\W", "", about["about"]), "no word is lost"


def test_a_docstring_is_taken_apart_by_its_paragraphs():
    told = attack_card.taken_apart(
        "Name (A, B 2020, arXiv 2001.00001): what\nit is.\n\nx' = x + v_1\n  y = a * b\n"
        "with v. More.\n\nChanged: one thing,\nbecause.\n\nAnd another."
    )
    assert (
        told.source
        == r"Name (A, B 2020, [arXiv 2001.00001](https://arxiv.org/abs/2001.00001))\: what it is."
    )
    assert told.formula == ["x' = x + v\\_1\n```text\ny = a * b\n```\nwith v. More."]
    assert told.changed == [r"Changed\: one thing, because.", "And another."]
    assert attack_card.taken_apart("Only one line.") == attack_card.About("Only one line.", [], [])


@pytest.mark.parametrize("name", ATTACKS)
def test_what_an_attack_has_changed_begins_a_paragraph(name):
    """The one rule by which a card finds it."""
    starts = [text.startswith("Changed: ") for text in ATTACKS[name]["about"].split("\n\n")]
    assert ATTACKS[name]["about"].count("Changed:") == sum(starts) <= 1
