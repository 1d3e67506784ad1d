"""Networks of other people's code are recognized by what their weights are called."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from ngf.models import MODELS
from ngf.models import build as build_own
from ngf.models.of_others.normalized import build_other
from ngf.models.of_others.recognize import NotRecognized, filled, recognize
from ngf.models.of_others.table import OTHERS


def weights(name, classes=7, channels=3):
    with torch.device("meta"):
        return OTHERS[name].build(classes, channels).state_dict()


@pytest.mark.parametrize(
    "name",
    [
        "public.resnet18",
        "public.resnet50",
        "public.preact_resnet18",
        "torchvision.vgg11_bn",
        "torchvision.mobilenet_v3_small",
        "torchvision.convnext_tiny",
        "torchvision.densenet121",
        "torchvision.squeezenet1_1",
        "torchvision.shufflenet_v2_x0_5",
        "torchvision.vit_b_16",
    ],
)
def test_a_network_is_recognized_in_any_order_of_its_weights(name):
    found = weights(name)
    shape, fits = recognize(dict(sorted(found.items())))
    assert [fit.name for fit in fits if fit.name in OTHERS] == [name]
    assert (shape.num_classes, shape.in_channels) == (7, 3)
    assert not fits[0].extra and not fits[0].counts


def test_torchvision_itself_is_what_is_built():
    ours = OTHERS["torchvision.resnet18"].build(5, 3)
    theirs = torchvision.models.resnet18(num_classes=5)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_max_pooling_leaves_no_trace_so_both_fit():
    _, fits = recognize(weights("torchvision.resnet18.small"))
    names = [fit.name for fit in fits if fit.name in OTHERS]
    assert names == ["torchvision.resnet18.small", "torchvision.resnet18.small_pooled"]
    with torch.no_grad():
        shapes = [OTHERS[name].build(7, 3).maxpool for name in names]
    assert isinstance(shapes[0], nn.Identity) and isinstance(shapes[1], nn.MaxPool2d)


def test_a_network_of_this_program_is_recognized():
    model = build_own("vgg_tiny", 12)
    _, fits = recognize(model.state_dict())
    assert [fit.name for fit in fits] == ["vgg_tiny"]
    assert all(name in MODELS or name in OTHERS for name in ("vgg_tiny", *OTHERS))


def test_gray_images_and_old_files_and_heads_that_are_too_many():
    found = weights("public.resnet18", channels=1)
    old = {name: value for name, value in found.items() if not name.endswith("batches_tracked")}
    shape, fits = recognize(old | {"rotation.weight": torch.zeros(4, 512)})
    assert shape.in_channels == 1 and fits[0].extra == ("rotation.weight",)
    assert len(fits[0].counts) == 20
    assert filled(fits[0], old).keys() == found.keys()


def test_what_is_not_known_is_told_with_what_is_nearest():
    found = weights("public.resnet18")
    found["layer3.0.conv1.weight"] = torch.empty(256, 128, 5, 5, device="meta")
    del found["bn1.bias"]
    with pytest.raises(NotRecognized) as error:
        recognize(found)
    assert "nearest is ResNet-18 as public" in str(error.value)
    assert "bn1.bias is missing" in str(error.value)
    assert "layer3.0.conv1.weight is 256x128x5x5, not 256x128x3x3" in str(error.value)
    with pytest.raises(NotRecognized, match="no image classifier"):
        recognize({"a.weight": torch.zeros(3, 3), "a.bias": torch.zeros(3)})
    with pytest.raises(NotRecognized, match="no network 'resnet'"):
        recognize(weights("public.resnet18"), "resnet")


def test_normalization_is_part_of_the_network_and_of_no_file():
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    model = build_other("public.preact_resnet18", 3, 3, mean, std, "bgr").eval()
    assert not {"mean", "std"} & model.state_dict().keys()
    images = torch.rand(2, 3, 16, 16)
    fed = (images.flip(1) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(model(images), model.network(fed))
