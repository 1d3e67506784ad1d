"""What is not finite is found, and said in one sentence."""

import math

import pytest
import torch

from ngf.data.images import Images
from ngf.evaluate import accuracy
from ngf.finite import Diverged, broken, check_weights, not_finite
from ngf.options import Explained
from ngf.predictions import predict


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["fc.weight", "bn.running_var"])
def test_a_single_bad_number_is_found_by_name(bad, place):
    state = {
        "fc.weight": torch.rand(40, 30),
        "bn.running_var": torch.ones(7),
        "bn.num_batches_tracked": torch.tensor(3),
    }
    assert broken(state) == []
    state[place].view(-1)[-1] = bad
    assert broken(state) == [place]
    with pytest.raises(Diverged, match=rf"The weights {place} are not finite numbers at step 4\."):
        check_weights(state, 4)


def test_numbers_whose_squares_overflow_are_finite():
    assert broken({"w": torch.full((3,), 1e38), "empty": torch.zeros(0)}) == []
    assert not_finite(list("abcde")) == "The weights a, b, c and 2 more are not finite numbers"


def test_the_step_of_a_part_becomes_that_of_the_whole():
    error = Diverged("The loss is no longer a number", 3, advice="Do this.")
    assert str(error) == "The loss is no longer a number at step 3."
    assert str(error.at(13)) == "The loss is no longer a number at step 13."
    assert error.at(13).advice == "Do this." and Diverged("x").advice == Diverged.advice
    assert str(Diverged("The loss is no longer a number", 2, unit="epoch")).endswith("at epoch 2.")


def test_every_error_may_have_its_own_advice():
    class Odd(Explained, OSError):
        kind, advice = "odd", "Do what is usual."

    assert Odd(2, "gone").advice == "Do what is usual." and Odd(2, "gone").strerror == "gone"
    assert Odd(2, "gone", advice="Do that.").advice == "Do that."
    assert Odd.advice == "Do what is usual."


def test_outputs_that_are_not_finite_are_of_no_class():
    """A model of NaN would call everything class 0, and reach the accuracy of guessing."""
    data = Images(torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8), torch.zeros(6).long())
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    assert 0 <= accuracy(model, data) <= 1
    assert predict(model, data.images[:0]).shape == (0,)
    model[1].weight.data.fill_(1e38)
    with pytest.raises(Diverged, match="outputs of the model are not finite"):
        accuracy(model, data)
