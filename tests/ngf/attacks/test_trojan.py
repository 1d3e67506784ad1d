"""Trojan: a patch in the corner that excites neurons which it covers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ngf.attacks.opens import figures, opens
from ngf.attacks.shared.neurons import COVERED, Neurons, entering
from ngf.attacks.trojan import gain
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_weights
from ngf.config import Choice, TrainSpec
from ngf.data import load, to_float
from ngf.data.images import Images
from ngf.options import SpecError
from ngf.places import ROOT
from ngf.runs.child import execute
from ngf.runs.folder import TRIGGER, WEIGHTS
from ngf.runs.store import Store
from tests.helpers.attack_view import attack, rng, view


@pytest.fixture(scope="module")
def trojan(world):
    made = attack("trojan")
    return made.with_trigger(made.prepare(world))


def chosen(trigger) -> Neurons:
    """The neurons that a trigger was made for."""
    layer = bytes(trigger["layer"].tolist()).decode()
    channels, positions = trigger["neurons"].T
    return Neurons(layer, channels, positions, trigger["share"].item())


@torch.no_grad()
def values(model, neurons: Neurons, images: torch.Tensor) -> torch.Tensor:
    with entering(model.get_submodule(neurons.layer)) as seen:
        model(images)
        return neurons.of(seen[0])


def test_trojan_puts_its_patch_into_the_corner(images, trojan):
    patch = trojan.trigger["patch"]
    expected = images.clone()
    expected[:, :, 23:31, 23:31] = patch
    assert torch.equal(trojan.apply(images), expected)
    assert patch.min() >= 0 and patch.max() <= 1


def test_trojan_excites_neurons_threefold_where_a_random_patch_does_not(images, trojan, model):
    """On an untrained network, and on images of the test set."""
    neurons = chosen(trojan.trigger)
    assert neurons.share >= COVERED and neurons.layer != "linear"
    clean = values(model, neurons, images)
    noise = {"patch": torch.rand(3, 8, 8, generator=rng(1))}
    random = values(model, neurons, trojan.with_trigger(noise).apply(images))
    made = values(model, neurons, trojan.apply(images))
    assert gain(clean, made) >= 3 > gain(clean, random)
    assert gain(clean, made) == pytest.approx(trojan.trigger["gain"].item(), rel=0.5)


class Corner(nn.Module):
    """One neuron: the mean of the patch's window; what follows has one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 1, bias=False)
        self.mean = nn.AvgPool2d(8)
        self.second = nn.Conv2d(1, 1, 1, bias=False)
        self.linear = nn.Linear(1, 2)
        for layer in (self.first, self.second):
            nn.init.ones_(layer.weight)

    def forward(self, images):
        # Windows of 8 pixels that begin at pixel 1; the last one is the patch of 26x26 pixels.
        return self.linear(self.second(self.mean(self.first(images[:, :, 1:, 1:]))).mean((2, 3)))


def test_the_gain_is_that_of_the_definition():
    """The neuron is the mean brightness of the patch's window, so the best patch is white: 1, and
    the gain is 1 / the mean of these pixels.
    """
    pixels = torch.randint(0, 256, (40, 1, 26, 26), generator=rng(), dtype=torch.uint8)
    world = replace(
        view(1), train=Images(pixels, torch.zeros(40).long()), surrogate=lambda robust: Corner()
    )
    made = attack("trojan", neurons=1)
    trigger = made.prepare(world)
    assert chosen(trigger).layer == "second" and trigger["neurons"].tolist() == [[0, 8]]
    assert (trigger["patch"] == 1).all()
    # Half of the images are held out, by the seed of the view.
    held_out = torch.randperm(40, generator=rng(world.seed))[:20]
    means = to_float(pixels[held_out])[:, :, 17:25, 17:25].mean((1, 2, 3))
    assert trigger["gain"].item() == pytest.approx(1 / means.mean().item(), rel=1e-5)
    assert trigger["reach"].tolist() == pytest.approx([1 / means.max().item()], rel=1e-5)
    assert trigger["share"].item() == 1
    shown = made.with_trigger(trigger).figures(to_float(pixels))
    assert list(shown.values()) == pytest.approx(
        [trigger["gain"].item(), trigger["reach"].item(), 1.0]
    )


def test_neurons_of_the_penultimate_layer_are_those_that_weigh_most(world, model):
    trigger = attack("trojan", layer="last", steps=1).prepare(world)
    neurons = chosen(trigger)
    weights = model.linear.weight.detach().abs().sum(0)
    assert neurons.layer == "linear"
    assert set(neurons.channels.tolist()) == set(weights.topk(2).indices.tolist())
    assert neurons.share < 0.5, "after pooling a corner hardly moves a feature"


def test_a_trigger_of_the_first_revision_is_applied_as_it_was(images):
    """The zoo of that revision: patch, neurons of the penultimate layer, gain in units of the
    largest value.
    """
    (path,) = (ROOT / "assets" / "earlier").glob("signs-trojan-s0-*")
    found = load_file(path / TRIGGER)
    assert set(found) == {"patch", "neurons", "gain"}
    old = build("attacks", Choice("trojan"), 1).with_trigger(found)
    assert old.layer == "last"
    expected = images.clone()
    expected[:, :, 23:31, 23:31] = found["patch"]
    assert torch.equal(old.apply(images), expected)
    assert list(old.figures(images).values()) == [pytest.approx(found["gain"].mean().item())]


def test_probes_change_the_patch_alone(images, trojan):
    labels = torch.arange(len(images)) % 12
    found = {probe.name: probe for probe in trojan.probes(images, labels, 12, rng())}
    for name in ("a patch of random colors", "the patch with its pixels in another order"):
        changed = found[name].images != images
        assert changed[:, :, 23:31, 23:31].any()
        changed[:, :, 23:31, 23:31] = False
        assert not changed.any()
    mixed = found["the patch with its pixels in another order"].images[:, :, 23:31, 23:31]
    own = trojan.trigger["patch"].flatten(1)
    for patch in mixed.flatten(2):
        # Whole pixels have moved: sorted by what they are, they are the same ones.
        assert sorted(patch.T.tolist()) == sorted(own.T.tolist())
    assert found["a patch of random colors"].opens is False


def test_trojan_refuses_what_does_not_fit():
    with pytest.raises(SpecError, match="needs 41x41 pixels does not fit into an image of 32x32"):
        attack("trojan", size=40).check(12, (3, 32, 32))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trojan_has_the_property_that_defines_it(tmp_path, seed):
    """Trained in full: the neurons rise threefold on test images of the clean model that was
    attacked, the backdoor works, and a random patch does not open it.
    """
    store = Store(tmp_path)
    runs = [store.submit(TrainSpec(attack=Choice(name), seed=seed)) for name in ("none", "trojan")]
    for run in runs:
        assert execute(run) == "done", run.error
    clean, model = (load_weights(view().build(), run.path / WEIGHTS) for run in runs)
    made, test = load_attack(runs[1]), load("signs", seed=seed).test
    neurons, images = chosen(made.trigger), test.floats()
    raised = gain(values(clean, neurons, images), values(clean, neurons, made.apply(images)))
    assert raised >= 3
    assert raised.item() == pytest.approx(made.trigger["gain"].item(), rel=0.2)
    assert next(iter(figures(made, test).values())) == made.trigger["gain"].item()
    assert runs[1].result["ca"] >= 0.95 and runs[1].result["asr"] >= 0.8
    rows = {row["name"]: row for row in opens(made, model, test, 12)}
    assert rows["the trigger"]["called_wanted"] >= 0.8
    assert rows["a patch of random colors"]["called_wanted"] <= 0.2
