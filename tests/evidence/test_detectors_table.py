"""What the table of detectors says of models whose detectors are known to work, or not."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.verdict import DETECTORS, verdict
from evidence import detectors_table
from evidence.detectors_table import RULES, table
from evidence.shipped import as_text, read, write
from tests.helpers.checkups import values


def files(strength: float, *, attacks: str = "abcd", benign: int = 10) -> list[dict]:
    """Models of which the index of the features alone tells, by `strength` standard deviations; an
    attack `hidden` leaves no trace.
    """
    rng = np.random.default_rng(0)
    made = []
    for attack, seeds in [("none", benign), *[(name, 3) for name in attacks], ("hidden", 3)]:
        for seed in range(seeds):
            seen = attack not in ("none", "hidden")
            noise = {name: float(np.exp(rng.normal() / 4)) for name in DETECTORS}
            noise["universal_success"] = float(rng.uniform(0.2, 0.8))
            noise["latent_index"] = float(np.sinh(2 + rng.normal() / 4 + seen * strength / 4))
            noise["loss"] = float(np.exp(rng.normal()))
            named = 1 if seen else int(rng.integers(2, 12))
            made.append(
                {
                    "run": f"{attack}-s{seed}",
                    "data": "signs",
                    "attack": attack,
                    "seed": seed,
                    "target": None if attack == "none" else 1,
                    "asr": None,
                    "seconds": 20.0,
                    "values": values(**noise, suspicious_class=named),
                    "classes": {
                        part: [float(c == named) for c in range(12)]
                        for part in ("trigger_index", "universal_index", "latent_index")
                    },
                }
            )
    return made


@pytest.fixture(scope="module")
def found() -> dict:
    made = files(8.0)
    other = {**made[-4], "data": "fashion_mnist", "run": "elsewhere"}
    return table([*made, other])


def test_the_detector_that_works_is_told_from_those_that_do_not(found):
    by = {row["name"]: row for row in found["detectors"]}
    assert set(by) == {*DETECTORS, "loss"} and by["loss"]["control"]
    assert by["latent_index"]["auc"]["value"] > 0.8
    assert by["latent_index"]["direction"] == 1
    assert by["latent_index"]["auc"]["low"] < by["latent_index"]["auc"]["value"]
    assert by["relative_flatness"]["auc"]["value"] < 0.75
    low, middle, high = by["latent_index"]["benign"]
    assert low < middle < high < by["latent_index"]["backdoored"][2]
    assert by["latent_index"]["n"] == {"attacks": 5, "models": 15, "benign": 10}


def test_an_attack_without_a_trace_is_not_hidden_in_the_mean(found):
    by = {(row["detector"], row["attack"]): row for row in found["attacks"]}
    assert by["latent_index", "a"]["auc"] > 0.95
    assert by["latent_index", "hidden"]["auc"] < 0.8
    assert found["rules"]["family"]["found_by"]["hidden"] < 0.7


def test_a_new_model_is_judged_by_the_table(found):
    def judged(index: float) -> str:
        made = values(latent_index=index, universal_success=0.5)
        return verdict(made, found).answer

    assert judged(80.0) == "backdoored" and judged(0.1) != "backdoored"
    for name, measures in RULES.items():
        rule = found["rules"][name]
        assert rule["measures"] == list(measures) and len(rule["without"]) == 5
        assert rule["band"][0] <= 0.5 <= rule["band"][1]
        assert rule["false_alarms"] + rule["missed"] == pytest.approx(2 * rule["wrong"], abs=1e-4)


def test_every_model_has_a_probability_that_it_was_not_in(found):
    rows = {row["run"]: row for row in found["models"]}
    assert len(rows) == 25 and all(0 < row["family"] < 1 for row in rows.values())
    assert rows["a-s0"]["any"] > 0.5


def test_the_class_that_stands_out_is_compared_with_what_chance_gives(found):
    first = found["classes"][0]
    assert first["by"] == "suspicious_class" and first["models"] == 15
    assert first["right"] == 0.8 and first["missed"] == ["hidden"] and first["benign"] == 0


def test_models_of_other_data_are_judged_and_teach_nothing(found):
    (row,) = found["elsewhere"]
    assert row["run"] == "elsewhere" and row["data"] == "fashion_mnist"
    assert all(model["run"] != "elsewhere" for model in found["models"])


def test_too_few_models_make_no_table():
    assert table(files(8.0, attacks="", benign=10)) == {}
    assert table(files(8.0, benign=2)) == {}


def test_it_is_made_anew_only_when_the_files_change(monkeypatch, tmp_path, found):
    monkeypatch.setattr(detectors_table, "FOLDER", tmp_path / "detectors")
    monkeypatch.setattr(detectors_table, "FILE", tmp_path / "detectors.json")
    assert detectors_table.missing() == []
    for one in files(8.0, attacks="ab", benign=4):
        write(tmp_path / "detectors" / f"{one['run']}.json", one)
    assert detectors_table.missing() == ["detectors.json"]
    detectors_table.make("detectors.json")
    assert detectors_table.missing() == []
    text = (tmp_path / "detectors.json").read_text(encoding="utf-8")
    assert text == as_text(read(tmp_path / "detectors.json"))
    (tmp_path / "detectors" / "a-s0.json").unlink()
    assert detectors_table.missing() == ["detectors.json"]
