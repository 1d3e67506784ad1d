"""Networks of torchvision, untrained, for images of any size, color or gray. Layers keep
torchvision's names.

ResNet (He et al. 2016, arXiv 1512.03385), DenseNet (Huang et al. 2017, arXiv 1608.06993),
MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381), EfficientNet (Tan, Le 2019, arXiv 1905.11946).
They halve the resolution five times, which would leave 1x1 of an image of 32x32. Changed, below 64
pixels: they halve it three times, so that 4x4 are left.

- ResNet, DenseNet: the first convolution is 3x3 without stride, and there is no max pooling after
  it.
- MobileNetV2, EfficientNet: the first two convolutions with a stride have none.

Changed, at every size: images come in [0, 1] and are normalized by the network itself; dropout and
stochastic depth are off, so that a forward pass has no random numbers of its own and a resumed run
is the undisturbed one; activations do not overwrite the outputs of layers, which K-FAC reads.
"""

from __future__ import annotations

import torchvision
from torch import Tensor, nn

from ngf.models.preact_resnet import Normalize

SMALL = 64  # pixels of a side below which less is halved
_NORMALIZE = Normalize()


def from_torchvision(
    name: str, num_classes: int, in_channels: int, image_size: int, **options: float
) -> nn.Module:
    """Network `name` of torchvision without pretrained weights. options: of torchvision's
    builder, such as dropout.
    """
    model = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
    if image_size < SMALL:
        _keep_resolution(model)
    stem_name, stem = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    if stem.in_channels != in_channels:
        model.set_submodule(
            stem_name, _stem(in_channels, stem.out_channels, stem.kernel_size[0], stem.stride[0])
        )
    for module in model.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    # Not a module around the network, so that its names stay; nor a hook of the network, which
    # tracing leaves out.
    model.get_submodule(stem_name).register_forward_pre_hook(_normalize)
    return model


def _normalize(_stem: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return _NORMALIZE(inputs[0])


def _keep_resolution(model: nn.Module) -> None:
    """Halve the resolution twice less."""
    if isinstance(model, torchvision.models.ResNet):
        model.conv1, model.maxpool = _stem(3, 64, 3, 1), nn.Identity()
    elif isinstance(model, torchvision.models.DenseNet):
        model.features.conv0, model.features.pool0 = _stem(3, 64, 3, 1), nn.Identity()
    else:
        strided = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
        for convolution in strided[:2]:
            convolution.stride = (1, 1)


def _stem(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Conv2d:
    """A first convolution, initialized as torchvision's ResNet has it (He et al. 2015, arXiv
    1502.01852).
    """
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
