"""What a spreadsheet would calculate is text in a CSV; numbers are numbers."""

from __future__ import annotations

import csv
import io
import re

import pandas as pd
import pytest

from dashboard.kit.spreadsheet import as_csv, harmless
from ngf.places import ROOT

FORMULAS = [
    '=HYPERLINK("http://evil.example","x")',
    "=1+1",
    "+1+1",
    "-1+1",
    "-cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "=",
    "-",
    "\uff1d1+1",
    " =1+1",
]
NUMBERS = ["-0.5", "+3", "-1e-3", "-inf", "12"]
TEXTS = ["a=b", "BadNets (patch)", "", " ", "x-y", "–", "'=1"]


def test_a_formula_is_behind_an_apostrophe_and_nothing_else_is() -> None:
    spaced = [re.sub("[\t\r\n]", " ", text) for text in FORMULAS]
    assert [harmless(text) for text in FORMULAS] == [f"'{text}" for text in spaced]
    assert harmless("a\r\n=1+1\tb\0") == "a =1+1 b "
    same = [*NUMBERS, *TEXTS, -0.5, 3, None, True]
    assert [harmless(cell) for cell in same] == same


@pytest.mark.parametrize("text", FORMULAS)
def test_cells_and_headings_come_back_as_text(text: str) -> None:
    table = pd.DataFrame({text: [text, "a"], "rate": [-0.5, float("nan")], "n": [-1, 2]})
    said = "'" + re.sub("[\t\r\n]", " ", text)
    (heading, *rows) = csv.reader(io.StringIO(as_csv(table), newline=""))
    assert heading == [said, "rate", "n"]
    assert rows == [[said, "-0.5", "-1"], ["a", "", "2"]]


def test_a_table_of_numbers_is_as_pandas_writes_it() -> None:
    table = pd.DataFrame({"step": [0, 1], "loss": [-0.25, 1e-9], "said": ["x", None]})
    assert as_csv(table) == table.to_csv(index=False)


def test_every_csv_of_a_page_is_made_here() -> None:
    sources = [path for path in (ROOT / "dashboard").rglob("*.py")]
    direct = [path.name for path in sources if re.search(r"\.to_csv\(", path.read_text("utf-8"))]
    assert direct == ["spreadsheet.py"]
