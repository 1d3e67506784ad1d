"""What a forward pass goes through: every pass through a module, and which operations take what it
gives. By this methods find their place in a network, instead of by the names of architectures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Pass:
    """What went into a module and out of it.

    node: of the graph, that made what left it; None without a graph. The tensor itself may be
        overwritten later, and then tells of another.
    """

    name: str
    module: nn.Module
    entering: Tensor
    leaving: Tensor
    node: Any


@contextmanager
def passes(modules: Mapping[str, nn.Module]) -> Iterator[list[Pass]]:
    """Every pass through one of these modules, in the order in which they end; what takes or gives
    anything but a tensor is left out.
    """
    found: list[Pass] = []

    def keep(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def hook(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            entering = inputs[0] if inputs else None
            if isinstance(entering, Tensor) and isinstance(output, Tensor):
                found.append(Pass(name, module, entering, output, output.grad_fn))

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield found
    finally:
        for handle in hooks:
            handle.remove()


def used_once(seen: list[Pass]) -> list[Pass]:
    """The passes through modules that are passed once."""
    names = [at.name for at in seen]
    return [at for at in seen if names.count(at.name) == 1]


def readers(logits: Tensor) -> dict[Any, list[Any]]:
    """For each node of the graph behind the logits, the nodes that take what it gives."""
    found: dict[Any, list[Any]] = {}
    seen, waiting = set(), [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for before, _ in node.next_functions:
            if before is not None:
                found.setdefault(before, []).append(node)
                waiting.append(before)
    return found
