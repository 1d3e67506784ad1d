"""Which normalization takes what a convolution gives, by what flows through a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ngf.models.layers import _listening, flow


def norms_behind_convolutions(
    model: nn.Module, images: Tensor
) -> tuple[dict[str, str], dict[str, str]]:
    """The BatchNorm that each convolution's outputs enter, with nothing in between: name of the
    convolution -> name of the BatchNorm, in the order of a forward pass; and for the convolutions
    without one the reason, a part of a sentence.

    Two layers that merely follow each other in a list of modules are no pair: in a pre-activation
    block the second BatchNorm of the list normalizes what the *first* convolution gives, and the
    outputs of the second convolution are added to others before any BatchNorm takes them.

    images: float (N, C, H, W) in [0, 1]; two are enough. The model is left as it was.
    """
    found = flow(model, images)
    with _listening(model) as passes, torch.enable_grad():
        model(images)
    kinds = dict(model.named_modules())
    # A tensor counts as the same while nothing has written into it. Of a layer that is used twice
    # there are two passes; `flow` has left it out.
    leaving = {
        (id(seen.leaving), seen.written[1]): seen.name
        for seen in passes
        if isinstance(kinds[seen.name], nn.Conv2d)
    }
    behind: dict[str, list[str]] = {}
    for seen in passes:
        before = leaving.get((id(seen.entering), seen.written[0]))
        if before is not None and isinstance(kinds[seen.name], _BatchNorm):
            behind.setdefault(before, []).append(seen.name)
    pairs: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for name in dict.fromkeys(seen.name for seen in passes):
        if not isinstance(kinds[name], nn.Conv2d):
            continue
        usable = [norm for norm in behind.get(name, ()) if norm in found.usable]
        if name in found.left_out:
            reasons[name] = found.left_out[name]
        elif len(usable) == 1:
            pairs[name] = usable[0]
        elif usable:
            reasons[name] = "several BatchNorms take its outputs"
        else:
            reasons[name] = "its outputs enter no BatchNorm directly"
    return pairs, reasons
