"""The weights that a purification starts from: its parent's, or those of a step of another one."""

from __future__ import annotations

import torch
from torch import nn

from ngf.checkpoints.waypoints import waypoint
from ngf.checkpoints.weights import WeightsError, load_model
from ngf.config import PurifySpec
from ngf.models.bounds import load_state
from ngf.runs.folder import waypoints
from ngf.runs.store import PurifyRun, Store


def model_at_start(store: Store, spec: PurifySpec, device: torch.device | str = "cpu") -> nn.Module:
    """The model before the first step, in eval mode; that of a fork is, to the last bit, what the
    purification that it was forked from had after that step.

    Raises what `load_model` raises, and WeightsError where the weights of that step are gone.
    """
    fork = spec.fork()
    if fork is None:
        return load_model(store, spec.parent, device).model
    source = store.get(fork.run)
    if not isinstance(source, PurifyRun):
        raise WeightsError(f"{source.id} is no purification, so nothing was forked from it.")
    model = model_at_start(store, source.spec, device)
    folder = source.path / waypoints(fork.lane)
    load_state(model, waypoint(folder, fork.step, 0, model.state_dict()).state)
    return model.eval()
