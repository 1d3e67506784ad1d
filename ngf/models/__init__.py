"""Networks, by one explicit table. Each takes images in [0, 1] and normalizes them itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ngf.models.from_torchvision import from_torchvision
from ngf.models.layers import (
    Flow,
    Layer,
    Tuned,
    classifier,
    flow,
    kind_of,
    no_last_layer,
    tunable_layers,
)
from ngf.models.of_others.normalized import build_other
from ngf.models.pairs import norms_behind_convolutions
from ngf.models.preact_resnet import PlainConvNet, PreActResNet
from ngf.models.vgg import VGG19
from ngf.models.vit import ViT
from ngf.options import SpecError

__all__ = [
    "MODELS",
    "SMALLEST",
    "Flow",
    "Layer",
    "ModelEntry",
    "Tuned",
    "build",
    "classifier",
    "describe_models",
    "flow",
    "for_data",
    "kind_of",
    "no_last_layer",
    "norms_behind_convolutions",
    "tunable_layers",
]
SMALLEST = 8  # pixels of a side: DenseNet halves the resolution three times, rounding down


@dataclass(frozen=True)
class ModelEntry:
    """features: the module whose output enters the classifier, after ReLU and pooling where it has
    them; small: what differs for small images.
    """

    title: str
    build: Callable[
        [int, int, int], nn.Module
    ]  # (num_classes, in_channels, side of the images in pixels) -> module
    features: str
    small: str = ""


def _preact(num_classes: int, in_channels: int, image_size: int, **options: Any) -> nn.Module:
    """A PreActResNet; it is the same for every image size."""
    return PreActResNet(num_classes, in_channels, **options)


_STEM = (
    "Below 64 pixels the first convolution is 3x3 without stride, and there is no max pooling "
    "after it."
)
_STRIDES = "Below 64 pixels the first two convolutions with a stride have none."

MODELS: dict[str, ModelEntry] = {
    "preact_resnet_tiny": ModelEntry(
        "Pre-activation ResNet, tiny (78k parameters)",
        partial(_preact, widths=(16, 32, 64), num_blocks=(1, 1, 1), stem_stride=2),
        "bn",
    ),
    "preact_resnet_tiny4": ModelEntry(
        "Pre-activation ResNet, four narrow stages (124k parameters)",
        partial(_preact, widths=(16, 32, 48, 64), num_blocks=(1, 1, 1, 1), stem_stride=2),
        "bn",
    ),
    "vgg_tiny": ModelEntry(
        "VGG-like, six convolutions (73k parameters)",
        lambda num_classes, in_channels, image_size: PlainConvNet(num_classes, in_channels),
        "bn6",
    ),
    "preact_resnet18": ModelEntry(
        "Pre-activation ResNet-18 (11 million parameters)",
        partial(_preact, widths=(64, 128, 256, 512), num_blocks=(2, 2, 2, 2), stem_stride=1),
        "bn",
    ),
    "resnet18": ModelEntry(
        "ResNet-18 (11 million parameters)", partial(from_torchvision, "resnet18"), "layer4", _STEM
    ),
    "resnet34": ModelEntry(
        "ResNet-34 (21 million parameters)", partial(from_torchvision, "resnet34"), "layer4", _STEM
    ),
    "resnet50": ModelEntry(
        "ResNet-50 (24 million parameters)", partial(from_torchvision, "resnet50"), "layer4", _STEM
    ),
    # Zagoruyko, Komodakis 2016, arXiv 1605.07146: depth 16, widening factor 1
    "wide_resnet_16_1": ModelEntry(
        "Wide ResNet 16-1 (175k parameters)",
        partial(_preact, widths=(16, 32, 64), num_blocks=(2, 2, 2), stem_stride=1),
        "bn",
    ),
    "vgg19_bn": ModelEntry(
        "VGG-19 with BatchNorm (20 million parameters)",
        VGG19,
        "bn16",
        "Below 32 pixels the last max poolings are left out.",
    ),
    "mobilenet_v2": ModelEntry(
        "MobileNetV2 (2.2 million parameters)",
        partial(from_torchvision, "mobilenet_v2", dropout=0.0),
        "features",
        _STRIDES,
    ),
    "densenet121": ModelEntry(
        "DenseNet-121 (7 million parameters)",
        partial(from_torchvision, "densenet121"),
        "features.norm5",
        _STEM,
    ),
    "efficientnet_b0": ModelEntry(
        "EfficientNet-B0 (4 million parameters)",
        partial(from_torchvision, "efficientnet_b0", dropout=0.0, stochastic_depth_prob=0.0),
        "features",
        _STRIDES,
    ),
    "vit_tiny": ModelEntry(
        "Vision transformer, four blocks (0.8 million parameters)",
        ViT,
        "norm",
        "Patches have 4x4 pixels below 64 pixels, 8x8 below 128, and 16x16 from there on.",
    ),
}


def build(name: str, num_classes: int, in_channels: int = 3, image_size: int = 32) -> nn.Module:
    """A freshly initialized network for images of `image_size` pixels a side.

    Layers have the same names at every size. Raises SpecError with the allowed names.
    """
    if name not in MODELS:
        raise SpecError(f"Unknown model {name!r}. Allowed: {', '.join(MODELS)}.")
    if num_classes < 2 or in_channels < 1:
        raise SpecError(
            f"A classifier needs 2 classes or more and 1 channel or more, got {num_classes} "
            f"and {in_channels}."
        )
    if image_size < SMALLEST:
        raise SpecError(
            f"Images of {image_size} pixels are too small: a network needs {SMALLEST} or more."
        )
    return MODELS[name].build(num_classes, in_channels, image_size)


def for_data(name: str, facts: Mapping[str, Any]) -> nn.Module:
    """`build` for images with these `facts` of a data set; a network of other people's code where
    they say how it wants to see the images.
    """
    if how := facts.get("normalized"):
        return build_other(name, len(facts["classes"]), facts["shape"][0], **how)
    return build(name, len(facts["classes"]), *facts["shape"][:2])


def _with_parameters(model: nn.Module) -> list[str]:
    """Names of the modules that have parameters of their own, in the model's order."""
    names = (name.rpartition(".")[0] for name, _ in model.named_parameters())
    return list(dict.fromkeys(filter(None, names)))


def describe_models() -> dict[str, dict[str, Any]]:
    """For the catalogue, with 10 classes and color images of 32x32: title, number of parameters,
    the layers that can be tuned and what each is, all modules with parameters, the classifier,
    number and name of the features that enter it, and what differs for small images.
    """
    out = {}
    for name, entry in MODELS.items():
        with torch.device("meta"):  # shapes without numbers
            model = entry.build(10, 3, 32)
            last, linear = classifier(flow(model, torch.zeros(2, 3, 32, 32)))
        layers = tunable_layers(model)
        out[name] = {
            "title": entry.title,
            "num_parameters": sum(p.numel() for p in model.parameters()),
            "layers": list(layers),
            "modules": _with_parameters(model),
            "kinds": [kind_of(layer) for layer in layers.values()],
            "classifier": last,
            "num_features": linear.in_features,
            "features": entry.features,
            "small": entry.small,
        }
    return out
