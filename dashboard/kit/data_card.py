"""What there is to know about a data set before it is used: its images, where they come from, and
which files are missing. No torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.kit import library
from ngf.catalogue import catalogue, missing_files
from ngf.places import data_dir

_NAMED = 60  # so many names of classes are listed at most
_COUNTED = 20_000  # so many files in a folder are counted at most
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
        lines.append(("Found", found(str(data_dir() / "folder"))))
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
def found(root: str) -> str:
    """The classes in `root`, one folder each, and how many files each has: `blue 40, red 38`."""
    inside = _folders(Path(root))
    if {"train", "test", "val"} & set(inside):
        return "; ".join(f"{library.plain(name)}: {_counts(Path(root) / name)}" for name in inside)
    return _counts(Path(root))


def _folders(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return sorted(
            entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
        )


def _counts(root: Path) -> str:
    names, words, total = _folders(root), [], 0
    for name in names[:_NAMED]:
        with os.scandir(root / name) as entries:
            count = sum(
                1
                for _, entry in zip(range(_COUNTED - total), entries, strict=False)
                if entry.is_file()
            )
        total += count
        if total >= _COUNTED:
            return f"{len(names):,} classes, {_COUNTED:,} files or more"
        words.append(f"{library.plain(name)} {count:,}")
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return (
        f"{len(names):,} classes: {', '.join(words)}{more}" if names else "no folder of a class yet"
    )
