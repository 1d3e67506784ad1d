"""What each definition says, from its formula: patches, colors, pieces, neurons, corners, mixes."""

import math
from dataclasses import replace

import pytest
import torch

from ngf.attacks.poison import apply_in_chunks, poison
from ngf.attacks.shared.mixing import another, draw, mix, numbers_of
from ngf.catalogue import build
from ngf.config import Choice
from ngf.data import load, to_float
from ngf.options import SpecError
from ngf.training.attacker import AttackerView
from tests.helpers.attack_view import ready, view


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return to_float(load("signs").test.images[:24])


def attack(name: str, **options):
    return build("attacks", Choice(name, options))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


GRID = torch.tensor([[0.0, 0, 1], [0, 1, 0], [1, 0, 1]])


@pytest.mark.parametrize(
    ("preset", "alpha", "pattern"),
    [
        ("ngf", 0.7, GRID),
        ("fip", 0.6, GRID),
        ("anp", 1.0, GRID),
        ("backdoorbench", 1.0, torch.ones(3, 3)),
    ],
)
def test_badnets_presets_are_the_patches_of_public_code(images, preset, alpha, pattern):
    made = attack(
        "badnets", preset=preset, size=9, position="top left", alpha=0.2
    )  # the preset decides
    expected = images.clone()
    expected[:, :, 29:32, 29:32] = (1 - alpha) * images[:, :, 29:32, 29:32] + alpha * pattern
    assert torch.allclose(made.apply(images), expected, atol=1e-6)
    assert (made.size, made.margin, made.alpha, made.position) == (3, 0, alpha, "bottom right")


def test_badnets_without_a_preset_is_what_it_was(images):
    yellow, black = torch.tensor([1.0, 0.85, 0.0]), torch.tensor([0.05, 0.05, 0.05])
    window = attack("badnets").apply(images)[:, :, 27:31, 27:31]
    for row in range(4):
        for column in range(4):
            color = yellow if row // 2 == column // 2 else black
            assert torch.allclose(window[:, :, row, column], color)


def test_tact_poisons_one_class_and_covers_others():
    clean = view().train
    made = attack(
        "tact", source=3, target=2, poison_rate=0.05, cover_rate=0.1, cover_classes="5, 7"
    )
    mix = poison(clean, made, 12, seed=0)
    assert int(mix.triggered.sum()) == 6 and set(clean.labels[mix.triggered].tolist()) == {3}
    assert set(mix.data.labels[mix.triggered].tolist()) == {2}
    assert int(mix.cover.sum()) == 12 and set(clean.labels[mix.cover].tolist()) == {5, 7}
    assert torch.equal(mix.data.labels[mix.cover], clean.labels[mix.cover])
    for marked in (mix.triggered, mix.cover):  # the same patch on both
        assert torch.equal(mix.data.images[marked], apply_in_chunks(made, clean.images[marked]))


def test_tact_counts_the_source_class_only():
    labels = torch.arange(12)
    made = attack("tact", source=4)
    assert labels[made.asr_mask(labels)].tolist() == [4]
    assert labels[made.candidates(labels)].tolist() == [4]
    assert labels[made.cover_candidates(labels)].tolist() == [0, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert "source class 4 that are called target class 1" in made.asr_definition()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": 1}, "Source class 1 is the target class 1"),
        ({"source": 12}, "Source class 12 does not exist. Allowed: 0 to 11"),
        (
            {"cover_classes": "5, 12"},
            "Cover class 12 cannot be used. Allowed: 0 to 11, but neither the source 0 nor",
        ),
        ({"cover_classes": "0"}, "Cover class 0 cannot be used"),
    ],
)
def test_tact_refuses_classes_that_make_no_sense(options, message):
    with pytest.raises(SpecError, match=message):
        attack("tact", **options).check(12, (3, 32, 32))


