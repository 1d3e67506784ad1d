"""Which class stands out."""

from __future__ import annotations

import torch

from analysis.detectors.standing_out import cost_of_rates, index_of, most_suspicious


def test_the_index_is_that_of_neural_cleanse_and_is_bounded():
    costs = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    torch.testing.assert_close(index_of(costs), (3 - costs.double()) / 1.4826)
    assert index_of(torch.tensor([0.0, 1.0, 1.0, 1.0])).tolist() == [20, 0, 0, 0]


def test_rates_of_nothing_and_of_all_have_finite_costs():
    found = cost_of_rates(torch.tensor([0, 5, 10]), torch.tensor([10, 10, 10]))
    assert found[1] == 0 and found[0] == -found[2] > 0
    assert cost_of_rates(torch.tensor([0]), torch.tensor([0])).tolist() == [0.0]


def test_one_extreme_index_does_not_outvote_two():
    wild = torch.tensor([19.0, 0.0, 0.0])
    assert most_suspicious(wild) == 0
    assert most_suspicious(wild, torch.tensor([0.0, 4.0, 0.0]), torch.tensor([-9.0, 3.0, 1.0])) == 1
