"""Geometry: the minimum of each model, on the same images and the same axes."""

from analysis.asking import PLANES, WALKS
from analysis.image_kinds import KINDS
from dashboard.kit.pages import RUN, SEED, Page, Param

PAGE = Page(
    title="Geometry",
    icon=":material/landscape:",
    order=5,
    about="See the minimum before and after: loss slices, curvature, Fisher information.",
    parameters={
        "run": RUN,
        "lane": Param(),
        "images": Param("clean", choices=tuple(KINDS)),
        "seed": SEED,
        "benign": Param(1, ge=0, le=1),
        "overlaid": Param(0, ge=0, le=1),
        "walk": Param("steepest", choices=tuple(WALKS)),
        "plane": Param("models", choices=tuple(PLANES)),
        "cells": Param(21, ge=21, le=81),
        "view": Param("contour", choices=("contour", "surface")),
        "log": Param(1, ge=0, le=1),
        "matrix": Param("hessian", choices=("hessian", "fisher")),
        "way": Param("line", choices=("line", "bend")),
    },
)
