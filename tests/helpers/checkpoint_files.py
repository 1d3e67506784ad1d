"""Checkpoints as strangers bring them, as bytes, and what opening them in this process gives."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from ngf.outside.checkpoint import Form, Limits
from ngf.outside.opening.look import Seen, look


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 4, 3),
            norm=nn.BatchNorm2d(4),
            head=nn.Sequential(OrderedDict(fc=nn.Linear(4, 10))),
        )
    )


def state() -> dict[str, Tensor]:
    return dict(network().state_dict())


def saved(made: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(made, file, **options)
    return file.getvalue()


def old(made: Any) -> bytes:
    return saved(made, _use_new_zipfile_serialization=False)


def seen(data: bytes, pick: str = "", limits: Limits | None = None) -> Seen:
    return look(io.BytesIO(data), len(data), pick, limits or Limits())


def tensors(found: Seen) -> dict[str, Tensor]:
    return dict(found.load())


def form(found: Seen) -> Form:
    return Form(found.container, found.path, found.prefix, found.dtypes)
