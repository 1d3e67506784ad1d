"""What a checkup says in the end."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from analysis.verdict import (
    CONTROL,
    DETECTORS,
    features,
    probability,
    shipped_reference,
    verdict,
    why_not,
)
from ngf.catalogue import options_of
from ngf.config import Choice
from tests.helpers.checkups import BENIGN, reference, values


def test_the_sides_of_the_band_are_three_answers():
    for latent, answer in ((9.0, "backdoored"), (0.5, "benign"), (3.6, "cannot tell")):
        found = verdict(values(latent_index=latent), reference())
        assert found.answer == answer and found.not_comparable == ""
        assert found.low <= found.probability <= found.high
        assert found.suspicious == 3
    assert "towards class 3" in verdict(values(latent_index=9.0), reference()).words
    assert "no sign of a backdoor" in verdict(values(latent_index=0.5), reference()).words
    said = verdict(values(latent_index=3.6), reference()).words
    assert said.startswith("The checkup cannot tell: probability ") and "AUC is 0.90" in said


def test_the_probability_is_that_of_the_rule():
    rule = reference()["rules"]["family"]
    x = features(values(latent_index=9.0), rule["measures"])
    score = sum(
        w * (v - c) / s
        for v, c, s, w in zip(x, rule["center"], rule["scale"], rule["weights"], strict=True)
    )
    found = verdict(values(latent_index=9.0), reference()).probability
    assert found == pytest.approx(1 / (1 + math.exp(-score - rule["intercept"])))
    assert probability({**rule, "intercept": 1e9}, x) == pytest.approx(1.0)


def test_another_network_is_not_comparable_and_only_indices_count():
    other = values(num_parameters=11_000_000, relative_flatness=1e9)
    found = verdict(other, reference())
    assert "another network" in found.not_comparable
    assert "Not comparable: the known models (tests) have another network" in found.words
    assert "untested" in found.words
    for item in found.compared:
        assert (item.benign is None) == (not DETECTORS[item.name].any_model), item.name
        assert (item.calls is None) == (item.benign is None)
    same = verdict({**other, "relative_flatness": 1e-9}, reference())
    assert same.probability == found.probability
    assert len(found.reasons) == 3


def test_other_settings_are_not_comparable():
    assert why_not(values(), reference()) == ""
    assert "other settings (trigger_steps = 10)" in why_not(values(trigger_steps=11), reference())
    assert why_not(values(n=250, epsilon=0.062501), reference()) == ""
    assert "(n = 500)" in why_not(values(n=249), reference())


def test_without_models_or_numbers_it_cannot_tell():
    alone = verdict(values(), None)
    assert alone.probability is None and alone.answer == "cannot tell"
    assert "no models are known" in alone.words
    begun = verdict(values(latent_index=None), reference())
    assert begun.probability is None and "not ended" in begun.words
    begun = verdict(values(anomaly_index=None), reference())
    assert "anomaly_index" not in [item.name for item in begun.compared]


@pytest.mark.parametrize("kind", [{}, {"num_parameters": 11_000_000}])
def test_before_the_searches_there_is_a_first_look(kind):
    searched = dict.fromkeys(name for name, one in DETECTORS.items() if one.searched)
    found = verdict(values(latent_index=9.0, **kind, **searched), reference())
    assert found.early and found.answer == "backdoored"
    assert found.words.startswith("First look, before the long searches: this model looks")
    assert len(found.reasons) == (1 if kind else 6)
    assert not verdict(values(latent_index=9.0, **kind), reference()).early


def test_a_detector_calls_what_is_beyond_its_threshold_on_its_side():
    by = {item.name: item for item in verdict(values(latent_index=9.0), reference()).compared}
    assert by["latent_index"].calls and by["latent_index"].benign == BENIGN["latent_index"]
    by = {item.name: item for item in verdict(values(smallest_trigger=0.001), reference()).compared}
    assert by["smallest_trigger"].direction == -1 and by["smallest_trigger"].calls


def test_every_scale_keeps_the_order_and_is_finite():
    for one in (*DETECTORS.values(), CONTROL):
        shares = one.name == "universal_success"
        ends = (0.0, 0.3, 0.6, 1.0) if shares else (0.0, 0.5, 2.0, 1e6)
        found = [one.scale(x) for x in ends]
        assert found == sorted(found) and all(map(math.isfinite, found)), one.name
        assert found[1] < found[2]


def test_what_ships_is_of_the_defaults_of_a_checkup():
    found = shipped_reference()
    options = options_of("measurements", Choice("checkup"))
    own = {**found["family"], **options, "n": options["num_images"]}
    assert why_not(own, found) == ""
    assert set(found["rules"]["family"]["measures"]) == set(DETECTORS)


def test_it_is_read_without_torch():
    code = "import analysis.verdict, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
