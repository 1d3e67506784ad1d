"""Networks that weights from elsewhere may be of, by one table.

Names: `torchvision.resnet18` is torchvision's own; `.small` has a first convolution of 3x3 without
stride and no max pooling, `.small_pooled` the convolution alone: both are common for 32x32 pixels,
and their weights look the same. `public.*` are those of `small_resnets`. They take images that are
normalized already. `timm.*`, see `timm_networks`, are not in the table but found by `other`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torchvision
from torch import nn

from ngf.models.of_others import timm_networks
from ngf.models.of_others.known import Known, out_of_place
from ngf.models.of_others.small_resnets import small_preact_resnet, small_resnet


def _torchvision(name: str, num_classes: int, in_channels: int) -> nn.Module:
    # its own defaults: dropout and stochastic depth do nothing in eval mode
    model = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    _, stem = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    if stem.in_channels != in_channels:
        _replace_stem(model, in_channels, stem.kernel_size[0], stem.stride[0])
    return out_of_place(model)


def _replace_stem(model: nn.Module, in_channels: int, kernel: int, stride: int) -> None:
    name, stem = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        in_channels,
        stem.out_channels,
        kernel,
        stride,
        padding=kernel // 2,
        bias=stem.bias is not None,
    )
    model.set_submodule(name, new)


def _small(name: str, pooled: bool, num_classes: int, in_channels: int) -> nn.Module:
    """A ResNet or DenseNet of torchvision whose first convolution is 3x3 without a stride."""
    model = _torchvision(name, num_classes, in_channels)
    _replace_stem(model, in_channels, 3, 1)
    if not pooled:
        pool = "features.pool0" if name.startswith("densenet") else "maxpool"
        model.set_submodule(pool, nn.Identity())
    return model


# family -> name of its first weight, members
_FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ResNet": (
        "conv1.weight",
        (
            "resnet18",
            "resnet34",
            "resnet50",
            "resnet101",
            "resnet152",
            "resnext50_32x4d",
            "resnext101_32x8d",
            "wide_resnet50_2",
            "wide_resnet101_2",
        ),
    ),
    "ShuffleNet": ("conv1.0.weight", ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0")),
    "VGG": (
        "features.0.weight",
        (
            "vgg11",
            "vgg11_bn",
            "vgg13",
            "vgg13_bn",
            "vgg16",
            "vgg16_bn",
            "vgg19",
            "vgg19_bn",
            "alexnet",
            "squeezenet1_0",
            "squeezenet1_1",
        ),
    ),
    "MobileNet, EfficientNet, ConvNeXt, Swin": (
        "features.0.0.weight",
        (
            "mobilenet_v2",
            "mobilenet_v3_small",
            "mobilenet_v3_large",
            "efficientnet_b0",
            "efficientnet_b1",
            "efficientnet_b2",
            "efficientnet_v2_s",
            "convnext_tiny",
            "convnext_small",
            "swin_t",
            "swin_s",
        ),
    ),
    "DenseNet": (
        "features.conv0.weight",
        ("densenet121", "densenet161", "densenet169", "densenet201"),
    ),
    "MNASNet": ("layers.0.weight", ("mnasnet0_5", "mnasnet1_0")),
    "ViT": ("class_token", ("vit_b_16", "vit_b_32", "vit_l_16")),
}


def _table() -> dict[str, Known]:
    known = {}
    for depth in (18, 34, 50):
        known[f"public.resnet{depth}"] = Known(
            f"ResNet-{depth} as public CIFAR-10 code has it",
            partial(small_resnet, depth),
            "conv1.weight",
            32,
        )
    for depth in (18, 34):
        known[f"public.preact_resnet{depth}"] = Known(
            f"pre-activation ResNet-{depth} without a last BatchNorm, as BackdoorBench has it",
            partial(small_preact_resnet, depth),
            "conv1.weight",
            32,
        )
    for first, members in _FAMILIES.values():
        for name in members:
            known[f"torchvision.{name}"] = Known(
                f"{name} of torchvision", partial(_torchvision, name), first
            )
            if name.startswith(("resnet", "resnext", "wide", "densenet")):
                for suffix, pooled in (("small", False), ("small_pooled", True)):
                    words = "with" if pooled else "without"
                    known[f"torchvision.{name}.{suffix}"] = Known(
                        f"{name} of torchvision, its first convolution 3x3 without a stride, "
                        f"{words} max pooling",
                        partial(_small, name, pooled),
                        first,
                        32,
                    )
    return known


OTHERS: Mapping[str, Known] = _table()


def is_other(name: str) -> bool:
    """Whether a network of this name is somebody else's."""
    return name in OTHERS or name.startswith(timm_networks.PREFIX)


def other(name: str) -> Known:
    """A network of the table, or of timm. Raises NoTimm where that is not installed."""
    return timm_networks.known(name) if name.startswith(timm_networks.PREFIX) else OTHERS[name]
