"""Chapters to take away: executed notebooks beside the pages, and where they can be opened."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path

import nbformat

from companion import paths

FOLDER = "notebooks"
BRANCH = "notebooks"  # where the workflow keeps them for Colab
FIRST = """# Run this first where the book is not installed, as on Colab or Binder.
import importlib.util
import subprocess
import sys

ADDRESS = "{address}"
if importlib.util.find_spec("companion") is None:
    if not ADDRESS:
        raise SystemExit("Clone the repository of this book, and open the notebook in its folder.")
    subprocess.run(["git", "clone", "--depth", "1", ADDRESS, "companion-book"], check=True)
    install = [sys.executable, "-m", "pip", "install", "-q", "-e", "companion-book[book]"]
    subprocess.run(install, check=True)
    sys.path.insert(0, "companion-book")

import torch

gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
print(f"{{gpu}} here. These parameters need none, those of the paper profile a large one.")"""


def repository() -> str:
    """owner/name on GitHub, "" where no one has said it."""
    return os.environ.get("BOOK_REPOSITORY") or os.environ.get("GITHUB_REPOSITORY", "")


def write(notebooks: Mapping[str, nbformat.NotebookNode], html: Path) -> None:
    """Write every executed notebook beside the pages, with a first cell that installs what is
    missing."""
    name = repository()
    address = f"https://github.com/{name}.git" if name else ""
    for chapter, nb in notebooks.items():
        whole = copy.deepcopy(nb)
        first = nbformat.v4.new_code_cell(FIRST.format(address=address), id="first")
        whole.cells.insert(0, first)
        paths.write_atomic(html / FOLDER / f"{chapter}.ipynb", nbformat.writes(whole))


def links(chapter: str | None) -> str:
    """The line below a page: its notebook, where to open it, and a place for the PDF."""
    parts = []
    if chapter:
        file = f"{FOLDER}/{chapter}.ipynb"
        parts.append(f'<a href="{file}" download>This chapter as a notebook with its outputs</a>')
        if name := repository():
            colab = f"https://colab.research.google.com/github/{name}/blob/{BRANCH}/{chapter}.ipynb"
            binder = f"https://mybinder.org/v2/gh/{name}/HEAD?labpath=_build/{file}"
            parts += [f'<a href="{colab}">in Colab</a>', f'<a href="{binder}">in Binder</a>']
    return f'<p class="page-files">{" · ".join(parts)}{PLACE}</p>\n'


PLACE = "<!-- the book as a PDF -->"