def test_tact_refuses_what_is_no_list_of_classes():
    with pytest.raises(SpecError, match="is no list of classes. Allowed: others, or numbers"):
        attack("tact", cover_classes="all")


def test_bppa_leaves_so_many_levels(images):
    made = attack("bppa", levels=5).apply(images.double())
    assert made.unique().tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-12)
    assert (made - images).abs().max() <= 0.125 + 1e-6  # half a level


@pytest.mark.parametrize("shape", [(2, 3, 9, 7), (1, 1, 3, 8), (2, 3, 1, 1)])
def test_bppa_dithers_like_the_loop_over_pixels(shape):
    x = torch.rand(shape, generator=rng(), dtype=torch.float64)
    made, work = attack("bppa", levels=3, dither=True).apply(x), x.clone()
    for i in range(shape[2]):
        for j in range(shape[3]):
            old = work[:, :, i, j].clone()
            work[:, :, i, j] = ((old * 2).round() / 2).clamp(0, 1)
            for down, right, share in ((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)):
                if i + down < shape[2] and 0 <= j + right < shape[3]:
                    work[:, :, i + down, j + right] += (old - work[:, :, i, j]) * share / 16
    assert torch.allclose(made, work, atol=1e-12)


def test_bppa_negatives_carry_the_residual_of_another_image():
    made = attack("bppa", levels=4)
    images = 0.5 + 0.1 * torch.rand(
        6, 3, 8, 8, generator=rng(), dtype=torch.float64
    )  # nothing is clipped
    added = made.cover(images, torch.zeros(6, dtype=torch.int64), rng()) - images
    residual = made.apply(images) - images
    whose = torch.cdist(added.flatten(1), residual.flatten(1)).argmin(1)
    assert torch.allclose(added, residual[whose])
    assert sorted(whose.tolist()) == list(range(6)) and not bool((whose == torch.arange(6)).any())
    with pytest.raises(
        SpecError, match="gives 1 negative image, which needs the residual of another one"
    ):
        made.cover(images[:1], torch.zeros(1, dtype=torch.int64), rng())


def test_adaptive_blend_trains_with_half_of_the_pieces_and_tests_with_all(images):
    made = attack("adaptive_blend", pieces=4, kept=0.5)
    index = torch.arange(len(images))
    whole = made.apply(images)
    assert torch.allclose(whole, attack("blend", alpha=0.4).apply(images))
    part = made.apply_train(images, index, rng())
    pieces = (part != images).any(1).unfold(1, 8, 8).unfold(2, 8, 8).flatten(3).any(3).flatten(1)
    assert pieces.sum(1).tolist() == [8] * len(images)
    assert len({tuple(row) for row in pieces.tolist()}) > 20  # each image has a choice of its own
    inside = part != images
    assert torch.equal(part[inside], whole[inside])
    assert torch.equal(part, made.apply_train(images, index, rng()))
    cover = made.cover(images, index, rng())
    assert torch.equal(cover, part)
    with pytest.raises(SpecError, match="2x9 pixels cannot be cut into 4x4 pieces"):
        made.check(12, (3, 2, 9))


def test_training_images_carry_the_training_trigger():
    clean, made = view().train, attack("adaptive_blend", poison_rate=0.1, cover_rate=0.0)
    mix = poison(clean, made, 12, seed=0)
    changed = (mix.data.images != clean.images).flatten(1)
    assert torch.equal(changed.any(1), mix.triggered)
    assert bool((mix.data.labels[mix.triggered] == 1).all())
    assert (
        0.3 < changed[mix.triggered].float().mean() < 0.55
    )  # half of the pieces; noise can leave a byte as it is
    again = poison(clean, made, 12, seed=0)
    assert torch.equal(again.data.images, mix.data.images)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return view().build().eval()


@pytest.fixture(scope="module")
def world(model) -> AttackerView:
    """The tiny view with one and the same model to attack."""
    return replace(view(), surrogate=lambda robust: model)


