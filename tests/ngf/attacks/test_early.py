"""What the door for runs says against an attack: before anything starts, in a process without
torch, and never otherwise than the attack itself.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ngf.attacks.early import check_early
from ngf.attacks.shared.drawing import encode
from ngf.catalogue import build, catalogue, normalize
from ngf.config import Choice, TrainSpec
from ngf.options import SpecError
from ngf.places import ROOT
from ngf.presets import presets
from ngf.runs.submit import submit

SIGNS = {"classes": [str(k) for k in range(12)], "shape": [3, 32, 32]}
FAINT = encode(np.full((2, 2, 4), 1, np.uint8))
EMPTY = encode(np.zeros((2, 2, 4), np.uint8))
REFUSED = [
    ("sig", {"frequency": 16}, "zero in every one of 32 columns"),
    ("sig", {"frequency": 64}, "zero in every one of 32 columns"),
    ("badnets", {"size": 16, "margin": 17}, "does not fit into an image of 32x32"),
    ("badnets", {"position": "top left", "margin": 32}, "does not fit into an image of 32x32"),
    ("trojan", {"size": 32}, "does not fit into an image of 32x32"),
    ("drawn", {"row": 30}, "5x5 pixels at row 30, column 22 does not fit"),
    ("drawn", {"drawing": FAINT, "alpha": 0.4}, "changes a value by 0.4 of 255 at most"),
    ("drawn", {"drawing": EMPTY}, "The drawing is empty"),
    ("drawn", {"drawing": "!!!!"}, "is not the text of a drawing"),
    ("badnets", {"target": 12}, "Target class 12 does not exist. Allowed: 0 to 11"),
    ("tact", {"source": 40}, "Source class 40 does not exist. Allowed: 0 to 11"),
    ("composite", {"partner": 12}, "Partner class 12 does not exist. Allowed: 0 to 11"),
]


@pytest.mark.parametrize(("name", "options", "words"), REFUSED)
def test_the_door_refuses_what_the_attack_refuses(name, options, words, store):
    with pytest.raises(SpecError, match=words):
        submit(TrainSpec(attack=Choice(name, options)), store)
    assert not store.root.exists(), "there is no run"
    with pytest.raises(SpecError):
        build("attacks", Choice(name, options)).check(12, (3, 32, 32))


def test_defaults_and_presets_pass_on_every_data_set():
    choices = [Choice(name) for name in catalogue()["attacks"]]
    choices += [preset.training().attack for preset in presets().values()]
    for choice in choices:
        for facts in catalogue()["data"].values():
            check_early(normalize("attacks", choice), facts)


def test_what_the_data_set_does_not_know_yet_is_not_asked_about():
    check_early(Choice("sig", {"frequency": 16, "target": 500}), {})
    check_early(Choice("badnets", {"preset": "ngf", "size": 16, "margin": 32}), SIGNS)


def test_the_door_has_no_torch():
    code = (
        "import sys; from ngf.attacks.early import check_early; from ngf.config import Choice; "
        f"check_early(Choice('drawn'), {SIGNS!r}); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0
