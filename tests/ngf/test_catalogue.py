"""Plug-ins: found by their files, described for forms, built from choices."""

from ngf import catalogue
from ngf.config import Choice
from ngf.places import ROOT
from tests.helpers.house import House


def test_normalizing_types_options_and_drops_defaults():
    choice = catalogue.normalize(
        "attacks", Choice("badnets", {"size": "4", "alpha": "0.5", "target": 1})
    )
    assert choice == Choice("badnets", {"alpha": 0.5})


def test_every_plug_in_describes_every_field():
    for kind in catalogue.FOLDERS:
        assert catalogue.names(kind)
        for name, about in catalogue.catalogue()[kind].items():
            assert about["summary"], name
            for item in about["fields"]:
                assert item["help"].endswith("."), f"{name}.{item['name']}"
                assert item["default"] is not None
            assert set(about["schema"]["properties"]) == {item["name"] for item in about["fields"]}


def test_a_new_file_is_found_without_being_listed(tmp_path):
    """Adding an attack is adding a file: a copy under another name shows up."""
    house = House(tmp_path / "house")
    house.write("ngf/attacks/copied.py", (ROOT / "ngf" / "attacks" / "blend.py").read_text("utf-8"))
    code = (
        "from ngf import catalogue; from ngf.config import Choice; "
        "attack = catalogue.build('attacks', Choice('copied', {'alpha': 0.3})); "
        "print('copied' in catalogue.names('attacks'), attack.alpha)"
    )
    assert house.run(f'python -c "{code}"').split() == ["True", "0.3"]
