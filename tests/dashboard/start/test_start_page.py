"""The first page."""

from __future__ import annotations

import json

from dashboard.charts.rates import RATES
from tests.helpers.made_up_sharpness import sharpness
from tests.helpers.pages import text


def test_start_tells_the_story_with_numbers_intervals_and_counts(open_page, store):
    page = open_page("start")
    shown = text(page)
    assert [item.label for item in page.metric] == [rate.name for rate in RATES]
    assert "What you just saw." in shown
    assert shown.count("[") >= 6, "every number has its interval"
    assert "clean test images" in shown and "triggered" in shown


def written(tmp_path, monkeypatch, **files) -> None:
    """Files of evidence in the place of those that ship."""
    folder = tmp_path / "assets" / "evidence"
    folder.mkdir(parents=True)
    monkeypatch.setattr("ngf.places.ASSETS", tmp_path / "assets")
    for name, found in files.items():
        (folder / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")


def claim(verdict: str, **more) -> dict:
    return {
        "claim": f"{verdict}?",
        "verdict": verdict,
        "short": "Of 3 models.",
        "sentence": "3",
    } | more


def test_claims_stand_with_their_verdict_below_the_picture(open_page, store, tmp_path, monkeypatch):
    claims = [
        claim("Supported", answer="yes"),
        claim("Explained by the clean loss", answer="partly"),
        claim("Left open"),
        claim("Not supported", reported=False),
    ]
    written(tmp_path, monkeypatch, summary={"claims": claims}, sharpness=sharpness())
    shown = text(open_page("start"))
    assert "Is a backdoor a sharp place in the landscape?" in shown
    for icon, said in (
        (":material/check_circle: *Reported*", "**Supported.** Of 3 models."),
        (":material/balance: *Reported*", "**Explained by the clean loss.** Of 3 models."),
        (":material/help: *Reported*", "**Left open.**"),
        (":material/cancel: *Not in the paper*", "**Not supported.**"),
    ):
        assert icon in shown and said in shown


def test_without_evidence_no_claim_is_told(open_page, store, tmp_path, monkeypatch):
    empty = sharpness() | {"effects": []}
    written(tmp_path, monkeypatch, summary={"claims": []}, sharpness=empty)
    assert "What the paper claims" not in text(open_page("start"))
