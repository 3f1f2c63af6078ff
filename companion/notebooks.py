"""Chapters as notebooks that have not run."""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
import nbformat

from companion import paths

KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}
# A comment such as `# rm what is left over` stays a comment: jupytext would make a command of it.
FORMAT = {"extension": ".py", "format_name": "percent", "comment_magics": False}


def notebook(chapter: str, root: Path) -> nbformat.NotebookNode:
    """The chapter as a notebook that has not run."""
    source = (root / "book" / f"{chapter}.py").read_text(encoding="utf-8")
    nb: nbformat.NotebookNode = jupytext.reads(source, FORMAT)
    nb.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for i, cell in enumerate(nb.cells):
        if "parameters" in cell.metadata.get("tags", ()):
            # papermill takes any second = of a line for one it cannot read
            cell.source = re.sub(r"#.*", _without_equals, cell.source)
        # jupytext draws ids at random: the same source gives the same notebook
        cell["id"] = f"cell-{i}"
    return nb


def _without_equals(comment: re.Match[str]) -> str:
    return comment[0].replace(">=", "≥").replace("<=", "≤")


def write_notebook(chapter: str, root: Path) -> Path:
    """Write _build/notebooks/<chapter>.ipynb, which plain papermill and Jupyter can open."""
    path = root / "_build" / "notebooks" / f"{chapter}.ipynb"
    paths.write_atomic(path, nbformat.writes(notebook(chapter, root)))
    return path


def heading(nb: nbformat.NotebookNode, index: int) -> str:
    """The nearest heading above a cell, "" without one."""
    for cell in reversed(nb.cells[:index]):
        if cell.cell_type == "markdown":
            found = re.findall(r"^#+\s+(.*)$", cell.source, re.MULTILINE)
            if found:
                return str(found[-1])
    return ""
