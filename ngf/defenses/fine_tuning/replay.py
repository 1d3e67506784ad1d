"""One batch through a network several times, with only the tuned layers changed in between.

What runs before the first tuned layer gives the same each time, to the last bit. So its modules
are computed once, and hand out what they gave.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class _Output:
    """What a module gave, and which of the writes to it that was: a later one makes it worthless,
    and the module has to compute again.
    """

    value: Tensor
    version: int

    def intact(self) -> bool:
        return self.value._version == self.version


class Prefix:
    """The modules of `model` that run before any that has a parameter with requires_grad.

    A pass within `recorded()` keeps what they give; later ones on the same input, each within
    `replayed()`, take that instead of computing it. Only modules without children count; what is
    computed between them is computed again.
    """

    def __init__(self, model: nn.Module) -> None:
        self._leaves = [module for module in model.modules() if not any(module.children())]
        self._outputs: dict[nn.Module, list[_Output | None]] = {}

    @contextmanager
    def recorded(self) -> Iterator[None]:
        self._outputs, before_tuned = {}, True

        def keep(module: nn.Module, _inputs: object, output: object) -> None:
            nonlocal before_tuned
            if any(parameter.requires_grad for parameter in module.parameters()):
                before_tuned = False
            if before_tuned:
                known = _Output(output, output._version) if isinstance(output, Tensor) else None
                self._outputs.setdefault(module, []).append(known)

        hooks = [module.register_forward_hook(keep) for module in self._leaves]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def replayed(self) -> Iterator[None]:
        own = {module: module.__dict__.get("forward") for module in self._outputs}
        for module, outputs in self._outputs.items():
            module.forward = _handing_out(outputs, module.forward)
        try:
            yield
        finally:
            for module, forward in own.items():
                if forward is None:
                    del module.forward
                else:
                    module.forward = forward


def _handing_out(outputs: list[_Output | None], compute: Callable[..., Any]) -> Callable[..., Any]:
    """`compute`, but for its first calls, whose outputs are known."""
    left = deque(outputs)

    def forward(*inputs: Any, **more: Any) -> Any:
        known = left.popleft() if left else None
        return known.value if known and known.intact() else compute(*inputs, **more)

    return forward
