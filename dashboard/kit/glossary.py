"""The terms of the field, each explained in a sentence, with its formula one click away."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st


class Term(NamedTuple):
    """One term.

    name: what it is called.
    sentence: what it means.
    formula: its definition in LaTeX; empty for none.
    """

    name: str
    sentence: str
    formula: str = ""


TERMS = {
    "ca": Term(
        "Clean accuracy (CA)",
        "Share of unmodified test images that get their true class. Higher is better.",
        r"\mathrm{CA} = \frac{1}{n}\sum_i [\,f(x_i) = y_i\,]",
    ),
    "asr": Term(
        "Attack success rate (ASR)",
        "Share of triggered test images, whose true class is not the target, that go to the target "
        "class. Lower is better.",
        r"\mathrm{ASR} = \frac{1}{m}\sum_{i:\,y_i \neq t} [\,f(T(x_i)) = t\,]",
    ),
    "ra": Term(
        "Robust accuracy (RA)",
        "Share of the same triggered images that still get their true class. Higher is better.",
        r"\mathrm{RA} = \frac{1}{m}\sum_{i:\,y_i \neq t} [\,f(T(x_i)) = y_i\,]",
    ),
    "der": Term(
        "Defense effectiveness rating (DER)",
        "One number for both: how much ASR fell, minus how much CA fell. 100 % is perfect, 50 % "
        "means nothing was gained.",
        r"\mathrm{DER} = \tfrac12\,[\max(0,\Delta\mathrm{ASR}) - \max(0,\Delta\mathrm{CA}) + 1]",
    ),
    "interval": Term(
        "[low–high]",
        "95 % Wilson interval: what the number could be if other test images had been drawn.",
        r"\frac{\hat p + \frac{z^2}{2n} \pm z\sqrt{\frac{\hat p(1-\hat p)}{n}+\frac{z^2}{4n^2}}}"
        r"{1+\frac{z^2}{n}},\quad z = 1.96",
    ),
    "trigger": Term("Trigger", "The change to an image that opens the backdoor."),
    "target": Term("Target", "The class that the attacker wants for triggered images."),
    "poison_rate": Term("Poison rate", "Share of the training images that the attacker changed."),
    "ngf": Term(
        "Natural-gradient fine-tuning (NGF)",
        "Fine-tuning on a few clean images whose steps are measured by how much the predictions "
        "change, not by how much the weights change.",
        r"\theta \leftarrow \theta - \eta\,(F + \lambda I)^{-1}\,\nabla L(\theta)",
    ),
    "fisher": Term(
        "Fisher trace, Tr(F)",
        "How strongly the model's predictions react to its weights, with labels drawn from the "
        "model itself.",
        r"\mathrm{Tr}(F) = \mathbb{E}_x\,\mathbb{E}_{y\sim p_\theta(\cdot|x)}"
        r"\lVert\nabla_\theta \log p_\theta(y|x)\rVert^2",
    ),
    "lambda_max": Term(
        "Largest Hessian eigenvalue, λmax",
        "How steeply the loss rises in the worst direction. It changes when weights are "
        "rescaled, even if the predictions do not.",
        r"\lambda_{\max} = \max_{\lVert v\rVert = 1} v^\top \nabla^2 L(\theta)\, v",
    ),
    "trace": Term(
        "Hessian trace, Tr(H)",
        "The sum of the curvatures in all directions.",
        r"\mathrm{Tr}(H) = \mathbb{E}_{z=\pm1}\, z^\top \nabla^2 L(\theta)\, z",
    ),
    "slice": Term(
        "Loss slice",
        "The loss while the weights walk away along one random direction, scaled filter by filter "
        "to the size of the weights.",
        r"L(\theta + \alpha\, d),\quad d_j \leftarrow \frac{d_j}{\lVert d_j\rVert}"
        r"\lVert\theta_j\rVert",
    ),
    "spectrum": Term(
        "Hessian spectrum",
        "How many directions have which curvature; estimated by stochastic Lanczos quadrature.",
    ),
    "outliers": Term(
        "Outliers of the spectrum",
        "Eigenvalues beyond the bulk. The bulk is taken to reach as far up as the most negative "
        "eigenvalue reaches down. Counted are those that are certain: Ritz values whose error "
        "intervals lie beyond that edge and do not overlap, so that there are at least so many.",
        r"\#\{\,i : \theta_i - r_i > |\lambda_{\min}|,\ \text{disjoint}\,\}",
    ),
    "filter_lambda_max": Term(
        "Largest eigenvalue, filter-normalized",
        "The same with every direction measured in lengths of the filters that it moves, so "
        "that rescaling a layer before BatchNorm does not change it.",
        r"\lambda_{\max}(D H D),\quad D = \mathrm{diag}(\lVert\theta_j\rVert)",
    ),
    "surface": Term(
        "Loss on a plane",
        "The loss at weights moved along two directions at once. Random directions are scaled "
        "filter by filter to the size of the weights and made orthogonal. The picture starts as a "
        "quadratic model and gets exact point by point.",
        r"L(\theta + a\, d_1 + b\, d_2)",
    ),
    "rescaling": Term(
        "Rescaling a layer before BatchNorm",
        "BatchNorm divides by the spread of what comes in, so a factor on the weights before it "
        "cancels. In those weights the Hessian is divided by the square of the factor.",
        r"f(x; a\,w) = f(x; w),\qquad H_{ww}(a\,w) = a^{-2} H_{ww}(w)",
    ),
    "line": Term(
        "Line between two models",
        "The loss at mixtures of the weights before and after; BatchNorm averages are mixed too.",
        r"L\big((1-t)\,\theta_{\text{before}} + t\,\theta_{\text{after}}\big)",
    ),
    "batchnorm": Term(
        "BatchNorm in eval mode",
        "Measurements use the stored averages of BatchNorm, so an image's loss does not depend "
        "on its neighbors.",
    ),
}
RATES = ("ca", "asr", "ra", "der", "interval")


def sentence(name: str) -> str:
    """What a term means."""
    return TERMS[name].sentence


def explain(*names: str, label: str = "What these numbers mean") -> None:
    """A popover with the sentences and formulas of these terms."""
    with st.popover(label, icon=":material/menu_book:"):
        for name in names:
            term = TERMS[name]
            st.markdown(f"**{term.name}.** {term.sentence}")
            if term.formula:
                st.latex(term.formula)
