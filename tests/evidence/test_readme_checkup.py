"""What README.md says of the checkup is what its evidence holds."""

from __future__ import annotations

from evidence import readme_checkup
from evidence.shipped import DETECTORS, read


def test_every_number_is_that_of_the_evidence(tmp_path, monkeypatch):
    text = readme_checkup.checkup()
    found = read(DETECTORS)
    rule = found["rules"]["family"]
    assert f"accuses {100 * rule['false_alarms']:.0f} % of the benign" in text.replace("\n", " ")
    assert text.count("\n| ") == 1 + len(found["detectors"]) + len(found["rules"])
    for name, share in rule["found_by"].items():
        named = {"tact": "TaCT"}.get(name)
        if named:
            assert ("It does not find:" in text and named in text) == (share < 0.5)
    best = max(found["detectors"], key=lambda row: row["auc"]["value"])
    first = text[text.index("| First look from") :].split("\n")[1]
    assert first.startswith(f"| {best['title']} | {best['auc']['value']:.2f} (")
    monkeypatch.setattr(readme_checkup, "DETECTORS", tmp_path / "none.json")
    assert readme_checkup.checkup() == "Not measured yet."
