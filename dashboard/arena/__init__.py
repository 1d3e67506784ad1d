"""Arena: every defense against every attack under one protocol, measured beforehand."""

from dashboard.kit.pages import Page, Param

VIEWS = {
    "map": "Every cell",
    "ranks": "Who is ahead",
    "cost": "What it costs",
    "parts": "NGF, part by part",
    "strength": "How far to go",
    "images": "Fewer images",
    "published": "Published figures",
}
SORTS = {"family": "by kind", "least": "least ASR left first", "cost": "least CA lost first"}

PAGE = Page(
    title="Arena",
    icon=":material/stadium:",
    order=4,
    about="Every defense against every attack, under one protocol: which one should I use?",
    parameters={
        "view": Param("map", choices=tuple(VIEWS)),
        "show": Param(
            "asr",
            choices=(
                "asr",
                "asr_reactivated",
                "ca_lost",
                "ra",
                "der",
                "seconds",
                "sharpness",
            ),
        ),
        "sort": Param("family", choices=tuple(SORTS)),
        "attack": Param(pattern=r"\w+"),
        "method": Param(pattern=r"\w+"),
        "num_clean": Param(500, ge=10, le=100_000),
        "seconds": Param(60, ge=1, le=100_000),
        "loss": Param(15, ge=0, le=1000),  # tenths of a point of clean accuracy
    },
)
