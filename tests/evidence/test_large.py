"""A card of the network of the paper, made of a small one."""

from __future__ import annotations

import json

from evidence import large
from ngf.catalogue import build, names
from ngf.config import Choice, Training, TrainSpec
from ngf.runs.files import plain
from ngf.runs.store import Store


def test_a_card_of_a_large_network_is_trained_purified_and_measured(tmp_path) -> None:
    small = Training(num_images=600, epochs=2, min_ca=0.0, min_asr=0.0)
    assert len({spec.id for spec in large.specs()}) == 2 * len(names("attacks"))
    for spec in large.specs():
        build("attacks", spec.attack)
    lanes = tuple(Choice(name, {"steps": 2}) for name in ("ngf", "sgd", "adam"))
    made = large.card(
        Store(tmp_path), TrainSpec(attack=Choice("badnets"), training=small), lanes, num_images=32
    )
    json.dumps(plain(made), allow_nan=False)
    assert set(made["after"]) == {"ngf", "sgd", "adam"} == set(made["curvature"]) - {"before"}
    assert all(
        value["trace_stderr"] > 0 and value["n"] == 32 for value in made["curvature"].values()
    )
    rates = [made["before"], *made["after"].values()]
    assert all(rate["n_clean"] == 2400 and 0 <= rate["asr"] <= 1 for rate in rates)
    assert len({value["lambda_max"] for value in made["curvature"].values()}) == 4, (
        "each is of its own weights"
    )
