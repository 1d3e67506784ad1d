"""How far a defense goes: its strength (a learning rate, a radius) where the user has given none.

**The rule**, the same for every method: the largest strength whose purified model loses at most one
point of accuracy on clean images that it was not made from (see `ngf.defenses.judging`), because a
defender wants to get as far away from the suspicious weights as clean accuracy allows.

Strengths are tried in half decades: from a usual one up by decades while they are harmless,
or down until one is, and at last the one between the largest harmless and the smallest harmful
decade. That takes harm to grow with the strength, which holds up to the noise of a judgment, and
finds it with about three purifications wherever it lies; a list would end somewhere, and a rule
that takes the end of a list has not found what it looked for. Where every strength harms, the one
that harms least is taken: not the smallest, since a method that draws the classifier anew harms
most where it cannot learn it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import fields, replace
from functools import partial
from typing import Any, cast

from torch import nn

from ngf.defenses.contract import Choosing, Defense, Problem
from ngf.defenses.fine_tuning.options import STRENGTHS
from ngf.defenses.judging import Judge, keeps
from ngf.finite import Diverged

TOLERATED_DROP = 0.01  # of clean accuracy: "one point" above
# Decades below and above the usual strength that are tried at most: where a step a thousand times
# shorter still harms, something else does (BatchNorm's statistics follow the clean images at any
# rate); where one a million times longer does not, the rate is not what sets its length.
_DECADES_DOWN, _DECADES_UP = 3, 6


def choose(
    name: str,
    problem: Problem,
    purified: Callable[[float, Problem], nn.Module],
    *,
    usual: float,
    highest: float,
    where: str = "",
) -> Generator[Choosing, None, tuple[float, str]]:
    """The strength that the rule picks, and the reason in one sentence, with those that diverged;
    tells each before it is tried. Raises Diverged when all do.

    name: of the option, one of STRENGTHS.
    purified: makes of a strength and a part of the problem the model after the whole method.
    usual: what is tried first.
    highest: no larger one is tried.
    where: for messages, ` on layer1`.
    """
    judge, out, tried = Judge(problem), list[float](), list[float]()
    rule = largest_harmless(judge.start, usual, highest)
    strength = next(rule)
    while True:
        tried.append(strength)
        yield Choosing(name, strength, len(tried))
        try:
            kept = judge.after(partial(purified, strength), TOLERATED_DROP)
        except Diverged:
            kept = None
            out.append(strength)
        try:
            strength = rule.send(kept)
        except StopIteration as end:
            chosen, best = end.value
            break
    if best is None:
        raise Diverged(
            f"Every {STRENGTHS[name]} that was tried diverges{where}",
            0,
            advice=f"Start a new run with a {STRENGTHS[name]} of your own, below "
            f"{min(out):g}, with fewer steps, or on another layer.",
        )
    why = _why(chosen, best, STRENGTHS[name], judge, tried)
    return chosen, f"{why} Diverged and left out: {_listed(out)}." if out else why


def of_option(
    defense: Defense, problem: Problem, name: str, usual: float
) -> Generator[Choosing, None, tuple[float, str]]:
    """`choose` for a defense whose option `name` is its strength, with all else as it is."""

    def purified(strength: float, part: Problem) -> nn.Module:
        purification = replace(cast(Any, defense), **{name: strength}).purify(part)
        for _event in purification:
            pass
        return cast(nn.Module, purification.model)

    return (yield from choose(name, problem, purified, usual=usual, highest=highest(defense, name)))


def _why(lr: float, kept: float, name: str, judge: Judge, tried: list[float]) -> str:
    """The reason for a rate, which is called `name`, in a sentence."""
    if is_harmless(kept, judge.start):
        last = (
            " Nothing larger was tried, so this may not be its limit." if lr == max(tried) else ""
        )
        return (
            f"{lr:g} is the largest {name} tried that keeps clean accuracy within one point "
            f"({judge.start:.1%} before, {kept:.1%} after, {judge.words}; "
            f"tried: {_listed(tried)}).{last}"
        )
    return (
        f"No {name} that was tried keeps clean accuracy within one point ({judge.words}; tried: "
        f"{_listed(tried)}); {lr:g} keeps most of it."
    )


def _listed(rates: Iterable[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)


def highest(defense: Defense, name: str) -> float:
    """The largest value that an option lets through."""
    (about,) = (item.metadata for item in fields(cast(Any, defense)) if item.name == name)
    return math.inf if about.get("le") is None else float(about["le"])


def half_decade(usual: float, k: int) -> float:
    """The k-th rate above (below where k < 0) the usual one, in half decades, to one digit."""
    return float(f"{usual * 10 ** (k / 2):.0e}")


def largest_harmless(
    start: float, usual: float, highest: float
) -> Generator[float, float | None, tuple[float, float | None]]:
    """The rule: gives the rates to try, one after another, and is sent clean accuracy after tuning
    at each, None where that diverged.

    It ends with the largest harmless rate of a series that ends far from what is usual, and clean
    accuracy after it; where none is harmless with the one after which most of it is left, the
    smallest of equals, and None where each diverged.

    start: clean accuracy before.
    usual: the rate to begin with.
    highest: no larger one is tried.
    """
    found: dict[int, float | None] = {}

    def harmless(k: int) -> Generator[float, float | None, bool]:
        if half_decade(usual, k) > highest:
            return False
        found[k] = kept = yield half_decade(usual, k)
        return kept is not None and is_harmless(kept, start)

    best = 0
    if (yield from harmless(0)):
        while best < 2 * _DECADES_UP and (yield from harmless(best + 2)):
            best += 2
    else:
        best, k = 1, -2
        while best == 1 and k >= -2 * _DECADES_DOWN:
            if (yield from harmless(k)):
                best = k
            k -= 2
    if best == 1:  # none
        sound = {k: kept for k, kept in sorted(found.items()) if kept is not None}
        best = max(sound, key=sound.__getitem__) if sound else min(found)
    elif (yield from harmless(best + 1)):
        best += 1
    return half_decade(usual, best), found[best]


def is_harmless(validation: float, start: float) -> bool:
    """Whether a purification keeps clean validation accuracy as the rule wants it."""
    return keeps(validation, start, TOLERATED_DROP)
