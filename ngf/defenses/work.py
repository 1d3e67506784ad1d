"""How much a defense computes whose steps are not all alike, told by its class attribute `phases`.

The unit of work is one batch of images through the network: a forward pass is 1, a way back 2. What
else a step does, such as a generator of its own, is not counted. Formulas are text, so that whoever
estimates a time needs no torch: they know the options by name, `batch_size` no larger than the
clean images are many, `clean` and `classes` (how many there are of each), and `ceil`, `min` and
`round`.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: Mapping[str, Callable[..., float]] = {"ceil": math.ceil, "min": min, "round": round}


@dataclass(frozen=True)
class Phase:
    """Steps of one kind.

    name: what their events call `phase`; "" where they have none.
    steps: a formula for how many there are, at most.
    work: a formula for what one takes.
    """

    name: str
    steps: str
    work: str


def value_of(formula: str, names: Mapping[str, Any]) -> float:
    """The value of a formula. Raises ValueError for what it does not know."""
    return _value(ast.parse(formula, mode="eval").body, names)


def _value(node: ast.expr, names: Mapping[str, Any]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in names:
            return float(names[name])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.Call(func=ast.Name(id=name), args=args) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_value(part, names) for part in args))
    raise ValueError(f"{ast.unparse(node)} is not known in a formula of work.")


def known(options: Mapping[str, Any], num_clean: int, num_classes: int) -> dict[str, Any]:
    """What formulas know by name."""
    size = min(options.get("batch_size", num_clean), num_clean)
    return {**options, "batch_size": size, "clean": num_clean, "classes": num_classes}
