"""The table of what opens a backdoor: from the cards of the zoo, absent where nobody measured."""

from __future__ import annotations

import json
import shutil

import pytest

from dashboard.attacks.opens import figures, sentence, table
from ngf import places
from ngf.attacks.shared.shown import Opened
from ngf.runs.folder import CARD
from tests.helpers.pages import text


def probe(name, claims, *called) -> Opened:
    return Opened(name, claims, list(called), [1 - share for share in called], [1200] * len(called))


def test_a_table_has_means_and_ranges_over_seeds():
    found = table([probe("the trigger", True, 0.97, 0.99), probe("half a trigger", None, 0.5)])
    assert found.index.tolist() == ["The trigger", "Half a trigger"]
    assert found["The attack says"].tolist() == ["opens", "–"]
    assert found["Called what the attacker wants, %"].tolist() == ["98.0 (97.0–99.0)", "50.0"]
    assert found["Keeps its class, %"].tolist() == ["2.0 (1.0–3.0)", "50.0"]
    assert found["n"].tolist() == ["1,200", "1,200"]


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ([0.1, 0.1], "**Shown**, with every seed: what should open the backdoor does on 80 % of"),
        ([0.3, 0.0], "**Shown** by the mean over seeds, though not with every seed for a *star*:"),
        ([0.3, 0.2], "**Not shown for 1 of 2**: a *star* 25.0 (20.0–30.0) %. The rule: what"),
    ],
)
def test_the_sentence_says_whether_the_property_is_shown(others, told):
    said = sentence(
        [
            probe("the trigger", True, 0.9, 0.9),
            probe("a *star*", False, *others),
            probe("x", None, 0.5),
        ]
    )
    assert told in said.replace("\\", "")
    assert "(1 of these rows), what should not on 20 % or less (1)" in said


def test_further_figures_are_lines():
    cards = [{"figures": {"bits read": 0.98}}, {"figures": {"bits read": 1.0, "gain": 3.25}}, {}]
    assert figures(cards) == ["Bits read: 0.99 (0.98–1)", "Gain: 3.25"]


def test_the_card_of_an_attack_has_the_table_where_its_models_were_measured(
    open_page, store, tmp_path, monkeypatch
):
    zoo = tmp_path / "zoo"
    for path in places.ZOO.glob("signs-b[la]*-s[01]-*"):  # BadNets and Blend
        shutil.copytree(path, zoo / path.name)
    for seed, called in enumerate((0.1, 0.15)):
        (path,) = zoo.glob(f"signs-badnets-s{seed}-*")
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
        row = {"keeps_label": 0.8, "n": 2202, "interval": [0.1, 0.2]}
        card["opens"] = [
            row | {"name": "the trigger", "claims": True, "called_wanted": 1.0},
            row | {"name": "another patch", "claims": False, "called_wanted": called},
        ]
        (path / CARD).write_text(json.dumps(card), encoding="utf-8")
    for path in zoo.glob("signs-blend-*"):  # as cards were before
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
        kept = {key: value for key, value in card.items() if key not in ("opens", "figures")}
        (path / CARD).write_text(json.dumps(kept), encoding="utf-8")
    monkeypatch.setattr("ngf.places.ZOO", zoo)
    page = open_page("attacks", attack=["badnets", "blend"])
    said = text(page)
    assert said.count("What opens it, and what does not") == 1
    assert "**Shown**, with every seed" in said and "on 2 models" in said
    shown = [item.value for item in page.table if "The attack says" in item.value.columns]
    assert len(shown) == 1 and "12.5 (10.0–15.0)" in shown[0].to_string()
