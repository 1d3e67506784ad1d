"""The tables of README.md about methods, from made-up purifications."""

from __future__ import annotations

import pytest

from evidence import methods, purification, readme_methods
from evidence.shipped import write
from ngf.config import Choice
from tests.helpers.purification_rows import HOW, file, files


@pytest.fixture
def told(monkeypatch, tmp_path):
    """Every part, of what these files say."""

    def of(made):
        for one in made:
            write(tmp_path / "purification" / f"{one['run']}.json", one)
        monkeypatch.setattr(purification, "FOLDER", tmp_path / "purification")
        names = dict.fromkeys(name for names in HOW.values() for name in names)
        monkeypatch.setattr(methods, "METHODS", {name: Choice("sgd") for name in names})
        monkeypatch.setattr(methods, "PATH", tmp_path / "methods.json")
        monkeypatch.setattr(readme_methods, "METHODS", tmp_path / "methods.json")
        methods.make("methods.json")
        return {name: part() for name, part in readme_methods.PARTS.items()}

    return of


def test_nothing_measured_says_so_once(told) -> None:
    found = told([])
    assert found.pop("setup") == "Not measured yet." and not any(found.values())


def test_every_part_says_what_it_rests_on(told) -> None:
    found = told(files(models=2))
    setup = " ".join(found["setup"].split())
    assert "6 backdoored models of 3 attacks" in setup and "100 steps;" in setup
    assert "A defender has 500 clean images in all" in setup and "cross-fitting" in setup
    assert "that are planned" in setup
    assert "(2 models, 3 seeds)" in " ".join(found["spreads"].split())
    rows = found["methods"].splitlines()[2:]
    assert len(rows) == 3 * (1 + len(HOW["rule"])), "models before, then every method"
    assert rows[0].startswith("| BadNets | Before | – | 99.0 ± 0.0 | 95.0 ± 0.0 |")
    assert rows[1].startswith("| BadNets | NGF, one layer | 0.1 | 98.2 ± 0.0 (± 0.0) |")
    assert rows[1].endswith("| 2 × 3 |")
    assert "| – |" not in found["removal"] and found["removal"].count("\n") == 4
    assert "6 of 6" in found["equal_accuracy"] and "18 of 18" in found["equal_accuracy"]
    assert found["augmentation"].count("| all of these |") == len(HOW["weak"])


def test_what_was_not_tried_or_diverged_is_told(told) -> None:
    one = file("badnets", 0, how={"default": HOW["default"]})
    two = file("blend", 0, how={"default": HOW["default"][:1]})
    lost = {"method": "ngf, one layer", "how": "default", "times": 0.0, "seed": 9, "strength": 1.0}
    one["rows"].append(lost | {"diverged": 4, "seconds": 1.0})
    found = told([one, two])
    badnets, blend = found["removal"].splitlines()[2:]
    assert ", 1 diverged |" in badnets and blend.endswith("| – | – |")
    assert "on some attacks only" in " ".join(found["defaults"].split())
