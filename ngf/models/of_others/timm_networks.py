"""Networks of timm (Wightman 2019, github.com/huggingface/pytorch-image-models), which need not be
installed: it is imported where weights need it, and not before.

Which of its 1,371 networks some weights are of is looked up by a digest of their names, which
neither the number of classes nor that of channels changes. The digests are in a file that ships (of
timm 1.0.31, by `ngf.models.of_others.timm_digests`), so weights of timm are known as such without
it. At most 18 networks share their names; those alone are built, without numbers, to compare
shapes.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ngf.models.of_others.known import Known, out_of_place
from ngf.options import Explained, SpecError

PREFIX = "timm."  # of the names of its networks here
VERSIONS = "timm>=1.0,<2"
INSTALL = f'pip install "{VERSIONS}"'
_DIGESTS = Path(__file__).with_name("timm_digests.tsv")
_COUNTS = "num_batches_tracked"  # old files lack them
_SIDE = 224


class NoTimm(Explained, SpecError):
    """A network of timm where timm, or that network of it, is not installed."""

    kind = "bad_checkpoint"
    advice = "Then try again."


def is_installed() -> bool:
    return importlib.util.find_spec("timm") is not None


def package(name: str) -> Any:
    """The package. Raises NoTimm, with the name of the network that needs it."""
    if not is_installed():
        raise NoTimm(f"{name} is a network of timm, which is not installed. Install it: {INSTALL}.")
    import timm

    if not timm.is_model(name.removeprefix(PREFIX)):
        raise NoTimm(
            f"timm {timm.__version__}, which is installed, has no network "
            f"{name.removeprefix(PREFIX)!r}. Install another one: {INSTALL}."
        )
    return timm


def known(name: str) -> Known:
    """The network `name`, such as `timm.resnet26d`. Raises NoTimm."""
    config = _config(name)
    first = _first(config.first_conv) if config else ""
    return Known(
        f"{name.removeprefix(PREFIX)} of timm",
        partial(build, name),
        f"{first}.weight",
        config.input_size[-1] if config else _SIDE,
    )


def _config(name: str) -> Any:
    """What timm says of a network: its input, its first and last layer; None where it does not."""
    own = name.removeprefix(PREFIX)
    return package(name).models.get_pretrained_cfg(own, allow_unregistered=True)


def _first(names: str | tuple[str, ...] | None) -> str:
    """Of several layers, as of a network with two heads, the first one."""
    return names if isinstance(names, str) else (names or ("",))[0]


def build(name: str, num_classes: int, in_channels: int) -> nn.Module:
    timm = package(name)
    # fused attention has no second derivatives, which measurements of curvature take
    timm.layers.set_fused_attn(False)
    more = {} if in_channels == 3 else {"in_chans": in_channels}
    own = name.removeprefix(PREFIX)
    return out_of_place(timm.create_model(own, pretrained=False, num_classes=num_classes, **more))


def ends(name: str, tensors: Mapping[str, Tensor]) -> tuple[int, int, str]:
    """How many classes and channels these weights have if they are of the network `name`, and the
    name of its last layer. What the weights lack is as in timm's own. Raises NoTimm.
    """
    config = _config(name)
    if config is None:
        return 1000, 3, ""
    last, first = _first(config.classifier), _first(config.first_conv)
    head, stem = tensors.get(f"{last}.weight"), tensors.get(f"{first}.weight")
    classes = config.num_classes if head is None else len(head)
    return classes, 3 if stem is None or stem.ndim != 4 else stem.shape[1], last


def digest(names: Iterable[str]) -> str:
    """Of the names of weights, in any order."""
    kept = sorted(name for name in names if not name.endswith(_COUNTS))
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()[:12]


@cache
def _digests() -> dict[str, list[str]]:
    lines = _DIGESTS.read_text(encoding="utf-8").splitlines()
    return {key: names.split(" ") for key, _, names in (line.partition("\t") for line in lines)}


def called_like(names: Iterable[str]) -> list[str]:
    """The networks of timm whose weights have these names, as `timm.resnet26d`; the plainest name
    first.
    """
    found = _digests().get(digest(names), [])
    return [PREFIX + name for name in sorted(found, key=lambda name: (len(name), name))]


def is_name(name: str) -> bool:
    """Whether timm has a network of this name, without its prefix here."""
    return any(name in names for names in _digests().values())
