"""Running a chapter's cells in this very process, without a kernel: what a point of a sweep does.

The cells see what they see in a notebook (`In`, `display`, magics), and what the chapter says
through `run` comes back. Pictures are not drawn: a sweep keeps numbers.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import os
import time
from collections.abc import Iterator, Mapping

import nbformat
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from companion import claims, figures, provenance
from companion.notebooks import heading
from companion.sweeps.store import Result


def warm(nb: nbformat.NotebookNode) -> None:
    """Import what the cells import and read what every chapter reads, so that processes which are
    forked from this one have it. It computes nothing: threads would not outlive the fork."""
    figures.use_style()
    importlib.import_module("numba")
    plt = importlib.import_module("matplotlib.pyplot")
    plt.close(plt.subplots()[0])  # what the first figure looks for
    claims.load()
    provenance.versions()
    _shell().run_cell("pass")  # the first loads what the others find
    for cell in nb.cells:
        if cell.cell_type == "code":
            for name in _imported(cell.source):
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)


def _imported(source: str) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a magic; the cell itself will say what is wrong
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def run(
    nb: nbformat.NotebookNode,
    key: str,
    overrides: Mapping[str, object],
    changed: Mapping[str, object],
    command: str,
) -> Result:
    """Run all cells at one point.

    Args:
        nb: the chapter;  changed: parameters that differ from its defaults;
        command: what repeats the run.
    """
    os.environ["BOOK_COMMAND"] = command
    shell = _shell()
    setattr(InteractiveShell, "_instance", shell)  # noqa: B010  # display() asks for it
    shown = shell.display_pub = CapturingDisplayPublisher(shell=shell)
    said, began = io.StringIO(), time.perf_counter()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        error = _run_all(shell, nb, changed)
    seconds = time.perf_counter() - began
    entries = [o["metadata"].get("book", {}) for o in shown.outputs if o.get("metadata")]
    records = [e["record"] for e in entries if "record" in e]
    if not error and len(records) != 1:
        error = "it does not end in run.provenance()"
    return Result(
        key,
        overrides,
        round(seconds, 4),
        {} if error else records[0]["claims"],
        {} if error else records[0]["provenance"],
        (said.getvalue().strip().splitlines() or [""])[0],
        error,
    )


def _shell() -> InteractiveShell:
    return InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))


def _run_all(
    shell: InteractiveShell, nb: nbformat.NotebookNode, changed: Mapping[str, object]
) -> str:
    for index, cell in enumerate(nb.cells):
        if cell.cell_type != "code":
            continue
        sources = [cell.source]
        if "parameters" in cell.metadata.get("tags", ()) and changed:
            # as papermill does
            lines = [f"{name} = {value!r}" for name, value in changed.items()]
            sources.append("\n".join(["# Parameters", *lines]))
        for source in sources:
            done = shell.run_cell(source, store_history=True)
            fault = done.error_before_exec or done.error_in_exec
            if fault is not None:
                words = str(fault).strip().splitlines() or [""]
                return f"under “{heading(nb, index)}”: {type(fault).__name__}: {words[-1]}"
    return ""
