"""A network on the same images again and again, while only some of its weights move.

What does not depend on the moving weights is computed once: the network is traced (torch.fx), and
the values where the moving part begins are kept for each chunk of images. A network that cannot be
traced, or whose trace does not give its own numbers to the last bit, runs as a whole.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

CHUNK = 128  # images in one forward pass; bounds memory
CACHE_BYTES = 2**30  # of kept activations; beyond it the network runs as a whole

_IN_PLACE = {getattr(operator, name) for name in ("iadd", "isub", "imul", "itruediv", "setitem")}
_UNTRACEABLE = (
    fx.proxy.TraceError,
    TypeError,
    ValueError,
    RuntimeError,
    AttributeError,
    NotImplementedError,
)


class Replay:
    """`network` is a copy of `model` whose state may be set in place: only what `moving` names may
    change.

    model: in eval mode; images: float (N, C, H, W); moving: names in the state_dict. head: the last
    Linear layer if only that one moves, and features (N, D), what goes into it; else None.
    num_kept: operations whose result is kept, 0 if the network runs as a whole.
    """

    def __init__(self, model: nn.Module, images: Tensor, moving: Collection[str]) -> None:
        self.network = copy.deepcopy(model)
        # On a CPU convolutions in float32 take half the time in this layout (measured on a small
        # ResNet).
        if images.device.type == "cpu" and images.dtype == torch.float32 and images.ndim == 4:
            self.network = self.network.to(memory_format=torch.channels_last)
            images = images.contiguous(memory_format=torch.channels_last)
        self.images = images
        self._chunks = list(images.split(CHUNK))
        self._graph, self._kept, self.num_kept = None, [], 0
        self.head, self.features = None, None
        self._split(set(moving))

    def twin(self) -> Replay:
        """Another one with weights of its own, for a thread of its own, and the same kept
        values.
        """
        other = copy.copy(self)
        other.network = copy.deepcopy(self.network)
        return other

    @property
    def state(self) -> dict[str, Tensor]:
        """The tensors of the network itself, not copies."""
        return self.network.state_dict()

    def logits(self) -> Iterator[Tensor]:
        """(n, classes) for each chunk of images, at the weights of now."""
        for index, chunk in enumerate(self._chunks):
            if self._graph is None:
                yield self.network(chunk)
            else:
                yield self._run(dict(self._kept[index]))

    def _run(self, known: dict[fx.Node, Any], *images: Tensor) -> Any:
        return fx.Interpreter(self.network, graph=self._graph).run(*images, initial_env=known)

    @torch.inference_mode()
    def _split(self, moving: set[str]) -> None:
        """Trace the network, keep the values where its moving part begins, and see that
        nothing else changed.
        """
        try:
            graph = fx.Tracer().trace(self.network)
        except _UNTRACEABLE:
            return
        moved = _depends(self.network, graph, moving)
        if moved is None or len(moved) == len(graph.nodes):
            return
        edge = [
            node
            for node in graph.nodes
            if node not in moved and any(user in moved for user in node.users)
        ]
        self._graph = graph
        size = 0
        for chunk in self._chunks:
            values = _Keep(self.network, graph, edge).values(chunk)
            self._kept.append({node: values.get(node) for node in graph.nodes if node not in moved})
            size += sum(
                v.numel() * v.element_size() for v in values.values() if isinstance(v, Tensor)
            )
            if size > CACHE_BYTES:
                break
        first = self._chunks[0]
        wanted = self.network(first)
        if size > CACHE_BYTES or not all(
            torch.equal(self._run(dict(self._kept[0])), wanted) for _ in range(2)
        ):
            self._graph, self._kept = None, []
            return
        self.num_kept = len(graph.nodes) - len(moved)
        self._find_head(moved)

    def _find_head(self, moved: set[fx.Node]) -> None:
        nodes = [node for node in moved if node.op != "output"]
        if len(nodes) != 1 or nodes[0].op != "call_module":
            return
        module = self.network.get_submodule(nodes[0].target)
        features = [kept[nodes[0].args[0]] for kept in self._kept]
        if type(module) is nn.Linear and features[0].ndim == 2:
            self.head, self.features = nodes[0].target, torch.cat(features)


class _Keep(fx.Interpreter):
    """Runs the whole graph and keeps the values of some nodes."""

    def __init__(self, network: nn.Module, graph: fx.Graph, nodes: list[fx.Node]) -> None:
        super().__init__(network, graph=graph)
        self._nodes, self._found = set(nodes), {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self._nodes:
            self._found[n] = value
        return value

    def values(self, images: Tensor) -> dict[fx.Node, Any]:
        self.run(images)
        return self._found


def _depends(network: nn.Module, graph: fx.Graph, moving: set[str]) -> set[fx.Node] | None:
    """The nodes whose value depends on the moving state and the output; None if a kept value
    would be overwritten.
    """
    moved: set[fx.Node] = set()
    for node in graph.nodes:
        own = node.op in ("call_module", "get_attr") and any(
            name == node.target or name.startswith(f"{node.target}.") for name in moving
        )
        if own or node.op == "output" or any(source in moved for source in node.all_input_nodes):
            moved.add(node)
        if _writes(node, network):
            source = node.all_input_nodes[0]
            if len(source.users) > 1 or (node in moved and source not in moved):
                return None
    return moved


def _writes(node: fx.Node, network: nn.Module) -> bool:
    """Whether the operation may overwrite its first input."""
    if node.op == "call_module":
        return bool(getattr(network.get_submodule(node.target), "inplace", False))
    if node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        return (
            node.target in _IN_PLACE
            or bool(node.kwargs.get("inplace"))
            or "out" in node.kwargs
            or (name.endswith("_") and not name.endswith("__"))
        )
    return node.op == "call_method" and node.target.endswith("_") and not node.target.endswith("__")
