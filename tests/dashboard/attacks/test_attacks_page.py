"""The attacks gallery: a card for whatever the catalogue has, with or without a picture; and
the pictures.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from dashboard.attacks import attack_card
from dashboard.kit import library, trigger
from ngf.catalogue import build, catalogue
from ngf.config import Choice, TrainSpec
from ngf.runs.folder import PREVIEW
from tests.helpers.pages import checked, text
from tests.helpers.run_folders import write_run

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
    assert all(paragraph in said for paragraph in (told.source, *told.formula, *told.changed))
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
    assert len(headings(page)) == len(ATTACKS)


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


def test_a_docstring_is_taken_apart_where_it_says_so():
    told = attack_card.taken_apart(
        "Name (A, B 2020, arXiv 2001.00001): what\nit is.\n\nx' = x + v_1\n  y = a * b\n"
        "with v. More. Changed: one thing,\nbecause.\n\nAnd another."
    )
    assert (
        told.source
        == r"Name (A, B 2020, [arXiv 2001.00001](https://arxiv.org/abs/2001.00001))\: what it is."
    )
    assert told.formula == ["x' = x + v\\_1\n```text\ny = a * b\n```\nwith v. More."]
    assert told.changed == [r"Changed\: one thing, because.", "And another."]
    assert attack_card.taken_apart("Only one line.") == attack_card.About("Only one line.", [], [])


def test_links_lead_to_the_lab_with_the_attack_chosen(open_page, store):
    page = open_page("lab", view="train", attack="wanet")
    assert page.selectbox(key="lab.train.attacks").value == "wanet"
    assert "could not be used" not in text(page)
    page = open_page("lab", attack="wanet", data="signs")
    assert page.selectbox(key="lab.attack").value == "wanet"


# ---- pictures with what the model says


def arrays(says: bool = True) -> dict[str, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    found = {
        "clean": images,
        "triggered": images // 2,
        "residual": 255 - images,
        "labels": np.array(["stop", "yield", "<b>"]),
    }
    return found | (
        {
            "says_clean": np.array(["stop", "stop", "<b>"]),
            "says_triggered": np.array(["no_entry", "yield", "stop"]),
        }
        if says
        else {}
    )


def test_below_each_image_is_what_the_classifier_says():
    html = trigger.pictures(arrays(), ["no_entry"] * 3)
    verdicts = re.findall(r"<span>(.*?)</span>", html)
    assert verdicts == ["✓ stop", "▲ no entry", "✗ stop", "✓ yield", "✓ &lt;b&gt;", "✗ stop"]
    assert html.count("<img") == 9 and "<b>" not in html
    assert 'alt="stop, triggered"' in html
    assert "▲ the attacker’s class" in trigger.legend(arrays())


def test_previews_without_verdicts_have_no_row_for_them():
    html = trigger.pictures(arrays(says=False), [""] * 3, rows=("clean", "triggered"))
    assert html.count("<img") == 6 and "<span>" not in html
    assert "classifier says" not in trigger.legend(arrays(says=False))


def test_the_lab_shows_what_the_model_of_a_training_says(store):
    def script(run_id):
        from dashboard.kit import library
        from dashboard.kit.trigger import show_trigger

        show_trigger(library.find(run_id))

    from streamlit.testing.v1 import AppTest

    for mode, aim in (("all-to-one", "limit_30"), ("all-to-all", "limit_50")):
        spec = TrainSpec(
            attack=Choice("badnets", {"target": 1, "mode": mode} if mode != "all-to-one" else {}),
            seed=77,
        )
        folder = write_run(store.root, spec, [])
        classes = catalogue()["data"]["signs"]["classes"]
        labels = np.array([classes[1], classes[1], classes[1]])
        aims = [classes[1] if mode == "all-to-one" else classes[2]] * 3
        pairs = np.stack([arrays()["clean"], arrays()["triggered"]], axis=1)
        np.savez(
            folder / PREVIEW,
            pairs=pairs,
            labels=labels,
            says_clean=labels,
            says_triggered=np.array([classes[2], classes[1], classes[0]]),
        )
        assert trigger.wanted(store.get(spec.id), labels) == aims
        page = checked(AppTest.from_function(script, args=(spec.id,), default_timeout=20).run())
        said = re.findall(r"<span>(.*?)</span>", page.get("html")[0].proto.body)
        assert said[1::2] == [
            f"{'▲' if mode == 'all-to-all' else '✗'} {trigger.readable(classes[2])}",
            f"✓ {trigger.readable(classes[1])}",
            f"✗ {trigger.readable(classes[0])}",
        ]
        assert aim
