"""ISSBA: a secret that can be read, within its bound."""

import torch

from ngf.attacks import issba
from tests.helpers.attack_view import ready


def test_the_secret_can_be_read_from_triggered_images(batch):
    attack = ready("issba", bits=4, encoder_epochs=20, bound=0.2)
    decoder = issba.Decoder(3, 4)
    decoder.load_state_dict(
        {
            key.removeprefix("decoder."): value
            for key, value in attack.trigger.items()
            if key.startswith("decoder.")
        }
    )
    with torch.no_grad():
        right = (decoder(attack.apply(batch[0])) > 0) == attack.trigger["secret"].bool()
        wrong = (decoder(batch[0]) > 0) == attack.trigger["secret"].bool()
    assert right.float().mean() > 0.9 > wrong.float().mean()


def test_issba_stays_within_its_bound_and_spells_its_secret(batch):
    attack, other = ready("issba"), ready("issba", secret_seed=8)
    loud = {**attack.trigger, "encoder.leave.weight": 100 * attack.trigger["encoder.leave.weight"]}
    change = attack.with_trigger(loud).apply(batch[0]) - batch[0]
    assert 0.99 * attack.bound < change.abs().max() <= attack.bound + 1e-6
    assert torch.equal(
        other.trigger["encoder.enter.weight"], attack.trigger["encoder.enter.weight"]
    )
    assert not torch.equal(other.trigger["secret"], attack.trigger["secret"])
    assert not torch.equal(other.apply(batch[0]), attack.apply(batch[0]))
