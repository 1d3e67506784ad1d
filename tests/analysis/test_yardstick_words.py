"""What a yardstick says, and what it cannot."""

from __future__ import annotations

import subprocess
import sys

from analysis.yardstick_words import CANNOT, sentence, shipped_surrogate, trust

MOVED = {"moved": 0.018, "moved_low": 0.0095, "moved_high": 0.034, "n": 500}
LEFT = {"opened": 456, "left": 0.28, "left_low": 0.22, "left_high": 0.34}
RANK = {"value": 0.8, "low": 0.61, "high": 0.9, "models": 15}
EVIDENCE = {
    "lanes": 30,
    "models": 15,
    "overall": {"left": RANK},
    "within": {"left": {**RANK, "value": 0.7, "models": 14}},
}


def test_it_says_what_is_left_how_far_it_can_be_trusted_and_what_it_cannot_show():
    assert sentence({**MOVED, **LEFT}, EVIDENCE) == (
        "Of what opened the model before, 28 % still does (22 to 34 %). Predictions moved on 1.8 % "
        "of 500 clean images (0.9 to 3.4 %). Over 30 purifications of 15 models of the zoo this "
        "ranked as the true attack success did, with Spearman's ρ = 0.80 (0.61 to 0.90); among the "
        "purifications of one model, ρ = 0.70 (0.61 to 0.90) on average over 14 of them. " + CANNOT
    )


def test_what_is_not_known_is_not_said():
    searching = sentence({**MOVED, "left": None, "opened": None}, {})
    assert "still searched for" in searching and "ρ" not in searching
    assert searching.endswith(CANNOT)
    nothing = sentence({**MOVED, "left": None, "opened": 0}, EVIDENCE)
    assert nothing.startswith("Nothing that was found opened the model before")
    assert trust({}) == ""


def test_the_evidence_that_ships_is_of_every_attack_and_can_be_told():
    found = shipped_surrogate()
    assert found["models"] == len({row["attack"] for row in found["rows"]})
    assert found["lanes"] >= 2 * found["models"]
    assert f"Over {found['lanes']} purifications" in trust(found)


def test_no_torch() -> None:
    code = "import sys, analysis.yardstick_words\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