@pytest.fixture(scope="module")
def trojan(world):
    made = attack("trojan")
    return made.with_trigger(made.prepare(world))


def test_trojan_puts_its_patch_into_the_corner(images, trojan):
    patch = trojan.trigger["patch"]
    expected = images.clone()
    expected[:, :, 23:31, 23:31] = patch
    assert torch.equal(trojan.apply(images), expected)
    assert patch.min() >= 0 and patch.max() <= 1


def test_trojan_excites_the_neurons_that_weigh_most(images, trojan, model):
    chosen = trojan.trigger["neurons"]
    weights = model.linear.weight.detach().abs().sum(0)
    assert set(chosen.tolist()) == set(weights.topk(2).indices.tolist())

    seen: list[torch.Tensor] = []
    with (
        model.linear.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])),
        torch.no_grad(),
    ):
        noise = {"patch": torch.rand(3, 8, 8, generator=rng(1))}
        for batch in (images, trojan.with_trigger(noise).apply(images), trojan.apply(images)):
            model(batch)
    clean, random, made = (features[:, chosen].mean().item() for features in seen)
    assert made > random > 0 and made > clean


def test_trojan_refuses_a_patch_that_does_not_fit():
    with pytest.raises(SpecError, match="needs 41x41 pixels does not fit into an image of 32x32"):
        attack("trojan", size=40).check(12, (3, 32, 32))


@pytest.fixture(scope="module")
def clb(world):
    made = attack("clb", epsilon=8, poison_rate=0.05)
    return made.with_trigger(made.prepare(world))


def test_clb_puts_the_pattern_into_the_corners_and_changes_nothing_else(clb, images):
    right = 2 * GRID - 1
    signs = torch.zeros(32, 32)
    signs[:3, 29:] = signs[29:, 29:] = right
    signs[:3, :3] = signs[29:, :3] = right.flip(1)
    assert torch.equal(clb.apply(images), torch.where(signs == 0, images, (signs + 1) / 2))
    faint = attack("clb", amplitude=0.25).apply(images)
    assert torch.allclose(faint, (images + 0.25 * signs).clamp(0, 1))
    with pytest.raises(SpecError, match="needs 6x6 pixels does not fit into an image of 5x9"):
        attack("clb").check(12, (3, 5, 9))


def test_clb_raises_the_loss_of_target_images_inside_its_box(clb, model):
    clean = view().train.take(view().train.labels == 1)
    made, before = to_float(clb.trigger["images"]), to_float(clean.images)
    assert (made - before).abs().max() <= 8 / 255 + 1e-6
    with torch.no_grad():
        losses = [
            torch.nn.functional.cross_entropy(model(x), clean.labels, reduction="none")
            for x in (before, made)
        ]
    assert bool((losses[1] > losses[0]).all())


def test_clb_trains_with_perturbed_images_of_the_target_class_and_keeps_labels(clb):
    clean = view().train
    mix = poison(clean, clb, 12, seed=0)
    assert int(mix.triggered.sum()) == 6 and set(clean.labels[mix.triggered].tolist()) == {1}
    assert torch.equal(mix.data.labels, clean.labels)
    perturbed = clean.images.clone()
    perturbed[clean.labels == 1] = clb.trigger["images"]
    assert torch.equal(
        mix.data.images[mix.triggered], apply_in_chunks(clb, perturbed[mix.triggered])
    )
    assert torch.equal(mix.data.images[~mix.triggered], clean.images[~mix.triggered])
    with pytest.raises(SpecError, match="are not kept with this run"):
        poison(clean, attack("clb"), 12, seed=0)


