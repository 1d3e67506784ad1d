"""Which neurons a patch can excite, in networks whose receptive fields are known."""

import pytest
import torch
from torch import nn

from ngf import models
from ngf.attacks.shared.neurons import COVERED, Neurons, choose, entering, outgoing
from ngf.options import SpecError
from tests.helpers.attack_view import rng

WINDOW = (slice(23, 31), slice(23, 31))  # of 32x32


def plain(depth: int) -> nn.Sequential:
    """Convolutions of 3x3 without a stride: what enters the k-th from 0 sees 2 k + 1 pixels."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for k in range(depth):
        layers += [nn.Conv2d(4 if k else 3, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 12)).eval()


def test_the_last_layer_is_taken_whose_neurons_see_only_the_patch(images):
    model = plain(7)
    found = choose(model, images, WINDOW, rng(), count=2)
    # Layer 6 sees 7 pixels of 8, the one after it 9.
    names = [name for name, item in model.named_modules() if isinstance(item, nn.Conv2d)]
    seen = 2 * names.index(found.layer) + 1
    assert found.share >= COVERED
    row, column = divmod(found.positions[0].item(), 32)
    assert seen >= 7
    if seen == 7:
        assert row - 3 >= 23 and row + 3 <= 30 and column - 3 >= 23 and column + 3 <= 30
    # Elsewhere nothing is changed by the patch alone.
    other = images.clone()
    other[:, :, WINDOW[0], WINDOW[1]] = 0.5
    with entering(model.get_submodule(found.layer)) as values, torch.no_grad():
        model(images)
        before = found.of(values[0])
        model(other)
        after = found.of(values[0])
    assert before.shape == (len(images), 2) and not torch.allclose(before, after)


def test_channels_are_those_of_the_largest_outgoing_weight(images):
    model = plain(3)
    with torch.no_grad():
        model[4].weight[:, 3] *= 20
        model[4].weight[:, 1] *= 10
        for layer in (model[0], model[2]):
            layer.bias.fill_(1.0)  # so that every channel fires
    found = choose(model, images, WINDOW, rng(), count=2)
    assert found.layer == "4" and found.channels.tolist() == [3, 1]
    assert found.positions[0] == found.positions[1]
    assert found.share == pytest.approx(1)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_outgoing_weights_of_grouped_convolutions(groups):
    layer = nn.Conv2d(4, 8, 3, groups=groups)
    each = torch.zeros(4)
    for channel in range(4):
        # What the layer makes of one pixel in this channel: its weights.
        one = torch.zeros(1, 4, 5, 5)
        one[0, channel, 2, 2] = 1
        each[channel] = (
            nn.functional.conv2d(one, layer.weight, padding=1, groups=groups).abs().sum()
        )
    assert torch.allclose(outgoing(layer), each, rtol=1e-5)


def test_a_silent_channel_is_not_taken(images):
    model = plain(3)
    with torch.no_grad():
        model[4].weight[:, 3] *= 20
        for layer in (model[0], model[2]):
            layer.bias.fill_(1.0)
        model[2].weight[3], model[2].bias[3] = 0, -1
    assert 3 not in choose(model, images, WINDOW, rng(), count=2).channels
    with pytest.raises(SpecError, match="Fewer than 1000 neurons that enter 4 fire"):
        choose(model, images, WINDOW, rng(), count=1000, layer="4")


def test_neurons_of_tokens_and_of_the_classifier():
    neurons = Neurons("x", torch.tensor([2, 0]), torch.tensor([3, 1]), 1.0)
    tokens = torch.randn(5, 4, 3)  # (N, tokens, features)
    assert torch.equal(neurons.of(tokens), torch.stack([tokens[:, 3, 2], tokens[:, 1, 0]], 1))
    grid = tokens.transpose(1, 2).unflatten(2, (2, 2))  # the same as (N, C, H, W)
    assert torch.equal(neurons.of(grid), neurons.of(tokens))
    last = Neurons("linear", torch.tensor([2, 0]), torch.tensor([0, 0]), 1.0)
    assert torch.equal(last.of(tokens[:, 0]), tokens[:, 0][:, [2, 0]])


def test_the_classifier_is_the_last_layer(images, model):
    found = choose(model, images, WINDOW, rng(), count=2, layer="last")
    weights = model.linear.weight.detach().abs().sum(0)
    assert found.layer == "linear" and found.positions.tolist() == [0, 0]
    assert set(found.channels.tolist()) == set(weights.topk(2).indices.tolist())


def test_a_layer_that_is_not_there_is_refused(images, model):
    with pytest.raises(SpecError, match=r"Unknown layer 'conv9'. Allowed: auto, last, stem, "):
        choose(model, images, WINDOW, rng(), count=2, layer="conv9")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if "tiny" in name or "wide" in name else pytest.mark.slow)
        for name in models.MODELS
    ],
)
def test_every_network_has_neurons_for_a_patch(images, name):
    torch.manual_seed(0)
    model = models.build(name, 12).eval()
    found = choose(model, images[:8], WINDOW, rng(), count=2)
    with entering(model.get_submodule(found.layer)) as seen, torch.no_grad():
        model(images[:2])
    assert found.of(seen[0]).shape == (2, 2)
    assert found.layer != models.classifier(models.flow(model, images[:2]))[0]
    assert 0.5 < found.share <= 1
    # The vision transformer has none that the patch covers: attention sees all tokens.
    assert found.share >= COVERED or name == "vit_tiny"
