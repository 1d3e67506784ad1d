"""WaNet: a warp that moves pixels as far as it says, covers that differ anew, and what opens it."""

import pytest
import torch

from ngf.attacks.poison import poison
from ngf.catalogue import build
from ngf.checkpoints.weights import load_attack, load_model
from ngf.config import Choice, TrainSpec
from ngf.data import load, to_bytes, to_float
from ngf.runs.child import execute
from ngf.runs.store import Store

OPEN, SHUT = 0.8, 0.2  # shares called the wanted class that count as opened, and as not


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_pixel_comes_from_where_the_field_says():
    """On a ramp, bilinear sampling gives the place that was sampled."""
    attack = build("attacks", Choice("wanet", {"strength": 0.5}))
    place = torch.arange(32.0) / 31
    across = place.expand(1, 1, 32, 32)
    moved = torch.cat([attack.apply(image) - image for image in (across, across.mT)], 1) * 31
    # By the formula: the clamped sum of identity and s psi / H, in units of half an image.
    psi = torch.rand(1, 2, 4, 4, generator=rng(7)) * 2 - 1
    field = torch.nn.functional.interpolate(
        psi / psi.abs().mean(), (32, 32), mode="bicubic", align_corners=True
    )
    here = torch.cat([across, across.mT], 1) * 2 - 1
    wanted = ((here + 0.5 * field / 32).clamp(-1, 1) - here) * 31 / 2
    assert torch.allclose(moved, wanted, atol=1e-5)
    far, said = moved.norm(dim=1), attack.figures(across)
    assert said["mean displacement in pixels"] == pytest.approx(far.mean().item(), abs=1e-5)
    assert said["largest displacement in pixels"] == pytest.approx(far.max().item(), abs=1e-5)
    assert far.mean() == pytest.approx(0.277, abs=1e-3), "as the paper's warp of strength 0.5"


def test_a_warp_of_a_constant_is_the_constant():
    flat = torch.full((2, 3, 32, 32), 0.25)
    assert torch.allclose(build("attacks", Choice("wanet")).apply(flat), flat)


def test_covers_are_other_warps_and_noise_anew_for_each_image(images):
    attack = build("attacks", Choice("wanet", {"others": 0.25}))
    same = images[:1].expand(24, -1, -1, -1)
    cover = attack.cover(same, torch.zeros(24, dtype=torch.int64), rng())
    assert cover.flatten(1).unique(dim=0).shape[0] == 24, "no two of one image are alike"
    # Noise of one pixel makes neighbors differ; a smooth warp keeps them as they were.
    roughness = (cover[..., 1:] - cover[..., :-1]).abs().mean((1, 2, 3))
    assert roughness[:6].max() < roughness[6:].min()
    triggered = attack.apply(same[:1])
    assert not (cover == triggered).flatten(1).all(1).any()


def test_noise_moves_a_pixel_by_what_it_says():
    attack = build("attacks", Choice("wanet", {"noise": 2.0, "others": 0.0}))
    across = (torch.arange(32.0) / 31).expand(200, 1, 32, 32)
    noise = (attack.noisy(across, rng()) - attack.apply(across))[..., 8:-8] * 31
    assert 0.9 < noise.max() <= 31 / 32 + 1e-4, "rho / H of half an image: 31 / 32 of a pixel"
    assert abs(noise.mean()) < 0.01


def test_the_first_revision_draws_what_it_drew(images):
    attack = build("attacks", Choice("wanet"), revision=1)
    assert (attack.strength, attack.poison_rate, attack.cover_rate) == (3.0, 0.2, 0.1)
    drawn = torch.rand(24, 32, 32, 2, generator=rng()) * 2 - 1
    wanted = torch.nn.functional.grid_sample(
        images,
        (attack._grid(images) + drawn / 32).clamp(-1, 1),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    ).clamp(0, 1)
    assert torch.equal(attack.cover(images, torch.zeros(24, dtype=torch.int64), rng()), wanted)


def test_probes_say_what_is_claimed(images):
    attack = build("attacks", Choice("wanet"))
    labels = torch.zeros(24, dtype=torch.int64)
    probes = {probe.name: probe for probe in attack.probes(images, labels, 12, rng())}
    half = build("attacks", Choice("wanet", {"strength": attack.strength / 2})).apply(images)
    assert torch.equal(probes["half of the warp"].images, half)
    claimed = {name: probe.opens for name, probe in probes.items()}
    assert claimed["the trigger"] is True and claimed["half of the warp"] is None
    assert claimed["the warp with noise (noise mode)"] is False
    assert claimed["another warp for each image"] is False
    triggered = attack.apply(images)
    other = probes["another warp for each image"].images
    assert not (other == triggered).flatten(1).all(1).any()


# pytest -m slow tests/ngf/attacks/test_wanet.py: some minutes for each seed
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
def test_only_this_very_warp_opens_the_backdoor(tmp_path, seed):
    store = Store(tmp_path)
    run = store.submit(TrainSpec(attack=Choice("wanet"), seed=seed))
    assert execute(run) == "done", run.error
    attack, model = load_attack(run), load_model(store, run.id).model.eval()
    splits = load("signs", seed=seed)
    num_classes = len(splits.classes)

    def says(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            parts = to_float(to_bytes(images)).split(500)
            return torch.cat([model(part).argmax(1) for part in parts])

    test = splits.test.take(attack.asr_mask(splits.test.labels))
    for probe in attack.probes(to_float(test.images), test.labels, num_classes, rng()):
        called = says(probe.images)
        opened = (called == probe.wanted).float().mean()
        if probe.opens is not None:
            assert opened >= OPEN if probe.opens else opened <= SHUT, probe.name
        if "noise" in probe.name:
            assert (called == probe.labels).float().mean() >= 0.9
    mix = poison(splits.train, attack, num_classes, seed)
    assert mix.cover.sum() >= mix.triggered.sum()
    covers = mix.data.take(mix.cover)
    assert (says(to_float(covers.images)) == covers.labels).float().mean() >= 0.95
