"""Lab: choose a model and defenses, race them live; or train a model of your own."""

from dashboard.kit.pages import RUN, SEED, Page, Param

PAGE = Page(
    title="Lab",
    icon=":material/science:",
    order=2,
    about="Choose an attack and a model, press Start, and watch the race run on this machine.",
    parameters={
        "view": Param("purify", choices=("purify", "train")),
        "data": Param(),
        "attack": Param(),
        "seed": SEED,
        "model": RUN,
        "lane": Param((), pattern=r"[\w.\-:=, ]+", many=True),
        "num_clean": Param(500, ge=10, le=5000),
        "race_seed": SEED,
        "choosing": Param("within", choices=("within", "fivefold", "reserved")),
        "run": RUN,
        "ghost": RUN,
        "fork": Param(pattern=r"[a-z0-9\-]+:[\w\-]+@\d+"),
    },
)
