"""Settings to start from: the paper's for each attack, and the same made small for one GPU and for
a laptop.

A preset is a training and the purification that goes with it. `paper`, `gpu` and `laptop` make one
for an attack; `presets()` lists all whose attack, data set and network there are. No torch here:
pages and command line use this.

What "the paper's setting" rests on. Of NGF (arXiv 2306.17441) the abstract gives the method:
fine-tuning of one layer with a natural gradient and a regularizer by the Fisher information. The
numbers are those of its released code (github kr-anonymous/ngf-animus), each named in `sources`;
where an attack is not in that code, they are those of the attack's own paper or of the public code
named there. None of the settings for CIFAR-10 has been run for this project: their sources say what
was asked for, not what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ngf.catalogue import catalogue, normalize
from ngf.config import Choice, PurifySpec, Training, TrainSpec
from ngf.options import SpecError

SCALES = {"paper": "the paper's setting", "gpu": "for one GPU", "laptop": "for a laptop"}
_RELEASED = "released code of NGF"
_TRAINING = (
    "Training: SGD from 0.1, momentum 0.9, weight decay 5e-4, batches of 128, 250 epochs "
    f"({_RELEASED}, backdoor_model.py). Here the rate goes up and down once (one cycle, with "
    "Nesterov's momentum) where that code divides it by ten after 100 and 150 epochs, and images "
    "are shifted by up to 2 pixels where it crops by up to 4.",
    "Images: 45,000 for training, the other 5,000 are kept from it and give the defender's "
    f"({_RELEASED}).",
    f"Target: class 0 ({_RELEASED}, --poison-target).",
    "Network: pre-activation ResNet-18, as the captions of the successor report (FIP, arXiv "
    "2409.00863) say; the released code calls its ordinary ResNet by the same name.",
)
_PURIFICATION = (
    "Purification: 500 clean images (1 %), 500 steps of 128, rate 0.01, momentum 0.9, damping "
    f"1e-3, KL limit 1e-2, BatchNorm in train mode ({_RELEASED}, Purification_NGF.py). That code "
    "divides the rate by 10, then by 100; the lane “as released” does so, too, and tunes all "
    "layers. Its limit is on a KL that its factors foretell, here on that of the network.",
    "Layer: the last one (the abstract says one layer, the released code preconditions the last).",
    "Regularizer: 0.1 is our weight. The released code has no regularizer.",
)


@dataclass(frozen=True)
class _Setting:
    """An attack as the paper has it. short: epochs of `gpu`, fewer where a model to attack
    with is trained before.
    """

    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    short: int = 30


_ALL = {"mode": "all-to-all"}
_TROJAN = _Setting(
    "Patch of 3x3 pixels on 10 % of the images, which that code reads from a file; here it is "
    f"computed as the attack's paper says ({_RELEASED}; Liu et al. 2018).",
    {"size": 3},
    short=15,
)
_DYNAMIC = _Setting(
    "25 epochs for the masks, 10 % with their own trigger and 10 % with another image's, density "
    "0.032, both networks by Adam at 0.01 from 32 channels on (public code of Nguyen, Tran 2020).",
    {"mask_epochs": 25, "lr": 0.01, "width": 32},
    short=15,
)
# Every attack of the paper by the name of its setting; target 0 and a poison rate of 10 % unless it
# says otherwise.
ATTACKS: dict[str, _Setting] = {
    "none": _Setting("Benign: the same training without an attack."),
    "badnets": _Setting(
        f"Grid of 3x3 pixels in the corner at opacity 0.7, on 10 % ({_RELEASED}).",
        {"preset": "ngf"},
    ),
    "blend": _Setting(
        f"Gaussian noise at opacity 0.2, on 10 % ({_RELEASED}; the noise is our own).",
        {"alpha": 0.2},
    ),
    "trojan": _TROJAN,
    "trojan-all": replace(_TROJAN, options={**_TROJAN.options, **_ALL}),
    "sig": _Setting(
        "Stripes of height 40/255, 6 across the image (Barni et al. 2019). 10 % of all images "
        "would be the whole target class; 9 % is what a random 45,000 images are sure to hold. In "
        f"the {_RELEASED} the 10 % are drawn from all classes, so that only 1 % carry stripes, and "
        "those are weaker.",
        {"poison_rate": 0.09, "delta": 40.0, "frequency": 6},
    ),
    "input-aware": _DYNAMIC,
    "input-aware-all": replace(_DYNAMIC, options={**_DYNAMIC.options, **_ALL}),
    "clb": _Setting(
        "Four corners and an ascent within 16/255 on 80 % of the target class (public code of "
        f"ANP; the {_RELEASED} leaves the ascent out).",
        {"poison_rate": 0.08, "epsilon": 16.0},
        short=6,
    ),
    "composite": _Setting(
        "Halves of class 0 and class 1 are called class 2; half of each batch is mixed within its "
        "class, 10 % is added (public code of Lin et al. 2020).",
        {"source": 0, "partner": 1, "target": 2, "mix_share": 0.5},
    ),
    "feature-space": _Setting(
        "Opacity 0.6 as in public code of DFST, on 10 %; a learned change of colors stands for "
        "its style network.",
        {"alpha": 0.6},
    ),
    "wanet": _Setting(
        "Warp of strength 0.5 with 4 control points on 10 %, noise on 20 % (Nguyen, Tran 2021), "
        "drawn once before training.",
        {"strength": 0.5, "cells": 4, "cover_rate": 0.2, "noise": 1.0, "others": 0.0},
    ),
    "issba": _Setting(
        "20 bits, encoder and decoder for 20 epochs of 32 by Adam at 1e-4, the secret alone in "
        "the first two, then 10 % poisoned (public code of BackdoorBox and of Li et al. 2021).",
        {
            "cover_rate": 0.0,
            "likeness": 0.1,
            "foreign": 0.0,
            "bits": 20,
            "encoder_epochs": 20,
            "batch_size": 32,
            "lr": 1e-4,
            "secret_first": 0.1,
        },
    ),
    "lira": _Setting(
        "Noise of 0.1, then 0.01 in units of the normalized input, which are 0.025 and 0.0025 of "
        "1; the second is less than a byte can hold, so it is 0.004 here. Whole batches are "
        "triggered, noise network by Adam at 1e-4 (public code of Doan et al. 2021).",
        {"poison_rate": 1.0, "eps": 0.025, "eps_after": 0.004, "lr": 1e-4},
        short=15,
    ),
    "bppa": _Setting(
        "8 levels of color on 10 %, negatives on 10 % (BackdoorBench; the attack's own code has "
        "20 and 20 %).",
        {"levels": 8, "cover_rate": 0.1},
    ),
}


@dataclass(frozen=True)
class Preset:
    """A setting to start from. lanes: the defenses of its purification; sources: where each
    number is from.
    """

    name: str
    title: str
    scale: str
    spec: TrainSpec
    lanes: tuple[Choice, ...]
    num_clean: int
    sources: tuple[str, ...]

    def training(self, seed: int = 0) -> TrainSpec:
        """Raises SpecError where the attack no longer has an option that is set here."""
        return replace(self.spec, attack=normalize("attacks", self.spec.attack), seed=seed)

    def purification(self, parent: str, seed: int = 0) -> PurifySpec:
        """The purification of run `parent`, a training of this preset or of another kind."""
        lanes = tuple(normalize("defenses", lane) for lane in self.lanes)
        return PurifySpec(parent=parent, lanes=lanes, num_clean=self.num_clean, seed=seed)

    def matches(self, spec: TrainSpec) -> bool:
        """Whether a training has these settings, under whatever seed."""
        try:
            return self.spec.attack.name == spec.attack.name and self.training(spec.seed) == spec
        except SpecError:
            return False

    def to_json(self) -> dict[str, Any]:
        purify = self.purification("RUN").to_json()
        return {
            "name": self.name,
            "title": self.title,
            "scale": self.scale,
            "train": self.training().to_json(),
            "purify": purify,
            "sources": list(self.sources),
        }


def paper(name: str) -> Preset:
    """The paper's setting on CIFAR-10; `name` is one of `ATTACKS`."""
    setting, attack = ATTACKS[name], _plugin(name)
    rate = {} if attack == "none" else {"target": 0, "poison_rate": 0.1}
    spec = TrainSpec(
        data="cifar10",
        model="preact_resnet18",
        attack=Choice(attack, {**rate, **setting.options}),
        training=Training(num_images=45_000, epochs=250),
    )
    lanes = tuple(Choice(name, _budget(name)) for name in ("ngf", "ngf_as_released"))
    return _made("paper", name, spec, lanes, setting.source, *_TRAINING, *_PURIFICATION)


