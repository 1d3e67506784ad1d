"""Tables of sharpness in README.md."""

from __future__ import annotations

import json

from evidence import readme_sharpness
from tests.helpers.made_up_sharpness import sharpness


def test_tables_have_the_ratios_of_the_file(monkeypatch, tmp_path) -> None:
    path = tmp_path / "sharpness.json"
    path.write_text(json.dumps(sharpness()), encoding="utf-8")
    monkeypatch.setattr(readme_sharpness, "SHARPNESS", path)
    told = {name: part() for name, part in readme_sharpness.PARTS.items()}
    assert "(4 models of 2 attacks, 3 benign models)" in " ".join(told["sharpness"].split())
    row = "| Largest Hessian eigenvalue | 1.50 (1.25–1.80) | 1.10 (0.92–1.32) | 85 % | – | – |"
    assert row in told["sharper"]
    assert "| NGF | Largest Hessian eigenvalue | 0.70 (0.58–0.84) |" in told["smoother"]
    assert "| Clean loss alone | 0.90 (0.70–1.00) | – |" in told["detectors"]
    assert "A first step to a detector and not one" in " ".join(told["detectors"].split())


def test_nothing_measured_is_said(monkeypatch, tmp_path) -> None:
    path = tmp_path / "sharpness.json"
    nothing = dict.fromkeys(("effects", "shares", "detectors"), [])
    path.write_text(json.dumps(sharpness() | nothing), encoding="utf-8")
    monkeypatch.setattr(readme_sharpness, "SHARPNESS", path)
    assert {part() for part in readme_sharpness.PARTS.values()} == {readme_sharpness.NOTHING}
