"""NAD against its formula, and where it looks in each kind of network."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngf import models
from ngf.defenses.fine_tuning.choosing import begin
from ngf.defenses.nad import attention_map, blocks
from ngf.options import SpecError
from tests.helpers.odd_networks import odd_network
from tests.helpers.purifications import finish, short

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_an_attention_map_by_hand():
    features = torch.tensor([[[[1.0, -2.0]], [[2.0, 0.0]]]])  # one image, two channels, 1x2
    squares = torch.tensor([[1 + 4.0, 4 + 0.0]])
    assert torch.allclose(attention_map(features, 2.0), squares / (25 + 16) ** 0.5)
    sums = torch.tensor([[3.0, 2.0]])
    assert torch.allclose(attention_map(features, 1.0), sums / 13**0.5)
    tokens = features.flatten(2).mT  # (1, 2 positions, 2 channels)
    assert torch.equal(attention_map(tokens, 2.0), attention_map(features, 2.0))
    assert attention_map(torch.zeros(1, 2, 3, 3), 2.0).eq(0).all()


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        ("preact_resnet_tiny", ["stage1", "stage2", "stage3"]),
        ("vgg_tiny", ["bn1", "bn3", "bn5", "bn6"]),
        ("resnet18", ["layer1", "layer2", "layer3", "layer4"]),
        ("vit_tiny", ["block1", "block2", "block3", "block4"]),
    ],
)
def test_blocks_end_where_the_resolution_changes(network, wanted):
    assert blocks(models.build(network, 12).eval(), IMAGES) == wanted


@pytest.mark.parametrize("network", models.MODELS)
def test_every_network_of_the_table_has_blocks(network):
    model = models.build(network, 12).eval()
    found = blocks(model, IMAGES)
    sizes: list[int] = []
    for name in found:
        layer = model.get_submodule(name)
        layer.register_forward_hook(lambda _m, _i, out: sizes.append(out[0, 0].numel()))
    model(IMAGES)
    assert len(found) >= 3
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] > 1
    assert network.startswith("vit") or len(set(sizes)) == len(sizes)


def test_a_layer_that_is_used_twice_is_no_block():
    assert blocks(odd_network(), IMAGES) == ["mirrored"]


def test_a_network_without_positions_is_refused(problem):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 12)).eval()
    with pytest.raises(SpecError, match="gives a map of positions or a row of tokens"):
        short("nad").purify(replace(problem, model=flat))


def test_the_teacher_is_a_plain_fine_tuning(problem):
    purification = short("nad", steps=5, teacher_share=0.6, teacher_lr=0.1).purify(problem)
    events = finish(purification)
    plain = begin(short("sgd", lr=0.1, steps=3), problem, "all", 0.1)
    assert [event.loss for event in events[1:4]] == [step.loss for step in plain]
    for name, value in plain.model.state_dict().items():
        assert torch.equal(purification.teacher.model.state_dict()[name], value), name
    assert [event.phase for event in events] == ["teacher"] * 4 + ["student"] * 2
    assert [event.attention is None for event in events] == [True] * 4 + [False] * 2


def test_the_model_stays_until_the_teacher_is_done(problem):
    purification = short("nad", steps=3, teacher_share=0.67).purify(problem)
    for event in purification:
        same = all(
            torch.equal(value, problem.model.state_dict()[name])
            for name, value in purification.model.state_dict().items()
        )
        assert same == (event.phase == "teacher")


def seen(model: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits and the attention maps of the three stages, written out."""
    x, maps = model.stem(model.normalize(images)), []
    for name in ("stage1", "stage2", "stage3"):
        x = getattr(model, name)(x)
        squares = (x**2).sum(1)
        maps.append(squares / squares.square().sum((1, 2), keepdim=True).sqrt())
    return model.linear(F.relu(model.bn(x)).mean((2, 3))), maps


@pytest.mark.parametrize("beta", [0.0, 500.0])
def test_a_step_of_the_student_follows_the_gradient_of_the_formula(beta, wide):
    """Against autograd, of the whole loss."""
    lr = 0.01
    purification = short(
        "nad", steps=2, teacher_share=0.5, teacher_lr=0.3, lr=lr, beta=beta
    ).purify(wide)
    drawn = []
    draw = purification.batches.draw
    purification.batches.draw = lambda rng: drawn.append(draw(rng)) or drawn[-1]
    *_, last = purification
    ((images, labels),) = drawn
    student = copy.deepcopy(wide.model).train().requires_grad_(True)
    logits, mine = seen(student, images)
    _, wanted = seen(purification.teacher.model, images)
    attention = sum((a - b).square().mean() for a, b in zip(mine, wanted))
    loss = F.cross_entropy(logits, labels) + beta * attention
    assert last.loss == pytest.approx(loss.item(), rel=1e-12)
    assert last.attention == pytest.approx(attention.item(), rel=1e-12) and attention > 1e-6
    loss.backward()
    for name, parameter in student.named_parameters():
        moved = parameter.detach() - lr * parameter.grad
        assert torch.allclose(purification.model.get_parameter(name), moved, atol=1e-14), name


def test_a_heavy_weight_draws_the_student_to_the_attention_of_the_teacher(problem):
    options = {"steps": 24, "teacher_share": 0.25, "teacher_lr": 0.3, "lr": 0.02}
    ends = [
        [event.attention for event in finish(short("nad", beta=beta, **options).purify(problem))]
        for beta in (0.0, 3e4)
    ]
    assert ends[1][-1] < 0.8 * ends[0][-1]


def test_the_rule_chooses_the_learning_rate_of_the_student(problem):
    purification = short("nad", lr=0.0).purify(problem)
    finish(purification)
    about = purification.summary()
    assert about["lr"] > 0 and about["why"].startswith(f"{about['lr']:g} ")
    assert f"learning rate {about['lr']:g}" in about["did"]
