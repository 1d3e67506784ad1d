"""The arrows of the design, read from the imports."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ngf.catalogue import FOLDERS, names
from ngf.places import ROOT

PACKAGES = ("ngf", "analysis", "dashboard", "evidence", "benchmarks")
WINDOW = {"dashboard", "streamlit", "plotly", "pandas", "matplotlib"}
FORBIDDEN = {
    "ngf": {"analysis", "evidence", "benchmarks", "tests", *WINDOW},
    "analysis": {"evidence", "benchmarks", "tests", *WINDOW},
    "dashboard": {
        "evidence",
        "benchmarks",
        "tests",
        "torch",
        "torchvision",
        "safetensors",
        "pyhessian",
    },
    "evidence": {"dashboard", "tests", "streamlit", "plotly"},  # pandas: tables of models
    "benchmarks": {"evidence"},  # it measures the whole, with what the tests have
}
# Rooms inside the dashboard: a page uses what all share, and what all share knows no page.
CHARTS_FORBID = {"streamlit", "dashboard.kit", "dashboard.server", "dashboard.components"}
SHARED_ROOMS = ("kit", "components", "charts")
# What the torch-free side of ngf may not import at the top of a module.
LIGHT = (
    "ngf/__init__.py",
    "ngf/__main__.py",
    "ngf/config.py",
    "ngf/catalogue.py",
    "ngf/places.py",
    "ngf/outside",
    "ngf/runs",
    "ngf/sweeps",
)
HEAVY = {
    "torch",
    "torchvision",
    "safetensors",
    "ngf.training.run",
    "ngf.checkpoints.weights",
    "ngf.models",
    "ngf.data",
}
# Files that one other file uses, without a test file of their own name: each belongs to what it
# serves, and is apart from it for the reason given here. One user and no test is where a needless
# layer begins, so a new one has to say why it is there.
SINGLE = {
    "benchmarks/live.py": "times of a race, whose parts the first look times too",
    "benchmarks/training_speed.py": "a ratio against a public loop; its trainer's speed counts too",
    "dashboard/kit/calibrating.py": "the child that times steps; tested by kit/test_estimate.py",
    "dashboard/takeaway/imported.py": "words on an import; tested by takeaway/test_report.py",
    "dashboard/takeaway/judged.py": "words on measurements; tested by takeaway/test_report.py",
    "ngf/data/shared/shapes.py": "geometry of outlines, without a word on signs",
    "ngf/data/shared/signs_art.py": "the drawings, apart from the data set that renders them",
    "ngf/imports/arguments.py": "`ngf --help` imports the words of a command, not what it does",
    "ngf/imports/making.py": "writes the run; tested by imports/test_command.py, from end to end",
    "ngf/models/from_torchvision.py": "what torchvision builds, apart from our own networks",
    "ngf/models/of_others/small_resnets.py": "public networks; tested as they are recognized",
    "ngf/models/vgg.py": "one network, one file",
    "ngf/models/vit.py": "one network, one file",
    "ngf/optim/ekfac_released.py": "the released code's formula, apart from ours",
    "ngf/outside/opening/archive.py": "one container, one file; tested by opening/test_look.py",
    "ngf/outside/opening/child.py": "a process; tested by outside/test_checkpoint.py",
    "ngf/outside/opening/kinds.py": "first bytes, apart from what is read; tested by test_look.py",
    "ngf/outside/opening/pickled.py": "the pickle alone, so that it can be judged in one sitting",
    "ngf/outside/opening/states.py": "names and dictionaries, without a byte of a file",
    "ngf/runs/follow.py": "the terminal's view of a run",
    "ngf/training/preview.py": "the images that pages show, apart from the training",
    "ngf/sweeps/arguments.py": "`ngf --help` imports the words of a command, not what it does",
}


def files(folder: str) -> list[Path]:
    path = ROOT / folder
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def room_of(path: Path) -> str:
    """The folder of its package that a file is in: `geometry` for dashboard/geometry/sections/."""
    return path.relative_to(ROOT).parts[1]


def own_tests(path: Path) -> Path:
    """Where the tests of a file are, if it has any of its own."""
    return (ROOT / "tests" / path.relative_to(ROOT)).with_name(f"test_{path.name}")


def imports(path: Path, *, top_only: bool = False) -> set[str]:
    """Names of the modules that a file imports; `from a import b` gives `a`, and `a.b` where that
    is a module.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {part for part in parts if _is_module(part)}
    return found


def _is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def all_imports() -> Iterator[tuple[Path, str]]:
    for package in PACKAGES:
        for path in files(package):
            for name in imports(path):
                yield path, name