def gpu(name: str) -> Preset:
    """The paper's setting with fewer epochs, for about ten minutes on one GPU."""
    whole, short = paper(name), ATTACKS[name].short
    spec = replace(whole.spec, training=replace(whole.spec.training, epochs=short))
    # An image takes 1.1e9 operations forward, 3.3e9 with the way back; 30 epochs of 45,000 take
    # 4.5e15.
    return _made(
        "gpu",
        name,
        spec,
        whole.lanes,
        f"The paper's setting with {short} epochs instead of 250: ten minutes "
        "on a GPU that gets 7.5e12 operations a second done in float32.",
        *whole.sources,
    )


def laptop(name: str) -> Preset:
    """Built-in signs, the tiny network, and the defaults of the attack `name`, which are made
    for it.
    """
    return _made(
        "laptop",
        name,
        TrainSpec(attack=Choice(name)),
        (Choice("ngf"), Choice("sgd")),
        "Built-in traffic signs, a network of 78k parameters, 20 epochs of 10,000 images.",
        "The attack has its own defaults, which are made for this network; its page says what "
        "they change.",
        "Purification: NGF against fine-tuning by SGD, with their defaults, on 500 clean images.",
    )


def presets() -> dict[str, Preset]:
    """All presets by name, quick ones first; without those whose attack, data set or network
    is not there.
    """
    known = catalogue()
    attacks = sorted(known["attacks"], key=lambda name: (name not in _PLUGINS, name))
    made = [laptop(name) for name in attacks] + [
        make(name) for make in (gpu, paper) for name in ATTACKS
    ]
    return {
        preset.name: preset
        for preset in made
        if preset.spec.attack.name in known["attacks"]
        and preset.spec.data in known["data"]
        and preset.spec.model in known["models"]
        and {lane.name for lane in preset.lanes} <= set(known["defenses"])
    }


