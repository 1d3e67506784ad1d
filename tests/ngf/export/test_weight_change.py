"""How far each layer was moved, against numbers that are worked out by torch and by hand."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ngf.export.weight_change import INSIDE, as_csv, changes, compared, whole
from ngf.models.of_others import normalized
from ngf.options import SpecError
from ngf.runs.folder import WEIGHTS, purified_weights
from ngf.runs.store import Store
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, race_events, write_run

RECORDED = "ngf-vs-sgd-ae43fe4fb4"
BEFORE = {
    "network.stem.weight": torch.tensor([[3.0, 0.0], [0.0, 4.0]]),
    "network.bn.weight": torch.ones(2),
    "network.bn.bias": torch.zeros(2),
    "network.bn.running_mean": torch.zeros(2),
    "network.bn.num_batches_tracked": torch.tensor(3),
    "network.head.bias": torch.zeros(2),
}


@pytest.fixture
def race(tmp_path):
    """A race whose first lane moved some weights, and whose second one moved none."""
    save_file(BEFORE, write_run(tmp_path, TRAIN, epoch_events(), done=True) / WEIGHTS)
    folder = write_run(tmp_path, RACE, race_events(), done=True)
    after = {name: value.clone() for name, value in BEFORE.items()}
    after["network.stem.weight"][0, 0] = 3.5
    after["network.bn.bias"][1] = 1.0
    after["network.bn.running_mean"] += 7  # an average is no parameter
    after["network.head.bias"] += 1
    save_file({**after, "network.bn.bound": torch.ones(2)}, folder / purified_weights("ngf"))
    half = {n: v.half() if v.is_floating_point() else v for n, v in BEFORE.items()}
    save_file(half, folder / purified_weights("sgd"))
    return Store(tmp_path).get(RACE.id)


def test_layers_are_counted_by_hand(race):
    found = {one.layer: one for one in changes(race)["ngf"]}
    assert set(found) == {"stem", "bn", "head"}
    assert (found["stem"].count, found["stem"].changed) == (4, 1)
    assert found["stem"].relative == pytest.approx(0.5 / 5)
    assert (found["bn"].count, found["bn"].changed) == (4, 1)
    assert found["bn"].relative == pytest.approx(1 / math.sqrt(2))
    assert found["head"].relative is None, "it was zero"
    total = whole(list(found.values()))
    assert (total.count, total.changed) == (10, 4)
    assert total.relative == pytest.approx(math.sqrt(0.25 + 1 + 2) / math.sqrt(25 + 2))


def test_half_precision_is_widened_and_no_change_is_none(race):
    assert all(one.changed == 0 == one.moved for one in changes(race)["sgd"])


def test_the_recorded_race_is_what_torch_says():
    run = Store().get(RECORDED)
    from ngf.checkpoints.weights import load_model

    before = load_model(run.store, run.spec.parent).model
    for lane, layers in changes(run).items():
        after = load_model(run.store, f"{RECORDED}:{lane}").model
        names = list(dict.fromkeys(n.rpartition(".")[0] for n, _ in before.named_parameters()))
        assert [one.layer for one in layers] == names, "the order of the network"
        for one in layers:
            old, new = (
                torch.cat(
                    [p.detach().flatten().double() for p in m.get_submodule(one.layer).parameters()]
                )
                for m in (before, after)
            )
            assert one.count == len(old) and one.changed == int((old != new).sum())
            assert one.relative == pytest.approx(float((new - old).norm() / old.norm()), abs=1e-12)
    (moved,) = [one.layer for one in changes(run)["ngf"] if one.changed]
    assert moved == "stage2.block1.conv2"


def test_the_table_has_a_row_for_each_layer_and_one_for_all(race):
    rows = list(csv.DictReader(io.StringIO(as_csv(changes(race)))))
    assert [row["lane"] for row in rows] == ["ngf"] * 4 + ["sgd"] * 4
    assert {row["layer"] for row in rows} == {"stem", "bn", "head", "all"}
    (head,) = [r["relative_change"] for r in rows if (r["lane"], r["layer"]) == ("ngf", "head")]
    assert head == ""


def test_two_networks_are_not_compared():
    with pytest.raises(SpecError, match="two networks"):
        compared({"a.weight": np.zeros(2)}, {"a.weight": np.zeros(3)})


def test_without_the_model_before_it_says_so(race):
    (race.store.root / TRAIN.id / WEIGHTS).unlink()
    with pytest.raises(SpecError, match=f"{TRAIN.id} has left no"):
        changes(race)


def test_the_name_of_what_is_inside_is_that_of_the_networks():
    assert normalized.INSIDE == INSIDE
