"""Every network of the table: what is said of it, what it computes, and the way from training
to a measurement.
"""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from analysis.curvature.last_layer import LastLayer
from analysis.landscape.partial_forward import PartialForward
from analysis.measurements.fisher_trace import FisherTrace
from analysis.measurements.hessian_spectrum import HessianSpectrum
from analysis.measurements.loss_slice import LossSlice
from ngf import models
from ngf.config import Training
from ngf.data import Images
from ngf.defenses.contract import Problem, Step
from ngf.defenses.fine_tuning.events import Chosen
from ngf.defenses.fine_tuning.layer_choice import fisher_traces
from ngf.defenses.fine_tuning.loop import gradient_matrices, parameters, scope
from ngf.defenses.ngf import NGF
from ngf.models.from_torchvision import SMALL
from ngf.models.vit import Block
from ngf.optim.kfac import (
    Tap,
    image_gradients,
    input_rows,
    output_rows,
    sample_labels,
    sampled_output_gradients,
)
from ngf.options import SpecError
from ngf.training.loop import Trainer

CLASSES, SIDE = 5, 16
# A layer beside the classifier, of every kind that there is; the first one of other networks.
LAYER = {
    "preact_resnet_tiny": "stage2.block1.shortcut",
    "preact_resnet_tiny4": "stem",
    "vgg_tiny": "conv2",
    "preact_resnet18": "stem",
    "resnet18": "layer1.0.conv1",
    "resnet34": "layer2.0.downsample.0",
    "resnet50": "layer1.0.conv2",
    "wide_resnet_16_1": "stage3.block2.conv2",
    "vgg19_bn": "conv2",
    "mobilenet_v2": "features.2.conv.1.0",
    "densenet121": "features.denseblock1.denselayer1.conv2",
    "efficientnet_b0": "features.2.0.block.1.0",
    "vit_tiny": "block2.q",
}
TORCHVISION = ("resnet18", "resnet34", "resnet50", "mobilenet_v2", "densenet121", "efficientnet_b0")
every_model = pytest.mark.parametrize("name", models.MODELS)

pytestmark = pytest.mark.usefixtures("one_thread")


def meta(name: str, channels: int = 3, side: int = 32) -> nn.Module:
    """Shapes without numbers."""
    with torch.device("meta"):
        return models.build(name, CLASSES, channels, side).eval()


def flow_of(model: nn.Module, side: int = 32) -> models.Flow:
    where = next(model.parameters()).device
    return models.flow(model, torch.rand(2, 3, side, side, device=where))


def last_layer(model: nn.Module, side: int) -> str:
    return models.classifier(flow_of(model, side))[0]


def layer_of(name: str) -> str:
    return LAYER.get(name) or next(iter(models.tunable_layers(meta(name))))


def random_images(count: int, seed: int = 0) -> Images:
    rng = torch.Generator().manual_seed(seed)
    return Images(
        torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=rng, dtype=torch.uint8),
        torch.arange(count) % CLASSES,
    )


def fresh(name: str) -> nn.Module:
    torch.manual_seed(0)
    return models.build(name, CLASSES, 3, SIDE)


@pytest.fixture(scope="module")
def described() -> dict[str, dict]:
    return models.describe_models()


@every_model
def test_training_ngf_and_measurements_work(name):
    """Two steps of training, two of NGF at the classifier and at another layer, then curvature."""
    data, clean = random_images(16), random_images(8, seed=1)
    model = fresh(name)
    trainer = Trainer(model, data, Training(num_images=16, epochs=1, batch_size=8, lr=0.01), seed=0)
    assert [epoch.epoch for epoch in trainer] == [1]
    problem = Problem(model, clean, clean, seed=0)
    for layer in ("last", layer_of(name)):
        purification = NGF(
            layer=layer, steps=2, batch_size=8, batch_norm="eval", regularizer=0.1
        ).purify(problem)
        _, chosen, *steps = purification
        assert isinstance(chosen, Chosen)
        assert [step.step for step in steps if isinstance(step, Step)] == [1, 2]
        assert all(math.isfinite(step.loss) for step in steps)
        assert steps[-1].distance > 0
        start, wanted = model.state_dict(), last_layer(model, SIDE) if layer == "last" else layer
        moved = {
            key
            for key, value in purification.model.state_dict().items()
            if not torch.equal(value, start[key])
        }
        assert moved
        assert moved <= {f"{wanted}.weight", f"{wanted}.bias"}
    model = purification.model
    images, labels = clean.floats()[:2], clean.labels[:2]
    few = f"{layer_of(name)},{last_layer(model, SIDE)}"
    size = sum(p.numel() for p in model.parameters())
    layers = (
        "" if size < 5e6 else few
    )  # the early layer's second derivatives go through all that follow, too
    *_, spectrum = HessianSpectrum(steps=2, probes=2, vectors=1, layers=layers).measure(
        model, images, labels, seed=0
    )
    assert spectrum.values["lambda_max"] >= spectrum.values["lambda_min"]
    assert spectrum.values["num_parameters"] == size or layers
    *_, trace = FisherTrace(draws=2, layers=few).measure(model, images, labels, seed=0)
    assert trace.values["fisher_trace"] > trace.values["last_layer_trace"] * 0.5
    assert math.isfinite(trace.values["empirical_trace"])
    *_, line = LossSlice(directions=1, points=3, layers=few).measure(model, images, labels, seed=0)
    assert line.done
    assert np.isfinite(line.arrays["loss"]).all()


