"""What there is to know about a data set before it is used: its images, where they come from, and
which files are missing. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.kit import library
from ngf.catalogue import catalogue, missing_files
from ngf.outside import listing
from ngf.outside.pictures import why_not
from ngf.places import data_dir

_NAMED = 60  # so many names of classes are listed at most
_COUNTED = 20_000  # so many files are counted at most
_SETTINGS = "dataset.json"  # what belongs into a folder of images besides
POOLS = {"train": "for training", "holdout": "for the defender", "test": "for the test"}


def data_card(name: str, key: str) -> None:
    """Which files are missing, if any, and behind a click everything else."""
    about, missing = catalogue()["data"][name], missing_files(name)
    if missing:
        missing_note(about, missing)
    with st.expander("About this data set", key=key, icon=":material/dataset:"):
        st.markdown(about["summary"])
        st.markdown(
            "\n".join(f"- **{word}**: {said}" for word, said in facts(name, about, missing))
        )


def missing_note(about: Mapping[str, Any], missing: Sequence[str]) -> None:
    """What to do about missing files: some are downloaded when they are needed, others are not."""
    advice = library.plain(about["advice"])
    if about.get("download_mb"):
        st.info(
            f"Not in {_place(about)} yet: {about['download_mb']} MB are downloaded when a training "
            f"starts. Without a network: {advice}",
            icon=":material/download:",
        )
        return
    names = [name.removeprefix(about["folder"]).lstrip("/") for name in missing]
    lacking = (
        f": {', '.join(map(library.plain, names))} not found" if all(names) else " is not there"
    )
    st.warning(f"{_place(about)}{lacking}. {advice}", icon=":material/folder_off:")


def facts(name: str, about: Mapping[str, Any], missing: Sequence[str]) -> list[tuple[str, str]]:
    """The lines of the card, each as (what it is about, what it says)."""
    lines = [("Classes", _classes(about))] if "classes" in about or "num_classes" in about else []
    if "shape" in about:
        channels, height, width = about["shape"]
        settings = f" (another size by `{about['settings']}`)" if "settings" in about else ""
        lines.append(
            ("Images", f"{width}x{height}, {'color' if channels == 3 else 'gray'}{settings}")
        )
    if "pools" in about:
        lines.append(
            (
                "How many",
                ", ".join(f"{count:,} {POOLS[pool]}" for pool, count in about["pools"].items()),
            )
        )
    if name == "folder" and not missing:
        lines += found(str(data_dir() / "folder"))
    lines += [("From", about["source"]), ("License", about["license"])]
    if about.get("files"):
        lines.append(("Where", f"{'looked for in' if missing else 'found in'} {_place(about)}"))
    return lines


def _classes(about: Mapping[str, Any]) -> str:
    names = about.get("classes")
    if not names:
        return f"{about['num_classes']:,}; their names are read from the files"
    shown = ", ".join(library.plain(name) for name in names[:_NAMED])
    return f"{len(names)}: {shown}" + (" and so on" if len(names) > _NAMED else "")


def _place(about: Mapping[str, Any]) -> str:
    return f"`{data_dir() / about['folder']}`"


@st.cache_data(ttl=10, show_spinner=False)
def found(root: str) -> list[tuple[str, str]]:
    """What a folder of images holds, as lines of the card: the classes and how many images each
    has, which of them are the defender's, and which files are left out, and why.
    """
    try:
        seen = listing.survey(Path(root), _SETTINGS, _COUNTED)
    except OSError as error:
        return [("Found", f"no folder that can be looked into ({library.plain(why_not(error))})")]
    words = {part: _counts(counts, seen.more) for part, counts in seen.parts.items()}
    lines = [
        ("Found", "; ".join(f"{part}: {said}" if part else said for part, said in words.items()))
    ]
    if not seen.more:
        lines += [("For the defender", said) for said in _defender(seen.parts)]
    told = listing.summary(seen.left_out, seen.several, library.plain)
    if told:
        lines.append(("Not taken", told))
    return lines


def _counts(counts: Mapping[str, int], more: bool) -> str:
    if not counts:
        return "no folder of a class yet"
    if more:
        return f"{len(counts):,} classes, {_COUNTED:,} files or more"
    words = [f"{library.plain(name)} {count:,}" for name, count in counts.items()]
    rest = f" and {len(words) - _NAMED:,} more" if len(words) > _NAMED else ""
    return f"{len(words):,} classes: {', '.join(words[:_NAMED])}{rest}"


def _defender(parts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Which images a defender has, in words; nothing where there are none."""
    divided = "train" in parts
    total = sum(parts["train" if divided else ""].values()) if divided or "" in parts else 0
    apart = round(total * (0.25 if divided else 0.2))
    if not apart:
        return []
    share = "a quarter of the training images" if divided else "20 % of each class"
    return [
        f"{share} is set apart, about {apart:,}; half of that, 1,000 at most, is for choosing, so "
        f"that about {apart - min(1000, apart // 2):,} of {total:,} images are for purifying"
    ]
