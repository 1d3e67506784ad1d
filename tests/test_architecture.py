"""The arrows of the design, read from the imports."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ngf.places import ROOT

PACKAGES = ("ngf", "analysis", "dashboard")
FORBIDDEN = {
    "ngf": {
        "analysis",
        "dashboard",
        "benchmarks",
        "tests",
        "streamlit",
        "plotly",
        "pandas",
        "matplotlib",
    },
    "analysis": {"dashboard", "benchmarks", "tests", "streamlit", "plotly", "pandas", "matplotlib"},
    "dashboard": {"benchmarks", "tests", "torch", "torchvision", "safetensors", "pyhessian"},
}
# What the torch-free side of ngf may not import at the top of a module.
LIGHT = (
    "ngf/__init__.py",
    "ngf/__main__.py",
    "ngf/config.py",
    "ngf/catalogue.py",
    "ngf/places.py",
    "ngf/runs",
)


def files(folder: str) -> list[Path]:
    path = ROOT / folder
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def imports(path: Path, *, top_only: bool = False) -> set[str]:
    """Names of the modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(package)
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN[package]
    ]
    assert not wrong


@pytest.mark.parametrize("folder", LIGHT)
def test_the_light_side_imports_no_torch(folder):
    heavy = {
        "torch",
        "torchvision",
        "safetensors",
        "ngf.training.run",
        "ngf.checkpoints.weights",
        "ngf.models",
        "ngf.data",
    }
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(folder)
        for name in imports(path, top_only=True)
        if name in heavy or name.split(".")[0] == "torch"
    ]
    assert not wrong


@pytest.mark.parametrize(
    "module",
    [
        "ngf",
        "ngf.catalogue",
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