@every_model
def test_what_is_said_of_it_is_true(name, described):
    about = described[name]
    torch.manual_seed(0)
    model = models.build(name, 10).eval()
    assert about["num_parameters"] == sum(p.numel() for p in model.parameters())
    assert about["layers"] == list(models.tunable_layers(model))
    assert about["classifier"] == last_layer(model, 32) == about["layers"][-1]
    features = []
    model.get_submodule(about["features"]).register_forward_hook(
        lambda module, inputs, output: features.append(output)
    )
    images = torch.rand(2, 3, 32, 32)
    last = LastLayer.of(model, images)
    assert last.name == about["classifier"]
    (out,) = features
    assert last.features.shape == (2, about["num_features"])
    if out.ndim == 2:
        entering = [out]
    elif out.ndim == 3:  # tokens
        entering = [out.mean(1)]
    else:
        entering = [x.mean((2, 3)) for x in (out, out.relu(), F.max_pool2d(out.relu(), 2))]
    assert any(torch.allclose(last.features, x.double(), atol=1e-5) for x in entering)
    # A title that tells a number of parameters tells the right one: two digits, or one below ten
    # million.
    shown = about["title"].rpartition("(")[2].split(" ")
    if shown[0].rstrip("k")[0].isdigit():
        unit = 1e3 if shown[0].endswith("k") else 1e6
        assert float(shown[0].rstrip("k")) == pytest.approx(
            about["num_parameters"] / unit, rel=0.05, abs=0.05
        )


@every_model
@pytest.mark.parametrize(
    ("channels", "side"), [(3, 8), (1, 28), (3, 32), (3, 43), (3, 64), (3, 224)]
)
def test_images_of_every_size_and_color(name, channels, side):
    model, usual = meta(name, channels, side), meta(name)
    assert model(torch.rand(2, channels, side, side, device="meta")).shape == (2, CLASSES)
    assert list(models.tunable_layers(model)) == list(models.tunable_layers(usual)), (
        "layers keep their names"
    )


@every_model
def test_a_forward_pass_has_no_random_numbers_of_its_own(name):
    model = fresh(name).train()
    images = random_images(4).floats()
    assert torch.equal(model(images), model(images)), "no dropout, no stochastic depth"


