"""Which output means which class."""

from __future__ import annotations

import pytest
import torch

from ngf.imports.classes import ClassesDoNotFit, assign, by_name, confusion, named


def counts(outputs, num_outputs, wrong=0):
    """Ten images of each class, predicted as these outputs but for the first `wrong` ones."""
    numbers = torch.arange(len(outputs)).repeat_interleave(10)
    predicted = torch.tensor(outputs)[numbers]
    predicted[:wrong] = (predicted[:wrong] + 1) % num_outputs
    return confusion(predicted, numbers, len(outputs), num_outputs)


def test_names_are_believed_where_they_agree():
    found = assign(counts([0, 1, 2], 3, wrong=3), by_name(["a", "b", "c"], 3))
    assert found.by_name and found.outputs == (0, 1, 2) and found.agreement == pytest.approx(0.9)


def test_another_order_is_found_by_the_predictions():
    found = assign(counts([2, 0, 1], 3, wrong=3), by_name(["a", "b", "c"], 3))
    assert not found.by_name and found.outputs == (2, 0, 1)
    assert found.agreement == pytest.approx(0.9)


def test_fewer_classes_than_outputs_are_matched():
    found = assign(counts([4, 1], 5), by_name(["a", "b"], 5))
    assert found.outputs == (4, 1) and not found.by_name
    assert named(["a", "b"], found.outputs, 5) == ["output 0", "b", "output 2", "output 3", "a"]


def test_numbers_are_outputs():
    assert by_name(["0", "7", "3"], 9) == (0, 7, 3)
    assert by_name(["0", "9"], 9) is None, "there is no such output"
    assert by_name(["1", "2"], 2) == (0, 1), "counted from one: in their order"


def test_more_classes_than_outputs_are_refused():
    with pytest.raises(ClassesDoNotFit, match="3 classes and the model has 2 outputs"):
        assign(torch.ones(3, 2, dtype=torch.int64), None)
