"""The kinds of augmentation by name, and which of them resemble a trigger."""

from ngf.augmentations import AUGMENTATIONS, KINDS
from ngf.catalogue import load, names


def test_what_can_be_asked_for_is_made_of_known_kinds():
    known = [kind.name for kind in KINDS]
    assert len(set(known)) == len(known) and all(kind.says for kind in KINDS)
    assert AUGMENTATIONS["strong"] == tuple(known)
    assert set(AUGMENTATIONS["weak"]) < set(known)


def test_attacks_name_the_kinds_that_resemble_their_trigger():
    found = {name: load("attacks", name).resembles for name in names("attacks")}
    assert set().union(*found.values()) <= set(AUGMENTATIONS["strong"])
    assert found["badnets"] == ("cutout",) and found["wanet"] == ("elastic",)
    assert not any(found[name] for name in ("none", "bppa", "sig", "composite"))
