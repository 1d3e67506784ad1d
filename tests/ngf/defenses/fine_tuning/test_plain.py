"""A plainly fine-tuned copy is what the defense `sgd` makes."""

import pytest
import torch

from ngf.defenses.fine_tuning.choosing import begin
from ngf.defenses.fine_tuning.plain import tuned_copy
from tests.helpers.purifications import short


@pytest.mark.parametrize("batch_norm", ["train", "recalibrate"])
def test_it_is_plain_fine_tuning(batch_norm, problem):
    ours = tuned_copy(
        problem,
        lr=0.1,
        steps=3,
        batch_size=24,
        momentum=0.8,
        augmentation="strong",
        batch_norm=batch_norm,
        schedule="cosine",
    )
    sgd = short("sgd", lr=0.1, momentum=0.8, batch_norm=batch_norm)
    plain = begin(sgd, problem, "all", 0.1)
    assert [step.loss for step in ours] == [step.loss for step in plain]
    for name, value in plain.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], value), name
    assert ours.distance() > 0
