"""A table is sound LaTeX and holds the numbers of the result."""

from __future__ import annotations

import json
import re

import pytest

from ngf.config import Choice, MeasureSpec
from ngf.export.latex import escape, latex
from ngf.export.numbers import outcome
from ngf.runs.folder import RESULT
from ngf.runs.store import Store
from tests.helpers.run_folders import RACE, TRAIN, epoch_events, race_events, write_run

RECORDED = "ngf-vs-sgd-ae43fe4fb4"


def checked(text: str) -> list[list[str]]:
    """Cells of a table whose groups are balanced and whose rows are as long as its columns say."""
    bare = re.sub(r"(?m)(?<!\\)%.*$", "", text)  # without comments
    assert re.sub(r"\\.", "", bare).count("{") == re.sub(r"\\.", "", bare).count("}")
    assert bare.count("$") % 2 == 0 and bare.isascii()
    opened = re.findall(r"\\(begin|end)\{(\w+)\}", bare)
    assert opened == [
        ("begin", "table"),
        ("begin", "tabular"),
        ("end", "tabular"),
        ("end", "table"),
    ]
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lrc]+)\}", bare)
    assert [bare.count(f"\\{rule}") for rule in ("toprule", "midrule", "bottomrule")] == [1, 1, 1]
    body = bare.split(r"\toprule")[1].split(r"\bottomrule")[0].replace(r"\midrule", "")
    rows = [row.strip() for row in body.split(r"\\") if row.strip()]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]
    assert {len(row) for row in cells} == {len(columns)}
    return cells


@pytest.fixture
def store(tmp_path):
    write_run(tmp_path, TRAIN, epoch_events(), done=True)
    return Store(tmp_path)


def test_before_and_after_of_the_recorded_race():
    run = Store().get(RECORDED)
    text = latex(run)
    result = run.finished()
    cells = checked(text)
    assert cells[0] == ["Model", r"CA (\%)", r"ASR (\%)", r"RA (\%)"]
    assert [row[0] for row in cells[1:]] == ["Before", "After NGF", "After SGD fine-tuning"]
    for row, numbers in zip(
        cells[1:],
        [result["before"], *(result["lanes"][lane]["after"] for lane in ("ngf", "sgd"))],
        strict=True,
    ):
        for cell, rate in zip(row[1:], ("ca", "asr", "ra"), strict=True):
            value, low, high = (float(part) for part in re.findall(r"[\d.]+", cell))
            assert value == pytest.approx(100 * numbers[rate], abs=0.051)
            assert [low, high] == pytest.approx(
                [100 * end for end in numbers[f"{rate}_interval"]], abs=0.051
            )
    assert r"95 \% Wilson interval" in text and "2,400 clean test images" in text
    assert "Seed 0" in text and "python -m ngf purify" in text and "Partial" not in text


def test_a_training_is_one_row(store):
    cells = checked(latex(store.get(TRAIN.id)))
    assert cells[1:] == [["Model", "98.6", "0.4", "98.0"]]


def test_a_run_in_progress_says_so(store):
    write_run(store.root, RACE, race_events(40))
    text = latex(store.get(RACE.id))
    assert "Partial: the run is queued." in text and "PARTIAL" in text.splitlines()[0]
    names = [row[0] for row in checked(text)[1:]]
    assert names == ["Before", "After NGF, step 40", "After SGD fine-tuning, step 40"]
    assert not any(one.final for one in outcome(store.get(RACE.id)))


def test_a_lane_that_diverged_has_dashes(store):
    folder = write_run(store.root, RACE, race_events(), done=True)
    result = json.loads((folder / RESULT).read_text())
    result["lanes"]["sgd"] = {
        "diverged": {"step": 3, "message": "NaN", "advice": "Less."},
        "seconds": 1.0,
    }
    (folder / RESULT).write_text(json.dumps(result))
    cells = checked(latex(store.get(RACE.id)))
    assert cells[3] == ["After SGD fine-tuning, diverged at step 3", "--", "--", "--"]


def test_values_of_a_measurement(store):
    spec = MeasureSpec(target=TRAIN.id, measurement=Choice("fisher_trace"))
    folder = write_run(store.root, spec, [])
    values = {
        "n": 12800,
        "small": -1.5e-7,
        "trace": 12.3456,
        "data": "a_b & 50 % #1 {x} ~^\\",
        "none": None,
    }
    (folder / RESULT).write_text(json.dumps({"values": values}), encoding="utf-8")
    cells = dict(checked(latex(store.get(spec.id)))[1:])
    assert cells["n"] == "12{,}800" and cells["trace"] == "12.35" and cells["none"] == "--"
    assert cells["small"] == r"$-1.500 \times 10^{-7}$"
    assert cells["data"].startswith(r"a\_b \& 50 \% \#1 \{x\}")


def test_text_is_set_as_it_is():
    assert escape("a_b\n% c") == r"a\_b \% c"
    assert escape("\\input{/etc/passwd}") == r"\textbackslash{}input\{/etc/passwd\}"
