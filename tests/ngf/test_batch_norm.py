"""BatchNorm estimated anew: the plain mean over batches, whatever was there before."""

import torch
from torch import nn

from ngf.batch_norm import reestimate_batch_norm


def test_the_statistics_are_the_plain_mean_over_the_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, momentum=0.3), nn.ReLU())
    model(torch.rand(4, 3, 8, 8))  # something to forget
    batches = [torch.rand(count, 3, 8, 8) for count in (16, 16, 4)]
    reestimate_batch_norm(model, iter(batches))
    with torch.no_grad():
        seen = [model[0](batch).transpose(0, 1).flatten(1) for batch in batches]
    mean = torch.stack([values.mean(1) for values in seen]).mean(0)
    var = torch.stack([values.var(1) for values in seen]).mean(0)
    torch.testing.assert_close(model[1].running_mean, mean)
    torch.testing.assert_close(model[1].running_var, var)
    assert model[1].momentum == 0.3
    assert not any(module.training for module in model.modules())


def test_a_model_without_batch_norm_is_left_alone():
    model = nn.Linear(4, 2)
    reestimate_batch_norm(model.train(), [torch.rand(3, 4)])
    assert not model.training
