"""The table of README.md about every defense and attack, from assets/evidence/arena.json."""

from __future__ import annotations

from collections.abc import Callable

from evidence.markdown import Row, machine, markdown, wrapped
from evidence.shipped import ARENA, read
from ngf.catalogue import catalogue


def arena() -> str:
    """What the numbers are of, then a row per method, those with the best mean rank first."""
    if not ARENA.exists() or not (found := read(ARENA))["methods"]:
        return "Not measured yet."
    about = found["about"]
    attacks = {row["attack"] for row in found["cells"]} - {"none"}
    so_far = (
        f" (of {about['rows_planned']:,} that are planned)"
        if about["rows"] < about["rows_planned"]
        else ""
    )
    said = wrapped(
        f"{about['rows']:,} purifications{so_far} of {about['models']} models, {len(attacks)} "
        f"attacks and benign ones: every method at its defaults, {about['num_clean']} clean images "
        "in all, strong augmentation. In percent, means over attacks; reactivated is the attack "
        f"success rate after {about['poisoned']} poisoned images and 5 epochs more; removed is the "
        f"share of models with at most {100 * about['gone']:.0f} % left; seconds are those of one "
        f"core while others computed. {machine(about['environments'])}."
    )
    said += _taught(found)
    rows = sorted(found["methods"], key=lambda row: (row["rank"] is None, row["rank"] or 0))
    head = (
        "method", "mean rank", "ASR left", "reactivated", "removed", "CA lost", "CA lost, benign",
        "seconds", "attacks, models",
    )  # fmt: skip
    return f"{said}\n\n{markdown(head, [_cells(row, about) for row in rows])}"


def _taught(found: Row) -> str:
    """What the same images teach benign models."""
    rows = sorted(found["taught"], key=lambda row: row["asr"], reverse=True)
    if not rows:
        return ""
    titles = {name: about["short"] for name, about in catalogue()["attacks"].items()}
    mean = sum(row["asr"] for row in rows) / len(rows)
    named = ", ".join(f"{titles[row['attack']]} {100 * row['asr']:.0f} %" for row in rows[:3])
    return "\n\n" + wrapped(
        f"Read “reactivated” against this: the same images and epochs bring a benign model, which "
        f"never had the backdoor, to {100 * mean:.1f} % on average over the attacks "
        f"({rows[0]['models']} models each), most of all with {named}. "
    )


def _cells(row: Row, about: Row) -> tuple[object, ...]:
    def share(key: str) -> str:
        return (
            "–" if row[key] is None else f"{round(100 * row[key], 1) + 0.0:.1f}".replace("-", "−")
        )

    rank = "–"
    if row["rank"] is not None:
        rank = f"{row['rank']:.1f} ({row['rank_low']:.1f} to {row['rank_high']:.1f})"
    return (
        about["methods"][row["method"]]["title"],
        rank,
        share("asr"),
        share("asr_reactivated"),
        share("gone"),
        share("ca_lost"),
        share("benign_ca_lost"),
        "–" if row["seconds"] is None else f"{row['seconds']:.0f}",
        f"{row['attacks']}, {row['models']}",
    )


PARTS: dict[str, Callable[[], str]] = {"arena": arena}
