"""What a network gives with its first modules handed out, against computing all of it again."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet18

from ngf import models
from ngf.defenses.fine_tuning.replay import Prefix


class Twice(nn.Module):
    """One module is used before and after the tuned layer, and outputs are written over."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.tuned = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 12)

    def forward(self, images):
        x = F.relu(self.norm(self.stem(images)), inplace=True)
        x = x.clone()
        x += 0.5
        y = self.norm(self.tuned(x))
        y += x
        return self.head(y.mean((2, 3)))


NETWORKS = {
    "preact_resnet_tiny": (
        lambda: models.build("preact_resnet_tiny", 12),
        "stage2.block1.conv2",
    ),
    "twice": (Twice, "tuned"),
    "in place": (lambda: resnet18(num_classes=12), "layer3.1.conv1"),
}


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_replay_is_the_whole_pass(name, mode):
    build, layer = NETWORKS[name]
    torch.manual_seed(0)
    model = build().train(mode == "train").requires_grad_(False)
    tuned = model.get_submodule(layer).requires_grad_(True)
    images = torch.rand(4, 3, 32, 32)
    prefix, calls = Prefix(model), []
    with prefix.recorded():
        first = model(images)
    with torch.no_grad(), prefix.replayed():
        assert torch.equal(model(images), first)
        tuned.weight += 0.1 * torch.randn_like(tuned.weight)
        replays = [model(images)]
    stem = model.get_submodule("conv1" if name == "in place" else "stem")
    stem.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        whole = model(images)
        with prefix.replayed():
            replays.append(model(images))
        assert torch.equal(model(images), whole)
    for logits in replays:
        assert torch.equal(logits, whole)
    assert not torch.equal(whole, first)
    assert len(calls) == 3
    assert "forward" not in stem.__dict__


def test_what_runs_before_the_tuned_layer_is_not_computed_again():
    model = models.build("preact_resnet_tiny", 12).requires_grad_(False).eval()
    model.get_submodule("stage2.block1.conv2").requires_grad_(True)
    convolutions = [name for name, module in model.named_modules() if type(module) is nn.Conv2d]
    prefix, images, computed = Prefix(model), torch.rand(2, 3, 32, 32), []
    with prefix.recorded():
        model(images)
    for name in convolutions:
        layer = model.get_submodule(name)
        layer._conv_forward = lambda *args, n=name, own=layer._conv_forward: (
            computed.append(n) or own(*args)
        )
    with torch.no_grad(), prefix.replayed():
        model(images)
    assert computed == [
        "stage2.block1.conv2",
        "stage3.block1.shortcut",
        "stage3.block1.conv1",
        "stage3.block1.conv2",
    ]
