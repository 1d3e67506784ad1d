"""What a distance along an eigenvector is. No torch."""

from __future__ import annotations

from typing import Any

from ngf.options import option

DISTANCES = ("rise", "length")
RISE = "1 where the quadratic model rises by 1 nat, d where by d^2"
LENGTH = "length in the weights"
# sqrt(sum over filters of (change of the filter / its own length)^2)
FILTER_LENGTH = "relative to the filters"


def distance_option() -> Any:
    """The option of a measurement that walks along eigenvectors."""
    return option(
        "rise",
        "What 1 along an eigenvector is: a predicted rise by 1 nat, or a length (for the "
        "filter-scaled Hessian relative to the filters), which shows the steeper of two models as "
        "steeper.",
        choices=DISTANCES,
    )


def unit(filters: bool, distance: str) -> str:
    """In words.

    filters: whether the eigenvector is one of the filter-scaled Hessian.
    distance: of `DISTANCES`.
    """
    if distance == "rise":
        return RISE
    return FILTER_LENGTH if filters else LENGTH