def inside(name: str, rooms: set[str]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(package)
        for name in imports(path)
        if inside(name, FORBIDDEN[package])
    ]
    assert not wrong


def test_charts_are_functions_of_data():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files("dashboard/charts")
        for name in imports(path)
        if inside(name, CHARTS_FORBID)
    ]
    assert not wrong


def test_no_page_imports_a_page():
    pages = {path.parent.name for path in (ROOT / "dashboard").glob("*/page.py")}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files("dashboard")
        for name in imports(path)
        if inside(name, {f"dashboard.{page}" for page in pages - {room_of(path)}})
    ]
    assert len(pages) >= 6
    assert not wrong


def test_what_pages_share_does_not_know_the_server():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for room in SHARED_ROOMS
        for path in files(f"dashboard/{room}")
        for name in imports(path)
        if inside(name, {"dashboard.server"})
    ]
    assert not wrong


def test_no_plug_in_imports_a_plug_in():
    plugins = {
        f"{package}.{name}" for kind, (package, _verb) in FOLDERS.items() for name in names(kind)
    }
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, name in all_imports()
        if module_of(path) in plugins and name in plugins
    ]
    assert len(plugins) > 30
    assert not wrong


def test_what_is_private_stays_in_its_folder():
    """Modules and names that begin with an underscore: `from a.b import _c` is for files in a."""
    wrong = []
    for package in PACKAGES:
        for path in files(package):
            here = module_of(path).rpartition(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.ImportFrom) or not node.module:
                    continue
                if node.module.split(".")[0] not in PACKAGES:
                    continue
                parts = [*node.module.split("."), *(alias.name for alias in node.names)]
                hidden = [part for part in parts if part.startswith("_") and part[1] != "_"]
                if hidden and node.module.rpartition(".")[0] != here:
                    wrong.append(f"{path.relative_to(ROOT)} imports {', '.join(hidden)}")
    assert not wrong


def test_a_file_with_one_user_and_no_test_says_why():
    modules = {module_of(path): path for package in PACKAGES for path in files(package)}
    users: dict[str, set[str]] = {name: set() for name in modules}
    for path, name in all_imports():
        if name in users and name != module_of(path):
            users[name].add(module_of(path))
    plugins = {
        f"{package}.{name}" for kind, (package, _) in FOLDERS.items() for name in names(kind)
    }
    found = {
        path.relative_to(ROOT).as_posix()
        for name, path in modules.items()
        if len(users[name]) == 1
        and not own_tests(path).exists()
        and path.name not in ("__init__.py", "__main__.py")
        and name not in plugins
        # a part of a page serves that page; a chart is reached through the registry
        and not (ROOT / package_of(path) / room_of(path) / "page.py").exists()
        and users[name] != {"dashboard.charts.registry"}
    }
    assert found == set(SINGLE)


def test_every_folder_says_what_it_is_for():
    silent = [
        str(folder.relative_to(ROOT))
        for package in PACKAGES
        for folder in {path.parent for path in files(package)}
        if not ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    ]
    assert not silent


def test_places_that_texts_name_exist():
    """What docstrings and documents call `ngf.runs` or `docs/recipes` is there."""
    named = re.compile(rf"`(?:python -m )?((?:{'|'.join(PACKAGES)}|tests|docs)(?:[./]\w+)+)[` ]")
    texts = [path for package in (*PACKAGES, "tests") for path in files(package)]
    texts += [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    gone = {
        f"{path.relative_to(ROOT)} names {name}"
        for path in texts
        for name in named.findall(path.read_text(encoding="utf-8"))
        if not _is_place(name)
    }
    assert not gone


def _is_place(name: str) -> bool:
    """Whether a file or folder is there, or something that the module before the last dot has."""
    if "/" in name or name.endswith(".py"):
        return (ROOT / name).exists()
    if _is_module(name) or ROOT.joinpath(*name.split(".")).is_dir():
        return True
    home, _, last = name.rpartition(".")
    if not _is_module(home):
        return home != "" and _is_place(home)
    place = ROOT.joinpath(*home.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return re.search(rf"\b{last}\b", file.read_text(encoding="utf-8")) is not None


@pytest.mark.parametrize("folder", LIGHT)
def test_the_light_side_imports_no_torch(folder):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(folder)
        for name in imports(path, top_only=True)
        if name in HEAVY or name.split(".")[0] == "torch"
    ]
    assert not wrong


@pytest.mark.parametrize(
    "module",
    [
        "ngf",
        "ngf.catalogue",
        "ngf.outside.listing",
        "ngf.runs.store",
        "ngf.runs.supervisor",
        "analysis",
        "dashboard.server.app",
    ],
)
def test_importing_it_imports_no_torch(module):
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env={**os.environ},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
