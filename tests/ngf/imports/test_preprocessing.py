"""What a network wants to see is found by what it does on the clean images."""

from __future__ import annotations

import pytest
import torch

from ngf.imports.making import divided
from ngf.imports.pictures import find
from ngf.imports.preprocessing import (
    NORMALIZATIONS,
    Preprocessing,
    model_of,
    outputs,
    parse_normalization,
    try_all,
)
from ngf.models.of_others.recognize import recognize
from ngf.models.of_others.table import OTHERS
from ngf.options import SpecError


@pytest.mark.parametrize(("normalization", "order"), [("half", "rgb"), ("imagenet", "bgr")])
def test_normalization_and_order_of_channels_are_found(normalization, order, one_thread):
    """The labels are what the network says when it is fed right, so only that gets all of them."""
    torch.manual_seed(0)
    network = OTHERS["torchvision.shufflenet_v2_x0_5"].build(4, 3).eval()
    pictures = find(["signs:80"])
    shape, fits = recognize(network.state_dict())
    mean, std = NORMALIZATIONS[normalization]
    how = Preprocessing(32, normalization, mean, std, order)

    def says():
        return outputs(model_of(fits[0], shape, how, network.state_dict()), pictures.decoded(32))

    with torch.no_grad():
        network.fc.bias.sub_(says().mean(0))  # an untrained network says one thing alone
    numbers = says().argmax(1)
    assert len(numbers.unique()) > 1
    told = type(pictures)(
        pictures.sources, [str(k) for k in range(4)], numbers, pictures.sizes, pictures.gray
    )
    best = try_all(fits, shape, network.state_dict(), told, side=32)[0]
    assert best.preprocessing == how and best.agreement == 1.0 and best.count == 80


def test_what_people_say_is_read_or_refused():
    assert parse_normalization("half", 3)[1] == (0.5, 0.5, 0.5)
    assert parse_normalization("0.1307/0.3081", 1)[1:] == ((0.1307,), (0.3081,))
    for text in ("imagenet2", "0.5/0.5", "0.5,0.5,0.5/0.5,0.5,0", "0.5,0.5,0.5"):
        with pytest.raises(SpecError, match="Allowed: imagenet, cifar10, half, none"):
            parse_normalization(text, 3)


def test_of_each_class_a_share_is_kept_to_measure_on():
    numbers = torch.tensor([0] * 40 + [1] * 8 + [2] * 4)
    kept, measured = divided(numbers, 0.25)
    assert sorted([*kept.tolist(), *measured.tolist()]) == list(range(52))
    assert [int((numbers[measured] == k).sum()) for k in range(3)] == [10, 2, 1]
    assert torch.equal(measured, divided(numbers, 0.25)[1]), "always the same ones"
