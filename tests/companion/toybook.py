"""A toy book: the real lib/, Snakefile and configuration with two small chapters, in a folder of
its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import matplotlib as mpl

ROOT = Path(__file__).resolve().parents[2]
TOY = Path(__file__).parent / "toy"
TOC = """format: jb-book
root: index
parts:
  - caption: Chapters
    numbered: true
    chapters: [{file: 01_toy}, {file: 02_slow}]
  - caption: Findings
    chapters: [{file: scorecard}, {file: faults}, {file: glossary}, {file: references}]
"""


def make_toy(root: Path) -> Path:
    """Write the toy book into an empty folder."""
    for package in ("lib", "experiments", "companion"):
        shutil.copytree(
            ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("Snakefile", "_config.yml", "requirements.txt"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(
        ROOT / "book",
        root / "book",
        ignore=shutil.ignore_patterns("[0-9]*.py", "records", "claims.yaml"),
    )
    for file in TOY.iterdir():
        shutil.copy(file, root / "book" / file.name)
    for profile in ("quick", "cpu", "paper"):
        (root / "book" / "profiles" / f"{profile}.yaml").write_text("{}\n")
    (root / "_toc.yml").write_text(TOC)
    # what matplotlib knows of this machine's fonts, which it takes seconds to find out
    fonts = root / "_build" / "cache" / "matplotlib"
    fonts.mkdir(parents=True)
    for file in Path(mpl.get_cachedir()).glob("fontlist*.json"):
        shutil.copy(file, fonts / file.name)
    return root


def surroundings(root: Path) -> dict[str, str]:
    """The environment of a command in a toy book; compiled modules are kept, whatever the caller's
    says, as several processes import them."""
    seen = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**seen, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}


def call(root: Path, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess:
    """`python -m companion ...` in a toy book."""
    command = [sys.executable, "-m", "companion", *arguments]
    return subprocess.run(
        command, cwd=root, env=surroundings(root), capture_output=True, text=True, timeout=timeout
    )


def inside(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The same in this process, which has imported what it needs; what it starts are processes."""
    from companion import __main__, paths

    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        mock.patch.dict(os.environ, surroundings(root), clear=True),
        mock.patch.object(paths, "root", return_value=root),
    ):
        saved = [os.dup(number) for number in (1, 2)]
        for number, file in enumerate((out, err), start=1):
            os.dup2(file.fileno(), number)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = __main__.main(list(arguments))
        finally:
            for number, file in enumerate(saved, start=1):
                os.dup2(file, number)
                os.close(file)
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())
