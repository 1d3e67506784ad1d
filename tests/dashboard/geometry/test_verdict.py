"""The sentence on top of the page, from made up measures."""

from dashboard.geometry.verdict import SHOWN, compare, said, told

BENIGN = dict.fromkeys(SHOWN, 10.0)


def test_all_measures_together():
    assert said(compare(dict.fromkeys(SHOWN, 30.0), BENIGN)) == "sharper by all 7 measures"
    assert said(compare({"lambda_max": 5.0}, BENIGN)) == ("smoother (largest Hessian eigenvalue)")
    assert said(compare(BENIGN, BENIGN)) == "about as sharp by all 7 measures"


def test_where_they_disagree_those_that_survive_rescaling_are_told():
    two = BENIGN | {"lambda_max": 30.0, "fisher_trace": 2.0}
    text = said(compare(two, BENIGN))
    assert text.startswith("sharper by 1 of 7 measures (largest Hessian eigenvalue), smoother by 1")
    assert text.endswith("; those that no rescaling changes say: about as sharp")
    text = said(compare(two | {"filter_lambda_max": 30.0}, BENIGN))
    assert text.endswith("those that no rescaling changes do not agree either")


def test_each_step_is_told_as_far_as_it_was_measured():
    values = {"benign": BENIGN, "backdoored": dict.fromkeys(SHOWN, 30.0), "purified": {}}
    text = told(values, ["the model purified by NGF"])
    assert text.startswith("The backdoored model is, against the benign one, sharper by all 7")
    assert "purified" not in text
    values["purified"] = BENIGN | {"lambda_max": None, "relative_flatness": 0.0}
    text = told(values, ["the model purified by NGF"])
    assert "The model purified by NGF is, against the one before, smoother by all 5" in text
    assert told({"purified": {}}, []) == ""