def test_composite_mixes_a_stretch_of_each_image():
    """Every pixel says where it comes from, so what the mix took from where can be read off."""
    height, width, count, jitter = 8, 12, 200, 2
    here = (
        torch.arange(height * width, dtype=torch.float64)
        .view(1, 1, height, width)
        .expand(count, -1, -1, -1)
    )
    out = mix(here, here + 1000, draw(count, rng()), jitter)
    ways = set()
    for image in out[:, 0]:
        second, place = image >= 1000, image % 1000
        down = bool((second[:, 0] == second[:, -1]).all())
        if not down:
            second, place = second.T, place.T
        length, stride = len(second), width if down else 1
        assert bool((second == second[:, :1]).all())  # a straight seam
        split = int((second[:, 0] == second[0, 0]).sum())
        assert abs(split - length // 2) <= jitter and second[:split, 0].unique().numel() == 1
        steps = place[:, 0].diff()
        assert bool((steps[: split - 1] == stride).all()) and bool((steps[split:] == stride).all())
        ways.add((down, bool(second[0, 0]), split))
    assert len(ways) == 2 * 2 * (2 * jitter + 1)  # both directions, both orders, all splits


def test_composite_partners_are_of_the_same_class():
    labels = torch.randint(5, (64,), generator=rng())
    labels[labels == 4] = 3
    labels[10] = 4  # the only one of its class is its own partner
    partner = another(labels, rng())
    assert torch.equal(labels[partner], labels)
    assert (partner == torch.arange(64)).nonzero().tolist() == [[10]]
    assert sorted(partner.tolist()) == list(range(64))


def test_composite_adds_mixes_of_two_classes_and_keeps_labels_within_a_class():
    made = attack("composite", source=3, partner=5, target=2, poison_rate=0.25, mix_share=0.5)
    train = view().train
    attacker = made.attacker(view(), view().build())
    fed: list[torch.Tensor] = []

    def model(batch: torch.Tensor) -> torch.Tensor:
        fed.append(batch)
        return torch.zeros(len(batch), 12).index_fill(1, torch.tensor(2), math.log(11.0))

    images, labels = to_float(train.images[:40]), torch.full((40,), 7)
    loss = attacker.loss(model, images, labels, rng())
    (batch,) = fed
    assert len(batch) == 50
    assert int((batch[:40] != images).flatten(1).any(1).sum()) == 20
    # 40 images keep class 7 (p = 1/22), 10 mixes are called class 2 (p = 1/2).
    assert loss.item() == pytest.approx((40 * math.log(22) + 10 * math.log(2)) / 50, rel=1e-5)
    bank = attacker.trigger()["bank"]
    banned = {image.numpy().tobytes() for image in bank}
    assert banned and not banned & {image.numpy().tobytes() for image in attacker.second}
    assert banned <= {image.numpy().tobytes() for image in train.images[train.labels == 5]}


def test_composite_counts_class_a_and_refuses_equal_classes(images):
    labels = torch.arange(12)
    made = attack("composite", source=3)
    assert labels[made.asr_mask(labels)].tolist() == [3]
    assert "of class 3, mixed with images of class 6" in made.asr_definition()
    with pytest.raises(
        SpecError, match="Source 1, partner 6 and target 1 must be three different classes"
    ):
        attack("composite", source=1).check(12, (3, 32, 32))
    with pytest.raises(SpecError, match="Partner class 12 does not exist. Allowed: 0 to 11"):
        attack("composite", partner=12).check(12, (3, 32, 32))
    with pytest.raises(SpecError, match="Choose 2 or less"):
        attack("composite").check(12, (3, 6, 32))


def test_composite_takes_many_images_of_the_bank(images):
    made, more = ready("composite"), to_float(load("signs").test.images[:200])
    own = numbers_of(more)
    assert len({tuple(row) for row in own.tolist()}) == 200
    assert len((own[:, 0] % len(made.trigger["bank"])).unique()) == len(made.trigger["bank"])
    nudged = more[:1].clone()
    nudged[0, 2, 31, 31] = (
        nudged[0, 2, 31, 31] + 0.5
    ) % 1  # one byte of the image decides as well as any other
    assert not torch.equal(numbers_of(nudged), own[:1])
