"""Networks of timm, with a stand-in for the package where it is not installed."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from ngf.models import for_data
from ngf.models.of_others import timm_networks
from ngf.models.of_others.recognize import NotRecognized, build, recognize, title
from ngf.models.of_others.table import OTHERS
from ngf.models.of_others.timm_networks import NoTimm, called_like, digest


class Small(nn.Module):
    """The stand-in's network: names that only it has."""

    def __init__(self, num_classes: int, in_chans: int = 3, width: int = 8) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(in_chans, width, 3)
        self.act = nn.ReLU(inplace=True)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.act(self.conv_stem(images)).mean((2, 3)))


SMALL = {"small": 8, "small_wide": 16}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """timm as far as it is used here; returns how fused attention was set."""
    fused: list[bool] = []
    timm = ModuleType("timm")
    timm.__spec__ = ModuleSpec("timm", None)
    timm.__version__ = "1.0.99"
    timm.is_model = SMALL.__contains__
    timm.create_model = lambda name, pretrained, num_classes, **more: Small(
        num_classes, width=SMALL[name], **more
    )
    config = SimpleNamespace(
        classifier="classifier", first_conv="conv_stem", input_size=(3, 48, 48), num_classes=1000
    )
    timm.models = SimpleNamespace(get_pretrained_cfg=lambda name, allow_unregistered: config)
    timm.layers = SimpleNamespace(set_fused_attn=fused.append)
    monkeypatch.setitem(sys.modules, "timm", timm)
    known = {digest(Small(2).state_dict()): list(SMALL)}
    monkeypatch.setattr(timm_networks, "_digests", lambda: known)
    return fused


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_networks, "is_installed", lambda: False)


def test_a_network_of_timm_is_known_by_its_names_and_shapes(stand_in: list[bool]) -> None:
    weights = Small(5, in_chans=1, width=16).state_dict()
    shape, fits = recognize(dict(sorted(weights.items())))
    assert [fit.name for fit in fits] == ["timm.small_wide"]
    assert (shape.num_classes, shape.in_channels, shape.head) == (5, 1, "classifier")
    assert fits[0].usual_side == 48 and fits[0].title == "small_wide of timm"
    network = build("timm.small_wide", shape, 48)
    network.load_state_dict(weights, strict=True)
    assert not network.act.inplace and set(stand_in) == {False}
    with pytest.raises(NotRecognized, match=r"nearest is small of timm; .* 16x1x3x3, not 8x1x3x3"):
        recognize(weights, "timm.small")
    with pytest.raises(NoTimm, match="timm 1.0.99.* has no network 'large'"):
        recognize(weights, "timm.large")


def test_what_the_file_calls_its_network_counts_before_others(stand_in: list[bool]) -> None:
    weights = Small(5, width=16).state_dict()
    assert recognize(weights, said="small_wide.of_somebody")[1][0].name == "timm.small_wide"
    assert recognize(weights, said="small")[1][0].name == "timm.small_wide", "it says it wrongly"
    assert recognize(weights, said="my network")[1][0].name == "timm.small_wide"


def test_an_import_loads_again_and_says_what_is_missing(
    stand_in: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {
        "classes": ["a", "b"],
        "shape": [3, 48, 48],
        "normalized": {"mean": [0.5] * 3, "std": [0.5] * 3, "order": "rgb"},
    }
    assert for_data("timm.small", facts)(torch.rand(2, 3, 48, 48)).shape == (2, 2)
    monkeypatch.setattr(timm_networks, "is_installed", lambda: False)
    with pytest.raises(NoTimm) as error:
        for_data("timm.small", facts)
    assert str(error.value) == (
        "timm.small is a network of timm, which is not installed. Install it: "
        'pip install "timm>=1.0,<2".'
    )


def test_without_timm_its_names_are_told_with_the_command(absent: None) -> None:
    """The names of a squeeze-and-excitation ResNet: a ResNet with more in it."""
    with torch.device("meta"):
        found = OTHERS["torchvision.resnet18"].build(7, 3).state_dict()
    for layer in range(1, 5):
        for block in range(2):
            for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
                found[f"layer{layer}.{block}.se.{name}"] = torch.empty(1, device="meta")
    assert "timm.seresnet18" in called_like(found)
    with pytest.raises(NoTimm, match=r"names of timm's .*seresnet18.*pip install \"timm>=1.0,<2\""):
        recognize(found)
    one = OTHERS["torchvision.resnet18"].build(7, 3).state_dict()
    assert recognize(one, said="resnet18.a1_in1k")[1][0].name == "torchvision.resnet18"
    with pytest.raises(NoTimm, match="not installed"):
        title("timm.seresnet18")


REAL = ["resnet26d", "mobilenetv3_small_050", "convnext_atto", "vit_tiny_patch16_224"]


@pytest.mark.parametrize("name", REAL)
def test_the_real_package_has_the_names_that_ship(name: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is an extra: pip install timm")
    with torch.device("meta"):
        weights = timm.create_model(name, num_classes=7).state_dict()
    shape, fits = recognize(weights)
    assert f"timm.{name}" in [fit.name for fit in fits] and shape.num_classes == 7
