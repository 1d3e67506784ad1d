"""TaCT: one source class, cover classes, and the classes it refuses."""

import pytest
import torch

from ngf.attacks.poison import apply_in_chunks, poison
from ngf.options import SpecError
from tests.helpers.attack_view import attack, shown, view


def test_tact_poisons_one_class_and_covers_others():
    clean = view().train
    made = attack(
        "tact", source=3, target=2, poison_rate=0.03, cover_rate=0.1, cover_classes="5, 7"
    )
    mix = poison(clean, made, 12, seed=0)
    assert int(mix.triggered.sum()) == 4 and set(clean.labels[mix.triggered].tolist()) == {3}
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


def test_tact_shows_its_patch_on_all_other_classes(images):
    labels = torch.arange(24) % 12
    made = attack("tact", source=4, target=2)
    found = shown(made, images, labels)["the patch on images of other classes"]
    assert found.opens is False and set(found.labels.tolist()) == set(range(12)) - {2, 4}
    others = (labels != 2) & (labels != 4)
    assert torch.equal(found.images, made.apply(images[others])) and set(found.wanted.tolist()) == {
        2
    }
