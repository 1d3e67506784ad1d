"""The checkups of the zoo: in which order, and what a file holds."""

from __future__ import annotations

import json

from evidence import detectors
from evidence.detectors import OF_CLASSES, checked, missing, path_of, short, specs
from evidence.shipped import write
from ngf.config import Choice
from ngf.runs.store import Store

QUICK = Choice("checkup", {"num_images": 12, "trigger_steps": 5, "universal_steps": 1})


def test_benign_models_and_one_of_each_attack_come_first():
    found = specs()
    first = [spec for spec in found if spec.data == "signs"]
    assert found[: len(first)] == first
    until = max(i for i, spec in enumerate(first) if spec.attack.name == "none")
    assert {spec.seed for spec in first[:until] if spec.attack.name != "none"} == {0}
    assert sum(spec.attack.name == "none" for spec in first) == 17
    assert {spec.data for spec in found[len(first) :]} == {"fashion_mnist"}


def test_what_is_there_is_not_made_again(monkeypatch, tmp_path):
    monkeypatch.setattr(detectors, "FOLDER", tmp_path)
    whole = missing()
    write(path_of(whole[0]), {"run": whole[0]})
    assert missing() == whole[1:]


def test_a_file_knows_the_attack_and_the_checkup_does_not():
    run = next(spec for spec in specs() if spec.attack.name == "badnets").id
    found = checked(Store(), run, QUICK)
    assert (found["attack"], found["data"], found["target"]) == ("badnets", "signs", 1)
    assert found["asr"] > 0.9
    assert not {"attack", "target"} & set(found["values"])
    assert set(found["classes"]) == set(OF_CLASSES)
    assert all(len(values) == 12 for values in found["classes"].values())
    assert len(found["layers"]["name"]) == len(found["layers"]["layer_trace"])
    assert len(json.dumps(found)) < 4000, "without pictures"


def test_numbers_are_short_and_the_rest_is_as_it_was():
    assert short(0.123456) == 0.1235 and short(123456.0) == 123500.0
    assert (short(12345), short("a"), short(None)) == (12345, "a", None)
