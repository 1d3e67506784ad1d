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

from analysis.model_under_test import FORWARD_CHUNK

CACHE_BYTES = 2**30  # of kept activations; beyond it the network runs as a whole

_IN_PLACE = {getattr(operator, name) for name in ("iadd", "isub", "imul", "itruediv", "setitem")}
# TraceError of torch.fx is a ValueError.
_UNTRACEABLE = (TypeError, ValueError, RuntimeError, AttributeError)


class PartialForward:
    """Forward passes of a network whose state may be set in place, where it is said to move.

    Arguments:
        model: in eval mode; it is copied, never changed.
        images: float (N, C, H, W) in [0, 1].
        moving: names in the state_dict that may change.

    Attributes:
        network: the copy.
        images: the same images, in the layout that the network is fastest in.
        head: name of the last linear layer if only that one moves, else None.
        features: (N, D), what goes into it; empty without a head.
    """

    def __init__(self, model: nn.Module, images: Tensor, moving: Collection[str]) -> None:
        self.network = copy.deepcopy(model)
        # On a CPU convolutions in float32 take half the time in this layout (measured on a small
        # ResNet).
        if images.device.type == "cpu" and images.dtype == torch.float32 and images.ndim == 4:
            self.network = self.network.to(memory_format=torch.channels_last)
            images = images.contiguous(memory_format=torch.channels_last)
        self.images = images
        self.head: str | None = None
        self.features = images.new_empty(0, 0)
        self._chunks = list(images.split(FORWARD_CHUNK))
        self._graph: fx.Graph | None = None
        self._kept: list[dict[fx.Node, Any]] = []
        self._split(set(moving))

    def twin(self) -> PartialForward:
        """One with the same kept values and weights of its own, for a thread of its own."""
        other = copy.copy(self)
        other.network = copy.deepcopy(self.network)
        return other

    @property
    def state(self) -> dict[str, Tensor]:
        """The tensors of the network itself, not copies."""
        return self.network.state_dict()

    def logits(self) -> Iterator[Tensor]:
        """(n, classes) for each chunk of images, at the present weights."""
        for index, chunk in enumerate(self._chunks):
            if self._graph is None:
                yield self.network(chunk)
            else:
                yield self._run(self._graph, self._kept[index])

    def _run(self, graph: fx.Graph, kept: dict[fx.Node, Any]) -> Any:
        # The interpreter drops values from its dictionary as it goes, hence the copy.
        return fx.Interpreter(self.network, graph=graph).run(initial_env=dict(kept))

    @torch.inference_mode()
    def _split(self, moving: set[str]) -> None:
        """Trace the network, keep the values where its moving part begins, and see that nothing
        else has changed.
        """
        try:
            graph = fx.Tracer().trace(self.network)
        except _UNTRACEABLE:
            return
        moved = _depends(self.network, graph, moving)
        if moved is None or len(moved) == len(graph.nodes):
            return
        still = [node for node in graph.nodes if node not in moved]
        edge = [node for node in still if any(user in moved for user in node.users)]
        kept, size = [], 0
        for chunk in self._chunks:
            values = _Keep(self.network, graph, edge).values(chunk)
            kept.append({node: values.get(node) for node in still})
            size += sum(v.nbytes for v in values.values() if isinstance(v, Tensor))
            if size > CACHE_BYTES:
                return
        wanted = self.network(self._chunks[0])
        # Twice, because a kept value that is overwritten shows in the second run only.
        if all(torch.equal(self._run(graph, kept[0]), wanted) for _ in range(2)):
            self._graph, self._kept = graph, kept
            self._find_head(moved)

    def _find_head(self, moved: set[fx.Node]) -> None:
        nodes = [node for node in moved if node.op != "output"]
        if len(nodes) != 1 or nodes[0].op != "call_module":
            return
        name, (entering, *_) = str(nodes[0].target), nodes[0].all_input_nodes
        features = [kept[entering] for kept in self._kept]
        if type(self.network.get_submodule(name)) is nn.Linear and features[0].ndim == 2:
            self.head, self.features = name, torch.cat(features)


class _Keep(fx.Interpreter):
    """Runs the whole graph and keeps the values of some nodes."""

    def __init__(self, network: nn.Module, graph: fx.Graph, nodes: list[fx.Node]) -> None:
        super().__init__(network, graph=graph)
        self._nodes = set(nodes)
        self._found: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self._nodes:
            self._found[n] = value
        return value

    def values(self, images: Tensor) -> dict[fx.Node, Any]:
        self.run(images)
        return self._found


def _depends(network: nn.Module, graph: fx.Graph, moving: set[str]) -> set[fx.Node] | None:
    """The nodes whose value depends on the moving state, and the output; None if a kept value would
    be overwritten.
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
        return bool(getattr(network.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        return (
            node.target in _IN_PLACE
            or bool(node.kwargs.get("inplace"))
            or "out" in node.kwargs
            or (name.endswith("_") and not name.endswith("__"))
        )
    name = str(node.target)
    return node.op == "call_method" and name.endswith("_") and not name.endswith("__")
