"""One list of dependencies: environment.yml points to it, and it has all that dinolite imports."""

import ast
import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

import dinolite

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def name(requirement: str) -> str:
    """The package in "timm>=1.0.20", spelled as package indexes compare names."""
    return re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower().replace("_", "-")


DEPENDENCIES = {name(d) for d in PROJECT["dependencies"]}
COURSE = {name(d) for d in PROJECT["optional-dependencies"]["course"]}
EXPORT = {name(d) for d in PROJECT["optional-dependencies"]["export"]}
DEV = {name(d) for d in PROJECT["optional-dependencies"]["dev"]}


def imported_packages(folder: Path) -> set[str]:
    """Top-level names that the files below `folder` import, at any depth of nesting."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add((node.module or "").split(".")[0])
    return (
        found
        - set(sys.stdlib_module_names)
        - {*("dinolite", "dinolite_course", "tools", "benchmarks", "conftest")}
    )


@cache
def all_providers() -> Mapping[str, list[str]]:
    """The distributions that bring each top-level package."""
    return packages_distributions()


def missing(folder: str, listed: set[str]) -> set[str]:
    """Imports of `folder` that no listed package provides."""
    providers = all_providers()
    return {
        package
        for package in imported_packages(ROOT / folder)
        if not {name(p) for p in providers.get(package, [])} & listed
    }


def test_environment_yml_points_to_pyproject() -> None:
    plain = [d for d in CONDA["dependencies"] if isinstance(d, str)]
    pip = [p for d in CONDA["dependencies"] if isinstance(d, dict) for p in d["pip"]]
    assert CONDA["name"] == PROJECT["name"]
    assert "conda-forge" in CONDA["channels"]
    assert "pip" in plain, "a pip: section needs pip itself"
    assert pip == ["-e .[course,dev]"], "packages are listed in pyproject.toml alone"
    assert not {name(d) for d in plain} & DEPENDENCIES, "named in both places"


def test_environment_yml_has_the_oldest_python() -> None:
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert f"python={oldest}" in CONDA["dependencies"]
    assert sys.version_info >= tuple(map(int, oldest.split(".")))


def test_no_package_is_listed_twice() -> None:
    assert len(DEPENDENCIES) == len(PROJECT["dependencies"])
    assert not DEPENDENCIES & DEV and not DEPENDENCIES & COURSE and not COURSE & DEV
    assert not EXPORT & (DEPENDENCIES | COURSE | DEV)


@pytest.mark.parametrize(
    ("folder", "listed"),
    [
        ("dinolite", DEPENDENCIES | EXPORT),  # the command `export` says what is missing
        ("lessons/dinolite_course", DEPENDENCIES | COURSE),
        ("tools", DEPENDENCIES | COURSE | DEV),
    ],
)
def test_every_import_is_a_dependency(folder: str, listed: set[str]) -> None:
    assert missing(folder, listed) == set()


def test_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert version("dinolite") == dinolite.__version__