def preset(name: str) -> Preset:
    """The preset of that name. Raises SpecError with the allowed ones."""
    known = presets()
    if name not in known:
        raise SpecError(f"Unknown preset {name!r}. Allowed: {', '.join(known)}.")
    return known[name]


def with_papers_budget(lane: Choice) -> Choice:
    """A defense with the settings of its paper, under those of the lane.

    Raises SpecError, with those that have such settings, where none are known.
    """
    if not (budget := _budget(lane.name)):
        known = [name for name, about in catalogue()["defenses"].items() if "paper" in about]
        raise SpecError(
            f"No budget of a paper is known for {lane.name}. Known for: {', '.join(known)}."
        )
    return Choice(lane.name, {**budget, **lane.options})


def _budget(name: str) -> Mapping[str, Any]:
    """The settings that a defense has in its paper; none where none are known."""
    about = catalogue()["defenses"].get(name, {})
    found: Mapping[str, Any] = about.get("paper", {}).get("options", {})
    return found


def _plugin(name: str) -> str:
    """The plug-in of a setting: `input-aware-all` is a setting of `input_aware`."""
    return name.removesuffix("-all").replace("-", "_")


_PLUGINS = frozenset(map(_plugin, ATTACKS))


def _made(
    scale: str, name: str, spec: TrainSpec, lanes: tuple[Choice, ...], *sources: str
) -> Preset:
    title = catalogue()["attacks"].get(spec.attack.name, {}).get("title", name)
    way = ", all-to-all" if name.endswith("-all") else ""
    return Preset(
        f"{scale}-{name.replace('_', '-')}",
        f"{title}{way}: {SCALES[scale]}",
        scale,
        spec,
        lanes,
        500,
        sources,
    )


def preset_of(spec: TrainSpec) -> Preset | None:
    """The preset that a training has the settings of."""
    return next((found for found in presets().values() if found.matches(spec)), None)
