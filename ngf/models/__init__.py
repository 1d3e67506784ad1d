"""Networks, by one explicit table. Each takes images in [0, 1] and normalizes them itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from ngf.config import SpecError
from ngf.models.preact_resnet import PlainConvNet, PreActResNet


@dataclass(frozen=True)
class ModelEntry:
    title: str
    build: Callable[[int, int], nn.Module]  # (num_classes, in_channels) -> module


MODELS: dict[str, ModelEntry] = {
    "preact_resnet_tiny": ModelEntry(
        "Pre-activation ResNet, tiny (78k parameters)",
        lambda num_classes, in_channels: PreActResNet(
            num_classes, in_channels, widths=(16, 32, 64), num_blocks=(1, 1, 1), stem_stride=2)),
    "preact_resnet_tiny4": ModelEntry(
        "Pre-activation ResNet, four narrow stages (124k parameters)",
        lambda num_classes, in_channels: PreActResNet(
            num_classes, in_channels, widths=(16, 32, 48, 64), num_blocks=(1, 1, 1, 1), stem_stride=2)),
    "vgg_tiny": ModelEntry(
        "VGG-like, six convolutions (73k parameters)",
        lambda num_classes, in_channels: PlainConvNet(num_classes, in_channels)),
    "preact_resnet18": ModelEntry(
        "Pre-activation ResNet-18 (11 million parameters)",
        lambda num_classes, in_channels: PreActResNet(
            num_classes, in_channels, widths=(64, 128, 256, 512), num_blocks=(2, 2, 2, 2), stem_stride=1)),
}


def build(name: str, num_classes: int, in_channels: int = 3) -> nn.Module:
    """A freshly initialized network. Raises SpecError with the allowed names."""
    if name not in MODELS:
        raise SpecError(f"Unknown model {name!r}. Allowed: {', '.join(MODELS)}.")
    if num_classes < 2 or in_channels < 1:
        raise SpecError(f"A classifier needs 2 classes or more and 1 channel or more, got {num_classes} "
                        f"and {in_channels}.")
    return MODELS[name].build(num_classes, in_channels)


def tunable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every Linear and Conv2d by its name in the model, in the order of the forward pass."""
    return {name: module for name, module in model.named_modules()
            if isinstance(module, (nn.Linear, nn.Conv2d))}


def last_layer(model: nn.Module) -> str:
    """Name of the classifier: the last Linear layer. Raises SpecError when there is none."""
    names = [name for name, module in tunable_layers(model).items() if isinstance(module, nn.Linear)]
    if not names:
        raise SpecError("This model has no linear layer; choose a convolution by name.")
    return names[-1]


def describe_models() -> dict[str, dict]:
    """For the catalogue: title, number of parameters, and the layers that can be tuned."""
    out = {}
    for name, entry in MODELS.items():
        model = entry.build(10, 3)
        out[name] = {"title": entry.title,
                     "num_parameters": sum(p.numel() for p in model.parameters()),
                     "layers": list(tunable_layers(model))}
    return out
