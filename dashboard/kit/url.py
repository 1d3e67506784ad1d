"""The address of a page holds the choices made on it; each page declares its parameters.

`parse` is pure: it turns raw text into typed values, clamps numbers, and describes in plain
sentences what it had to ignore. `follow` and `write` connect it to Streamlit. A link only makes
choices; it never starts a run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import streamlit as st

from dashboard.kit import library
from dashboard.kit.pages import Param, pages


def parse(
    page: str, raw: Mapping[str, list[str]], known: Mapping[str, Collection[str]] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """A value for every parameter of the page, and a sentence about each part that was ignored.

    known: the allowed values of parameters that depend on what is in the store.
    """
    schema = pages()[page].parameters
    ignored: list[str] = []
    values = {name: param.default for name, param in schema.items()}
    for name, texts in raw.items():
        if name not in schema:
            ignored.append(
                f"“{short(name)}” is not a setting of this page. "
                f"Known: {', '.join(schema) or 'none'}."
            )
            continue
        param = schema[name]
        allowed = (known or {}).get(name, param.choices)
        found = []
        for text in texts if param.many else texts[-1:]:
            value, problem = _one(name, text, param, allowed)
            if problem:
                ignored.append(problem)
            if value is not None:
                found.append(value)
        if found:
            values[name] = tuple(dict.fromkeys(found)) if param.many else found[0]
    return values, ignored


def _one(name: str, text: str, param: Param, allowed: Collection[str] | None) -> tuple[Any, str]:
    if isinstance(param.default, int):
        return _number(name, text, param)
    if len(text) > param.longest or not re.fullmatch(param.pattern, text):
        return None, f"{name} “{short(text)}” was ignored: it is not a name."
    if allowed is not None and text not in allowed:
        listed = ", ".join(map(str, allowed)) or "none yet"
        return None, f"{name} “{short(text)}” was ignored. Allowed: {listed}."
    return text, ""


def _number(name: str, text: str, param: Param) -> tuple[int | None, str]:
    if not re.fullmatch(r"[+-]?\d{1,30}", text.strip()):
        return None, f"{name} “{short(text)}” was ignored: it is not a whole number."
    value = int(text)
    clamped = max(param.ge, min(param.le, value))
    if clamped != value:
        return (
            clamped,
            f"{name} {short(text)} was set to {clamped}. Allowed: {param.ge} to {param.le}.",
        )
    return value, ""


def short(text: str) -> str:
    """Text from an address, safe to show on a page: short and without Markdown."""
    text = re.sub(r"[^\w.:=,+\- ]", "·", text)
    return text if len(text) <= 40 else text[:39] + "…"


def address(page: str, values: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """The query parameters for these values: only those that differ from the defaults."""
    out: dict[str, str | list[str]] = {}
    for name, param in pages()[page].parameters.items():
        value = values.get(name, param.default)
        empty = value in (None, "") or (param.many and not value)
        if empty or value == param.default:
            continue
        out[name] = [str(item) for item in value] if param.many else str(value)
    return out


def _raw() -> dict[str, list[str]]:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def follow(
    page: str, known: Mapping[str, Collection[str]] | None = None
) -> tuple[dict[str, Any], bool]:
    """The values in the address, and whether it differs from the one this page wrote last."""
    raw = _raw()
    values, ignored = parse(page, raw, known)
    fresh = raw != st.session_state.get(f"url.{page}")
    if fresh:
        st.session_state[f"url.{page}"] = raw
        st.session_state[f"url.{page}.ignored"] = ignored
    return values, fresh


def ignore(page: str, sentence: str) -> None:
    """Add a sentence about a part of the address that only the page itself could check."""
    sentences = st.session_state.setdefault(f"url.{page}.ignored", [])
    if sentence not in sentences:
        sentences.append(sentence)


def notice(page: str) -> None:
    """Show what was ignored in the link that opened the page."""
    sentences = st.session_state.get(f"url.{page}.ignored")
    if sentences:
        st.warning(
            "Some parts of the link could not be used:\n\n"
            + "\n".join(f"- {library.plain(sentence)}" for sentence in sentences),
            icon=":material/link_off:",
        )


def write(page: str, values: Mapping[str, Any]) -> None:
    """Put the choices into the address, so that the page can be reloaded and shared."""
    new, schema = address(page, values), pages()[page].parameters
    if new != {
        name: (texts if schema.get(name, Param()).many else texts[-1])
        for name, texts in _raw().items()
    }:
        st.query_params.from_dict(new)
    st.session_state[f"url.{page}"] = _raw()


def restore_widgets(page: str, values: Mapping[str, Any], fresh: bool) -> None:
    """Give each widget `<page>.<name>` its value from the address, if that is new; otherwise the
    widgets keep theirs.
    """
    for name, value in values.items():
        key = f"{page}.{name}"
        if fresh or key not in st.session_state:
            st.session_state[key] = list(value) if isinstance(value, tuple) else value
