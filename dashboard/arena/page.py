"""Arena: every defense against every attack, measured beforehand; which one should I use?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from dashboard.arena import SORTS, VIEWS
from dashboard.arena.advice import Means, advice, complete
from dashboard.arena.cell import caption, show_cell
from dashboard.arena.published import show_published
from dashboard.charts.arena_cost import cost_chart
from dashboard.charts.arena_heat import QUANTITIES, attacks_of, heat_chart
from dashboard.charts.arena_images import CLEAN, POISONED, Axis, images_chart
from dashboard.charts.arena_images import QUANTITIES as OVER_IMAGES
from dashboard.charts.arena_parts import parts_chart
from dashboard.charts.arena_ranks import rank_chart
from dashboard.charts.arena_strength import strength_chart
from dashboard.charts.arena_titles import arena_title
from dashboard.components.live_chart import preload
from dashboard.kit import glossary, library, url
from dashboard.kit.evidence import evidence
from dashboard.kit.show import show

_ROW = 26  # pixels of a row of the map
_HEAD = 118  # pixels above and below its rows
LINES = 6  # methods over a number of images, at most: more lines are not told apart
FIRST = ("ft", "fst", "ngf", "ngf_strong", "anp", "i_bau")  # those that are drawn at first
Row = Mapping[str, Any]
Found = Mapping[str, Any]


def in_order(found: Found, sort: str) -> list[str]:
    """The methods of the map: as in the table, or by their means over attacks."""
    rows = [row for row in found["methods"] if row["asr"] is not None]
    if sort == "family":
        return [row["method"] for row in rows]
    key = "asr" if sort == "least" else "ca_lost"
    return [row["method"] for row in sorted(rows, key=lambda row: row[key])]


def pick(names: Sequence[str], attacks: Sequence[str], row: int, column: int) -> None:
    """Open the cell that was clicked."""
    if 0 <= row < len(names) and 0 <= column < len(attacks):
        st.session_state["arena.method"] = names[row]
        st.session_state["arena.attack"] = attacks[column]


def show_map(found: Found) -> dict[str, Any]:
    """The map and the cell that is open. Returns what the address says of them."""
    what = st.segmented_control(
        "Cells show",
        list(QUANTITIES),
        format_func=lambda name: QUANTITIES[name].title,
        key="arena.show",
        required=True,
    )
    assert what
    sort = st.selectbox(
        "Methods", list(SORTS), format_func=SORTS.__getitem__, key="arena.sort", width=320
    )
    names, attacks = in_order(found, sort), attacks_of(found["cells"])
    methods = found["about"]["methods"]
    st.caption(f"{QUANTITIES[what].about} ± marks a cell whose models differ: some lose the "
               "backdoor, others keep it. Click a cell to open it.")  # fmt: skip
    show(
        heat_chart(found["cells"], names, attacks, what, methods, found["taught"]),
        "arena.map",
        name="every defense against every attack",
        height=_HEAD + _ROW * (len(names) + (what == "asr_reactivated")),
        pick=partial(pick, names, attacks),
    )
    st.caption(caption(found["about"]))
    attack, method = show_cell(found, names, attacks)
    asked = show_advice(found)
    return {"show": what, "sort": sort, "attack": attack, "method": method, **asked}


def show_ranks(found: Found) -> dict[str, str]:
    st.markdown(
        "For each attack the methods are ranked by the mean attack success rate that its models "
        "keep. The line is a 95 % interval: what the mean rank could be with other attacks of the "
        "same kinds."
    )
    ranked = [row for row in found["methods"] if row["rank"] is not None]
    chart = rank_chart(found["methods"], found["about"]["methods"])
    show(chart, "arena.ranks", name="mean ranks", height=90 + _ROW * len(ranked))
    if rows := [row for row in found["methods"] if row["more"] is not None]:
        st.markdown("**Against NGF on all layers**, on the same models and clean images:")
        st.dataframe([_against(row, found) for row in rows], hide_index=True, width="stretch")
        st.caption(
            "Difference of the attack success rate left, in points, with its 95 % interval over "
            "attacks and models; Holm's p over all methods of the table."
        )
    st.caption(caption(found["about"]))
    return {}


def _against(row: Row, found: Found) -> dict[str, Any]:
    return {
        "Method": arena_title(row["method"], found["about"]["methods"]),
        "Leaves more by (points)": round(100 * row["more"], 1),
        "95 % from": round(100 * row["more_low"], 1),
        "95 % to": round(100 * row["more_high"], 1),
        "Holm's p": row["more_p"],
        "Attacks": row["attacks"],
        "Models": row["models"],
    }


def show_cost(found: Found) -> dict[str, str]:
    st.markdown(
        "Each large mark is a method, the mean over attacks; small ones are models. Further left "
        "is a backdoor better removed, further down is a network less harmed."
    )
    rows = complete(found["methods"])
    chart = cost_chart(rows, found["models"], found["about"]["methods"])
    show(chart, "arena.cost", name="cost against effect", height=460)
    benign = [row for row in rows if row["benign_ca_lost"] is not None]
    if benign:
        most = max(benign, key=lambda row: row["benign_ca_lost"])
        least = min(benign, key=lambda row: row["benign_ca_lost"])
        methods = found["about"]["methods"]
        st.markdown(
            "On benign networks, where there is nothing to remove, the methods cost between "
            f"{100 * least['benign_ca_lost']:.1f} ({arena_title(least['method'], methods)}) and "
            f"{100 * most['benign_ca_lost']:.1f} points "
            f"({arena_title(most['method'], methods)}) of clean accuracy."
        )
    st.caption(caption(found["about"]))
    return {}


def show_parts(found: Found) -> dict[str, str]:
    if not found["parts"]:
        st.info("The parts of NGF are not measured yet.", icon=":material/inbox:")
        return {}
    st.markdown(
        "NGF is made of parts: which layers, which direction, how long a step, which images, a "
        "regularizer. Each row compares two methods that differ in one of them, on the same "
        "models and clean images; the line is a 95 % interval over attacks and models."
    )
    show(
        parts_chart(found["parts"]),
        "arena.parts",
        name="parts of NGF",
        height=110 + 2 * _ROW * len(found["parts"]),
    )
    st.caption(caption(found["about"]))
    return {}


def show_images(found: Found) -> dict[str, str]:
    few = found["about"]["some"]
    st.subheader("Clean images of the defender")
    _show_axis(
        found,
        "images",
        CLEAN,
        f"Means over one model each of {len(few)} attacks: {', '.join(few)}. "
        f"{found['about']['num_clean']} are what all else on this page has.",
    )
    st.subheader("Poisoned images of the attacker")
    attack = library.title("attacks", found["about"]["rates_attack"])
    _show_axis(
        found,
        "rates",
        POISONED,
        f"One model of {attack} for each rate, {found['about']['num_clean']} clean images.",
    )
    return {}


def _show_axis(found: Found, name: str, axis: Axis, said: str) -> None:
    """What is left and lost along an axis, by methods to choose. name: of the table."""
    if not found[name]:
        st.info("This is not measured yet.", icon=":material/inbox:")
        return
    methods = found["about"]["methods"]
    known = list(dict.fromkeys(row["method"] for row in found[name]))
    usual = [method for method in FIRST if method in known]
    names = st.multiselect(
        "Methods",
        known,
        default=usual or known[:LINES],
        max_selections=LINES,
        format_func=lambda method: arena_title(method, methods),
        key=f"arena.lines.{name}",
    )
    for column, what in zip(st.columns(2), OVER_IMAGES, strict=True):
        with column:
            show(
                images_chart(found[name], names, what, methods, axis),
                f"arena.{name}.{what}",
                name=f"{axis.column} and {OVER_IMAGES[what]}",
                height=380,
            )
    st.caption(said)


def show_strength(found: Found) -> dict[str, str]:
    rows = found["strengths"]
    if not rows:
        st.info("Strengths are not measured yet.", icon=":material/inbox:")
        return {}
    few = found["about"]["some"]
    st.markdown(
        "Every method has something that says how far it goes: a learning rate, a radius, a "
        "threshold. **The rule**, the same for all, takes the largest that keeps accuracy within "
        "one point on clean images that the method has not seen, by the defender's own "
        f"{found['about']['num_clean']}. **The oracle** (hollow) is no defender: of all strengths "
        "that were tried it takes the one that leaves least within one point of test accuracy. "
        "It shows what a method could do, and is in no mean and no rank. The bar is the default, "
        "which all else on this page has."
    )
    show(
        strength_chart(rows, found["about"]["methods"]),
        "arena.strength",
        name="strength by default, by rule and by an oracle",
        height=110 + _ROW * len(rows),
    )
    most = max(row["models"] for row in rows)
    st.caption(
        f"Means over up to {most} of {len(few)} models, one each of {', '.join(few)}; what prunes, "
        "masks or bounds applies the rule by default, and its circle lies on its bar."
    )
    return {}


def show_advice(found: Found) -> dict[str, int]:
    """The question that most bring, and its answer from the table."""
    st.header("Which defense should I use?")
    st.markdown("I know nothing of the trigger, and have at most so much of")
    one, two, three = st.columns(3)
    num_clean = one.number_input(
        "Clean images", min_value=10, max_value=100_000, step=10, key="arena.num_clean"
    )
    seconds = two.number_input(
        "Seconds on one core", min_value=1, max_value=100_000, key="arena.seconds"
    )
    points = three.number_input(
        "Points of clean accuracy to lose",
        min_value=0.0,
        max_value=100.0,
        step=0.5,
        format="%.1f",
        key="arena.points",
    )
    told = advice(found, Means(int(num_clean), float(seconds), points / 100))
    with st.container(border=True):
        st.markdown(told.said)
        st.caption(" ".join(told.limits))
    return {"num_clean": int(num_clean), "seconds": int(seconds), "loss": round(10 * points)}


st.title("Arena")
st.markdown(
    "Every defense against every attack, under one protocol: the same clean images, the same "
    "augmentation, nothing chosen with a look at the trigger."
)
table = evidence("arena")
known = (
    {}
    if not table or not table["cells"]
    else {
        "attack": sorted({row["attack"] for row in table["cells"]}),
        "method": list(table["about"]["methods"]),
    }
)
values, fresh = url.follow("arena", known or None)
points = {"points": values.pop("loss") / 10}  # an address has whole numbers
url.restore_widgets("arena", values | points, fresh)
url.notice("arena")
if not known:
    st.info(
        "Nothing was measured yet. `python -m evidence arena arena_table` measures it.",
        icon=":material/hourglass_empty:",
    )
else:
    assert table is not None
    view = st.segmented_control(
        "View",
        list(VIEWS),
        format_func=VIEWS.__getitem__,
        key="arena.view",
        required=True,
        label_visibility="collapsed",
    )
    assert view
    shown: Mapping[str, Callable[[Found], Mapping[str, Any]]] = {
        "map": show_map,
        "ranks": show_ranks,
        "cost": show_cost,
        "parts": show_parts,
        "strength": show_strength,
        "images": show_images,
        "published": show_published,
    }
    asked = shown[view](table)
    glossary.explain("asr", "ca", "ra", "der")
    url.write("arena", {"view": view, **asked})
preload()
