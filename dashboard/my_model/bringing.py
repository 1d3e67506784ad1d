"""The form in which a visitor brings a model, and what the program found out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.kit import library
from dashboard.kit.visitor import visitor
from dashboard.my_model.child import Given, import_model

FOUND = "my_model.found"  # in the session: the last answer of an import
MOST_MEGABYTES = 256
NORMALIZATIONS = {
    "": "find out",
    "imagenet": "ImageNet",
    "cifar10": "CIFAR-10",
    "half": "mean and deviation 0.5",
    "none": "none: images in [0, 1]",
}
RESIZE = {
    "": "ask",
    "squeeze": "squeeze them into a square",
    "crop": "cut out the middle",
}


def form() -> str:
    """Two files and a button. Returns the id of the run when one has just been imported."""
    left, right = st.columns(2, gap="large")
    with left:
        weights = st.file_uploader(
            "The model's file",
            key="my_model.file",
            max_upload_size=MOST_MEGABYTES,
            help="A state dict: .pt, .pth, .bin or .safetensors, also inside a training "
            "checkpoint. Nothing in it is executed.",
        )
    with right:
        images = st.file_uploader(
            "Clean images, 20 to a few thousand",
            key="my_model.images",
            accept_multiple_files=True,
            max_upload_size=MOST_MEGABYTES,
            help="Best a zip with a folder of images for each class. Also an npz with `images` and "
            "`labels`, or images with a CSV file of names and labels.",
        )
    with st.expander("What you know already", icon=":material/tune:"):
        words = _known()
        poisoned = st.file_uploader(
            "Pictures with the trigger, if you have some",
            type="npz",
            key="my_model.poisoned",
            max_upload_size=MOST_MEGABYTES,
            help="An npz with `images` (uint8), `label` (the true class) and `target` (the class "
            "that the attacker wants), both as outputs of the model. They are only measured on: "
            "then there is an attack success rate, and after a race you learn whether a handful of "
            "them opens the door again. 10 or more are best; 5 show something.",
        )
    st.caption(
        ":material/lock: Your files stay on the machine that serves this page, only you see what "
        "becomes of them here, and they are gone for good when you delete the import."
    )
    if not visitor().known:
        st.warning(
            "This browser keeps no cookies, so the page could not find your import again. Allow "
            "cookies for this address and load the page again.",
            icon=":material/cookie:",
        )
    ready = bool(weights and images and visitor().known)
    pressed = st.button(
        "Import",
        type="primary",
        icon=":material/upload_file:",
        disabled=not ready,
        key="my_model.go",
    )
    answers = _answers(st.session_state.get(FOUND, {}))
    if (pressed or answers) and weights and images:
        given = Given(weights.name, weights.getvalue())
        pictures = [Given(one.name, one.getvalue()) for one in images]
        seen = Given(poisoned.name, poisoned.getvalue()) if poisoned else None
        found = _import(given, pictures, [*words, *answers], seen)
        st.session_state[FOUND] = found
        if found.get("status") == "imported":
            return str(found["id"])
        st.rerun()
    return ""


def _known() -> list[str]:
    """What the visitor says, as words of `ngf import`."""
    first, second, third = st.columns(3)
    normalize = first.selectbox(
        "Normalization",
        NORMALIZATIONS,
        format_func=NORMALIZATIONS.__getitem__,
        key="my_model.normalize",
    )
    resize = second.selectbox(
        "Images that are no squares", RESIZE, format_func=RESIZE.__getitem__, key="my_model.resize"
    )
    expect = third.slider(
        "Clean accuracy that you expect",
        0,
        100,
        70,
        format="%d %%",
        key="my_model.expect",
        help="Below it the page asks before it goes on: a wrong normalization looks like a bad "
        "model.",
    )
    size = first.number_input(
        "Size of the input, pixels (0: find out)", 0, 512, 0, key="my_model.size"
    )
    measure = second.slider(
        "Share of the images to measure on",
        10,
        90,
        25,
        format="%d %%",
        key="my_model.measure",
        help="They tell the clean accuracy; no defense sees them. The others are the defender's.",
    )
    mirror = third.toggle(
        "A mirrored image still belongs to its class",
        key="my_model.mirror",
        help="Defenses then mirror images. Leave it off for signs, letters and digits.",
    )
    words = ["--expect", str(expect), "--measure", str(measure / 100)]
    words += ["--normalize", normalize] if normalize else []
    words += ["--resize", resize] if resize else []
    words += ["--size", str(size)] if size else []
    return [*words, "--mirror"] if mirror else words


def _import(
    weights: Given, images: Sequence[Given], words: Sequence[str], poisoned: Given | None
) -> dict[str, Any]:
    with st.status("Importing…", expanded=True) as status:
        found = import_model(
            weights,
            images,
            words,
            visitor().id,
            lambda line: st.write(library.plain(line)),
            poisoned,
        )
        ok = found.get("status") == "imported"
        status.update(
            label="Imported" if ok else "Not imported yet", state="complete" if ok else "error"
        )
    return found


def _answers(found: Mapping[str, Any]) -> list[str]:
    """What the last import found, and its questions. Returns the words that answer them, once the
    visitor has pressed a button.
    """
    if error := found.get("error"):
        st.error(library.plain(error["message"]), icon=":material/block:")
        return []
    if found.get("status") != "asked":
        return []
    words: list[str] = []
    with st.container(border=True):
        st.subheader("Please say what is right")
        for question in found["questions"]:
            st.markdown(library.plain(question["text"]))
            if question["choices"]:
                chosen = st.radio(
                    question["option"],
                    question["choices"],
                    format_func=library.plain,
                    key=f"my_model.answer.{question['option']}",
                    label_visibility="collapsed",
                )
                words.append(f"--{question['option']}={chosen}")  # it may begin with a hyphen
        if found.get("tried"):
            show_found(found)
        said = st.button("Go on with this", icon=":material/check:", key="my_model.accept")
    return [*words, "--accept"] if said else []


def show_found(found: Mapping[str, Any]) -> None:
    """Network, sizes and normalizations that were tried, and what the outputs mean."""
    left, right = st.columns(2, gap="large")
    with left:
        labeled = bool(found["classes"])
        what = "Right predictions" if labeled else "Mean confidence"
        st.markdown(f"**{library.plain(found['network']['title'])}**")
        st.dataframe(
            pd.DataFrame(
                {
                    "Input": [one["preprocessing"] for one in found["tried"]],
                    "Network": [one["network"] for one in found["tried"]],
                    what: [100 * one["agreement"] for one in found["tried"]],
                    "Images": [one["count"] for one in found["tried"]],
                }
            ),
            hide_index=True,
            column_config={what: st.column_config.NumberColumn(format="%.1f %%")},
            alt="What was tried, and how it did on the images",
            key="my_model.tried",
        )
    with right:
        if classes := found["classes"]:
            how = "in the order of their names" if classes["by_name"] else "matched by predictions"
            st.markdown(f"**Classes**, {how}")
            st.dataframe(
                pd.DataFrame({"Class": classes["labels"], "Output": classes["outputs"]}),
                hide_index=True,
                height=240,
                alt="Which output of the model each class of the images is",
                key="my_model.classes",
            )
    if said := found["images"]["left_out"]:
        st.caption(f"Images: {library.plain(said)}.")