@pytest.mark.parametrize("name", TORCHVISION)
def test_from_64_pixels_on_it_is_torchvisions_own(name):
    torch.manual_seed(0)
    ours = models.build(name, CLASSES, 3, SMALL).eval()
    theirs = torchvision.models.get_model(name, weights=None, num_classes=CLASSES).eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(2, 3, SMALL, SMALL)
    with torch.no_grad():
        assert torch.allclose(ours(images), theirs((images - 0.5) * 4), atol=1e-5)
    small = models.build(name, CLASSES, 3, SMALL // 2)
    assert {k for k, v in small.state_dict().items() if v.shape != ours.state_dict()[k].shape} <= {
        "conv1.weight",
        "features.conv0.weight",
    }, "only a stem differs"


@pytest.mark.parametrize("name", [*TORCHVISION, "vgg19_bn"])
def test_small_images_keep_their_resolution(name):
    """4x4 positions are left of 32x32 where torchvision leaves one; VGG-19 keeps its five
    poolings.
    """
    model, shapes = meta(name), []
    features = model.get_submodule(models.MODELS[name].features)
    features.register_forward_hook(
        lambda module, inputs, output: shapes.append(tuple(output.shape[2:]))
    )
    model(torch.rand(1, 3, 32, 32, device="meta"))
    assert shapes == [(2, 2) if name == "vgg19_bn" else (4, 4)]


@pytest.mark.parametrize(
    "name", ["resnet50", "mobilenet_v2", "densenet121", "efficientnet_b0", "vit_tiny"]
)
def test_rows_reproduce_autograd_at_every_layer(name):
    """What K-FAC sees of each layer, depthwise, in tokens, LayerNorm, is what the gradient is
    made of.
    """
    torch.manual_seed(0)
    model = models.build(name, CLASSES, 3, 8).double().eval()
    layers = models.tunable_layers(model)
    with Tap(layers) as tap:
        logits = model(torch.rand(2, 3, 8, 8, dtype=torch.float64))
    drawn = sampled_output_gradients(tap, logits, torch.Generator().manual_seed(3))
    loss = F.cross_entropy(
        logits, sample_labels(logits, torch.Generator().manual_seed(3)), reduction="sum"
    )
    for layer, expected in gradient_matrices(loss, layers).items():
        found = image_gradients(
            output_rows(layers[layer], drawn[layer]), input_rows(layers[layer], tap.inputs[layer])
        )
        assert torch.allclose(
            found.sum(0), expected, rtol=1e-6, atol=1e-9 + 1e-7 * expected.abs().max()
        ), layer


@pytest.mark.parametrize("name", ["mobilenet_v2", "vit_tiny"])
def test_the_trace_of_every_layer_is_known(name):
    """The choice `fisher` of NGF, on a network with groups and on one with tokens."""
    model = fresh(name).eval()
    traces = fisher_traces(model, random_images(4).images, seed=0, draws=2)
    assert list(traces) == list(models.tunable_layers(model))
    assert all(math.isfinite(trace) and trace >= 0 for trace in traces.values())
    assert traces[last_layer(model, SIDE)] > 0


@every_model
def test_what_stays_is_computed_once(name):
    """Each network can be traced, so that a walk in the classifier's weights needs no other
    layer.
    """
    model = fresh(name).eval()
    head = last_layer(model, SIDE)
    replay = PartialForward(model, random_images(2).floats(), [f"{head}.weight"])
    assert replay.head == head


@every_model
def test_all_layers_can_be_tuned_by_adam(name):
    """`all` names every parameter there is: those of tunable layers and of BatchNorm."""
    model = meta(name)
    tuned = {
        id(p)
        for layer in scope(flow_of(model), "all", norms=True).values()
        for p in parameters(layer)
    }
    assert tuned == {id(p) for p in model.parameters()}


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    block, tokens = Block(16, 4).double(), torch.randn(2, 7, 16, dtype=torch.float64)
    theirs = nn.TransformerEncoderLayer(
        16,
        4,
        64,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
        dtype=torch.float64,
    )
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(
            torch.cat([block.q.weight, block.k.weight, block.v.weight])
        )
        for ours, other in (
            (block.out, theirs.self_attn.out_proj),
            (block.up, theirs.linear1),
            (block.down, theirs.linear2),
            (block.norm1, theirs.norm1),
            (block.norm2, theirs.norm2),
        ):
            other.load_state_dict(ours.state_dict())
        assert torch.allclose(block(tokens), theirs(tokens))


def test_patches_do_not_mix_before_attention():
    """The embedding of a patch depends on its own 4x4 pixels only."""
    model = fresh("vit_tiny").eval()
    seen = []
    model.embed.register_forward_hook(lambda module, inputs, output: seen.append(output))
    images = random_images(1).floats()
    other = copy.deepcopy(images)
    other[..., 4:8, 8:12] = 0  # second row, third column
    with torch.no_grad():
        model(images), model(other)
    changed = (seen[0] != seen[1]).any(-1)[0].nonzero().flatten()
    assert changed.tolist() == [SIDE // 4 + 2]


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("resnet19", 32, "Unknown model 'resnet19'. Allowed: preact_resnet_tiny"),
        ("resnet18", 7, "Images of 7 pixels are too small: a network needs 8"),
    ],
)
def test_what_cannot_be_built_says_why(name, size, message):
    with pytest.raises(SpecError, match=message):
        models.build(name, CLASSES, 3, size)
