"""requirements.txt, environment.yml and pyproject.toml say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NAMED = [*map(Requirement, [*PROJECT["dependencies"], *EXTRAS["book"], *EXTRAS["test"]])]
LINES = [
    line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()
]
PINS = [Requirement(line) for line in LINES if line]


def test_every_line_pins_one_version_exactly() -> None:
    for pin in PINS:
        assert [s.operator for s in pin.specifier] == ["=="], pin
        assert "*" not in str(pin.specifier), pin


def test_every_dependency_is_pinned_within_what_the_project_asks_for() -> None:
    for dependency in NAMED:
        versions = [
            p for p in PINS if canonicalize_name(p.name) == canonicalize_name(dependency.name)
        ]
        assert versions, (
            f"{dependency.name} is not in requirements.txt: compile it anew, the README says how"
        )
        for pin in versions:
            (only,) = pin.specifier
            assert dependency.specifier.contains(only.version), (pin, dependency)


def test_every_dependency_is_pinned_for_every_python_the_project_supports() -> None:
    for dependency in NAMED:
        for minor in ("3.11", "3.12", "3.13"):
            environment = {
                "python_version": minor,
                "python_full_version": f"{minor}.5",
                "sys_platform": "linux",
            }
            environment |= {"implementation_name": "cpython", "platform_machine": "x86_64"}
            matching = [
                p
                for p in PINS
                if canonicalize_name(p.name) == canonicalize_name(dependency.name)
                and (p.marker is None or p.marker.evaluate(environment))
            ]
            assert len(matching) == 1, (dependency.name, minor, matching)


def test_no_host_and_no_path_is_written_down() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"://|--index|--extra-index|--find-links|file:|@ ", text)
    assert not any(line.startswith(("-", "/", ".")) for line in LINES)


def test_conda_gets_python_pip_and_the_same_pins() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, last = environment["dependencies"]
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]
    assert last == {"pip": ["-r requirements.txt", "-e ."]}


def test_the_citation_names_the_version_and_the_licence_of_the_project() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert (ROOT / "LICENSE").read_text().startswith("BSD 3-Clause License")
