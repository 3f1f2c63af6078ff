"""The Makefile where it decides something: which Python, when to install, and what it says when it
cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bare(tmp_path) -> Path:
    """A checkout without .venv, and a PATH with nothing but the tools that every machine has."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for tool in (
        "sh",
        "cat",
        "cksum",
        "cut",
        "rm",
        "touch",
        "echo",
        "sed",
        "awk",
        "test",
        "make",
        "mkdir",
        "chmod",
    ):
        if found := shutil.which(tool):
            (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def script(root: Path, name: str, text: str) -> None:
    path = root / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def make(root: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {"PATH": str(root / "bin"), "HOME": str(root)}
    return subprocess.run(
        ["make", *words], cwd=root, env=environment, capture_output=True, text=True, timeout=60
    )


def fake_python(root: Path) -> None:
    """A python3 of the right version whose venv is a folder with itself in it; uv notes what it is
    asked for."""
    script(
        root,
        "python3",
        'case "$*" in *venv*) mkdir -p .venv/bin; cat bin/python3 > .venv/bin/python; chmod +x'
        ' .venv/bin/python;; *companion*) echo "ran $*";; esac',
    )
    script(root, "uv", 'echo "uv $*" >> asked')


def test_no_suitable_python_is_one_clear_error(bare) -> None:
    script(bare, "python3", "exit 1")  # too old
    done = make(bare, "book")
    assert done.returncode != 0 and "No Python 3.11, 3.12 or 3.13 found" in done.stderr


def test_a_python_without_venv_says_what_to_install(bare) -> None:
    script(bare, "python3", 'case "$*" in *venv*) exit 1;; esac')
    done = make(bare, "book")
    assert done.returncode != 0 and "apt install python3-venv" in done.stderr


def test_the_pins_are_installed_once_and_again_when_they_change(bare) -> None:
    fake_python(bare)
    asked = bare / "asked"
    first = make(bare, "book")
    assert first.returncode == 0 and "ran -m companion build --profile quick" in first.stdout, (
        first.stderr
    )
    assert "pip install --python .venv/bin/python -r requirements.txt" in asked.read_text()
    assert "--no-deps --editable ." in asked.read_text()
    asked.unlink()
    os.utime(bare / "requirements.txt")
    assert make(bare, "book").returncode == 0 and not asked.exists()
    with (bare / "requirements.txt").open("a") as pins:
        pins.write("another==1.0\n")
    assert make(bare, "book").returncode == 0 and asked.exists()


def test_another_torch_build_is_installed_and_kept(bare) -> None:
    fake_python(bare)
    assert make(bare, "book").returncode == 0
    asked = bare / "asked"
    asked.unlink()
    assert make(bare, "book", "TORCH_BACKEND=cpu").returncode == 0
    assert "--torch-backend=cpu" in asked.read_text()
    pins = (bare / ".venv" / "pins.txt").read_text()
    assert "torch==" in pins and "\nnvidia-" not in pins and "\ntriton==" not in pins
    asked.unlink()
    assert (
        make(bare, "book").returncode == 0 and not asked.exists()
    )  # the choice holds until another is made
    assert (
        make(bare, "book", "TORCH_BACKEND=cu130").returncode == 0
        and "--torch-backend=cu130" in asked.read_text()
    )


def test_uv_is_fetched_when_the_machine_has_none(bare) -> None:
    fake_python(bare)
    (bare / "bin" / "uv").unlink()
    script(
        bare,
        "python3",
        'case "$*" in *venv*) mkdir -p .venv/bin; cat bin/python3 > .venv/bin/python; chmod +x'
        " .venv/bin/python;; *'pip install'*uv) echo 'echo \"own uv $*\" >> asked' > .venv/bin/uv;"
        " chmod +x .venv/bin/uv;; esac",
    )
    assert make(bare, "book").returncode == 0
    assert "own uv pip install" in (bare / "asked").read_text()


def test_chapter_asks_which(bare) -> None:
    fake_python(bare)
    done = make(bare, "chapter")
    assert done.returncode != 0 and 'make chapter CH=01_width P="trials=50 seed=3"' in done.stderr
    done = make(bare, "chapter", "CH=01_width", "P=trials=50 seed=3", "PROFILE=cpu")
    assert "build --profile cpu --chapter 01_width --set=trials=50 seed=3" in done.stdout


def test_what_the_user_gives_reaches_the_command_as_it_is(bare) -> None:
    fake_python(bare)
    given = """note="it's {x}; $$(rm -rf /) `ls` & #" seed=3"""
    done = make(bare, "chapter", "CH=01_width", f"P={given}")
    assert f"--set={given.replace('$$', '$')}\n" in done.stdout, done.stderr
    done = make(bare, "chapter", "CH=01_width", "P=--seed=3\nx=1")
    assert "--set=--seed=3\nx=1\n" in done.stdout, done.stderr


@pytest.mark.parametrize("word", ["CH=01_width", "P=seed=3"])
def test_the_whole_book_takes_neither_a_chapter_nor_parameters(word, bare) -> None:
    fake_python(bare)
    done = make(bare, "book", word)
    assert done.returncode != 0
    assert "make chapter CH=01_width" in done.stderr
    assert "ran" not in done.stdout


def test_help_lists_every_target(bare) -> None:
    done = make(bare, "help")
    for target in (
        "book",
        "test",
        "lint",
        "chapter",
        "record",
        "data",
        "notebooks",
        "check-pages",
        "clean",
    ):
        assert f"make {target}" in done.stdout
