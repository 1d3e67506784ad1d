"""Texts that would become a link, an image, an icon, a formula or a color in Markdown."""

from __future__ import annotations

import re

HOST = "evil.example"
HOSTILE = (
    f"[x](http://{HOST})",
    f"![x](http://{HOST}/a.png)",
    f"<a href='http://{HOST}'>x</a>",
    "<script>alert(1)</script>",
    f"<img src=http://{HOST}/a.png>",
    ":red[x]",
    ":blue-background[x]",
    "$x^2$",
    f"http://{HOST}",
    f"HTTPS://{HOST}/a?b=c",
    f"www.{HOST}",
    f"wWw.{HOST}",
    f"a@{HOST}",
    f"<http://{HOST}>",
    f"mailto:a@{HOST}",
    f"xmpp:a@{HOST}/b",
    ":material/delete:",
    ":fire:",
    ":streamlit:",
    "&lt;b&gt;",
    f"[r] [r]: http://{HOST}",
    f"[^1] [^1]: http://{HOST}",
    f"http\\://{HOST}",
    f"_http://{HOST}_",
    "`code`",
    "**bold** ~~gone~~",
    "# heading",
    "- item",
    "1. item",
    "2) item",
    "=== ---",
    "| a | b |",
)
ALL = " ; ".join(HOSTILE)


def seen(text: str) -> str:
    """`text` as a reader sees it: without what is invisible."""
    return re.sub("[\u2060\u200b]", "", text)
