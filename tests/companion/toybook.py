"""A toy book: the real lib/, Snakefile and configuration with two small chapters, in a folder of
its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

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
    return root


def call(root: Path, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess:
    """`python -m companion ...` in a toy book."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "companion", *arguments]
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=timeout
    )
