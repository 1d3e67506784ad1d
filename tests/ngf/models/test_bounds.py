"""Bounds clip and do nothing else, and go wherever weights go."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import fx

from analysis.landscape.interpolation import states_of
from ngf import models
from ngf.checkpoints.waypoints import Keeper, waypoint
from ngf.checkpoints.weights import WeightsError, load_weights, save_weights
from ngf.models.bounds import add_bounds, bounds_of, load_state

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NAME = "stage2.block1.bn2"


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build("preact_resnet_tiny", 12).eval()


@pytest.fixture
def bounded() -> torch.nn.Module:
    model = network()
    add_bounds(model, {NAME: torch.full((32, 8, 8), 0.2), "bn": torch.full((64, 4, 4), 0.5)})
    return model


def seen(model: torch.nn.Module, name: str) -> torch.Tensor:
    found = []
    hook = model.get_submodule(name).register_forward_hook(lambda _m, _i, out: found.append(out))
    model(IMAGES)
    hook.remove()
    return found[0]


def test_what_is_above_is_clipped_and_nothing_else(bounded):
    before, after = seen(network(), NAME), seen(bounded, NAME)
    above = before > 0.2
    assert 0 < above.float().mean() < 1
    assert (after[above] == 0.2).all() and torch.equal(after[~above], before[~above])
    assert not torch.equal(bounded(IMAGES), network()(IMAGES))


def test_before_a_relu_it_is_a_bound_on_what_leaves_it(bounded):
    values = torch.linspace(-3, 3, 61)
    for rising in (torch.relu, torch.nn.functional.silu, torch.nn.functional.gelu):
        bound = torch.tensor(0.7)
        clipped = torch.minimum(rising(values), rising(bound))
        assert torch.equal(rising(torch.minimum(values, bound)), clipped)


def test_weights_keep_their_names(bounded):
    state = bounded.state_dict()
    assert state.keys() - network().state_dict().keys() == {f"{NAME}.bound", "bn.bound"}
    assert bounds_of(state).keys() == {NAME, "bn"}


def test_copies_and_traces_are_bounded_too(bounded):
    logits = bounded(IMAGES)
    assert torch.equal(copy.deepcopy(bounded)(IMAGES), logits)
    graph = fx.Tracer().trace(bounded)
    assert torch.equal(fx.Interpreter(bounded, graph=graph).run(IMAGES), logits)


def test_new_bounds_replace_old_ones(bounded):
    add_bounds(bounded, {NAME: torch.full((32, 8, 8), 9e9), "bn": torch.full((64, 4, 4), 9e9)})
    assert torch.equal(bounded(IMAGES), network()(IMAGES))


def test_a_file_brings_its_bounds_along(bounded, tmp_path):
    save_weights(bounded, tmp_path / "weights.safetensors")
    found = load_weights(network(), tmp_path / "weights.safetensors")
    assert torch.equal(found(IMAGES), bounded(IMAGES))


def test_a_bound_of_a_module_that_is_not_there_is_refused(bounded, tmp_path):
    bounded.extra = torch.nn.Module()
    bounded.extra.register_buffer("bound", torch.zeros(3))
    save_weights(bounded, tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match="extra.bound too many"):
        load_weights(network(), tmp_path / "weights.safetensors")


def test_weights_without_bounds_free_a_model_that_has_them(bounded):
    load_state(bounded, network().state_dict())
    assert torch.equal(bounded(IMAGES), network()(IMAGES))


def test_waypoints_bring_them_along(bounded, tmp_path):
    start = network()
    keep = Keeper(tmp_path, start, 4)
    keep(4, bounded)
    found = waypoint(tmp_path, 4, 4, start.state_dict())
    model = network()
    load_state(model, found.state)
    assert torch.equal(model(IMAGES), bounded(IMAGES))


def test_no_line_joins_a_model_with_bounds_and_one_without(bounded):
    labels = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="clips its activations"):
        states_of((network(), bounded), IMAGES, labels)
    assert len(states_of((bounded, copy.deepcopy(bounded)), IMAGES, labels)) == 2
