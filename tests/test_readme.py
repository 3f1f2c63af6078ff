"""What the README shows is what happens."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_example_runs_as_printed() -> None:
    result = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, optionflags=doctest.REPORT_NDIFF
    )
    assert result.attempted > 10 and result.failed == 0


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    assert {
        "book",
        "test",
        "chapter",
        "data",
        "record",
        "notebooks",
        "check-pages",
        "help",
    } <= named
    assert not [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)]


def test_every_file_and_module_it_names_exists() -> None:
    for module in set(re.findall(r"`(lib\.[a-z_.]+)`", README)):
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), module
    for path in (
        "book/01_width.py",
        "book/records",
        "requirements.txt",
        "environment.yml",
        "pyproject.toml",
        "CITATION.cff",
    ):
        assert path in README and (ROOT / path).exists(), path
