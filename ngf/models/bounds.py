"""Upper bounds on what modules of a network give: parts that a defense may add to it.

A bound is a buffer of a module, of the shape of what it gives for one image, and while it is there,
the module gives the smaller of the two, entry by entry. So bounds lie among the weights as
`<module>.bound` and go with them: into files, checkpoints, copies and exports. A network without
them has no such names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

import torch
from torch import Tensor, nn

BOUND = "bound"


def add_bounds(model: nn.Module, bounds: Mapping[str, Tensor]) -> None:
    """Bound what these modules give from now on; bounds that they have are replaced.

    bounds: by name of the module, (C, H, W), (T, C) or whatever it gives for one image.
    """
    for name, value in bounds.items():
        module = model.get_submodule(name)
        if BOUND not in dict(module.named_buffers(recurse=False)):
            module.register_forward_hook(_clip)
        module.register_buffer(BOUND, value.detach().clone())


def _clip(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    return torch.minimum(output, cast(Tensor, module.bound))


def bounds_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The bounds among weights, by name of the module."""
    end = f".{BOUND}"
    return {name.removesuffix(end): value for name, value in state.items() if name.endswith(end)}


def bounds_for(state: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """The bounds among weights that a network with tensors of these names lacks but could have."""
    return {
        module: value
        for module, value in bounds_of(state).items()
        if f"{module}.{BOUND}" not in names and any(n.startswith(f"{module}.") for n in names)
    }


def load_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """`load_state_dict` for weights that may have other bounds than the model: it gets those that
    it lacks, and where only the model has one, that clips nothing any more.
    """
    add_bounds(model, bounds_for(state, model.state_dict().keys()))
    free = {
        f"{module}.{BOUND}": torch.full_like(value, torch.finfo(value.dtype).max)
        for module, value in bounds_of(model.state_dict()).items()
        if f"{module}.{BOUND}" not in state
    }
    model.load_state_dict({**state, **free})
