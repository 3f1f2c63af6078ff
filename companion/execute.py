"""Run one chapter: py:percent -> notebook (jupytext) -> executed notebook (papermill), stamped."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.engines import NBClientEngine, papermill_engines
from traitlets.config import Config

from companion import assignments, paths, plan, surroundings
from companion.notebooks import KERNEL, heading, notebook, write_notebook


class ChapterFailed(RuntimeError):
    """A cell raised; the message names it and shows the end of its traceback."""


class SourceChanged(RuntimeError):
    """A file was edited while its chapter ran, so the result belongs to no state of the sources."""


class _ReportingEngine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """Papermill's engine, saying which cell runs: one line per cell stays readable when chapters
    run side by side."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
        chapter, begun = nb_man.nb.metadata["book"]["chapter"], time.monotonic()
        code = [i for i, c in enumerate(nb_man.nb.cells) if c.cell_type == "code"]
        start = nb_man.cell_start

        def report(cell: Any, cell_index: int | None = None, **rest: Any) -> Any:
            if cell_index in code:
                at = f"{code.index(cell_index) + 1:>3}/{len(code)}"
                seconds = time.monotonic() - begun
                line = f"{chapter} {at} {seconds:6.1f} s  {heading(nb_man.nb, cell_index)}"
                print(line, file=sys.stderr, flush=True)
            return start(cell, cell_index, **rest)

        nb_man.cell_start = report
        # Unix sockets, as kernels that start at one moment can pick the same TCP port; one folder
        # per run, as names would clash in the checkout
        sockets = os.path.join(os.environ["JUPYTER_RUNTIME_DIR"], "kernel")
        config = Config({"KernelManager": {"transport": "ipc", "ip": sockets}})
        return super().execute_managed_notebook(nb_man, kernel_name, config=config, **kwargs)


papermill_engines.register("reporting", _ReportingEngine)


def _prepare(job: plan.Job, threads: int, root: Path, runtime: str) -> None:
    """Set the environment of the kernel, and let matplotlib find its fonts here, where it may say
    that this takes a moment."""
    os.environ.update(surroundings.of_kernel(job.profile, threads, root, runtime))
    os.environ["BOOK_COMMAND"] = job.command
    Path(os.environ["MATPLOTLIBRC"]).touch()
    Path(os.environ["MPLCONFIGDIR"]).mkdir(parents=True, exist_ok=True)
    import matplotlib.font_manager  # noqa: F401


def run(job: plan.Job, given: Mapping[str, assignments.Text], threads: int, root: Path) -> Path:
    """Execute a chapter and keep the result under its digest.

    Args:
        given: the parameters of the command line, as texts;  threads: how many the chapter may use.
    Returns:
        The executed notebook; it exists only when the whole chapter ran.
    Raises:
        ChapterFailed: a cell raised; the notebook as far as it came is in _build/failed/.
        SourceChanged: a file that the run rests on was edited meanwhile.
    """
    nb = notebook(job.chapter, root)
    nb.metadata["book"] = nbformat.from_dict(job.metadata)
    write_notebook(job.chapter, root)
    # /tmp and not $TMPDIR: the path of a socket may have about a hundred characters
    folder = os.environ.get("BOOK_SCRATCH", "/tmp")
    with tempfile.TemporaryDirectory(prefix="book-", dir=folder) as scratch:
        _prepare(job, threads, root, scratch)
        done = _executed(nb, job, root, Path(scratch))
    if plan.job(job.chapter, job.profile, given, root).stamp != job.stamp:
        raise SourceChanged(
            f"{job.chapter}: a file that it rests on was edited while it ran; run it again"
        )
    # papermill notes where it read and wrote: nothing of the machine's folders goes into a page
    noted = done.metadata.papermill
    done.metadata.papermill = {k: v for k, v in noted.items() if not k.endswith("_path")}
    target = root / job.executed
    paths.write_atomic(target, nbformat.writes(done))
    return target


def _executed(
    nb: nbformat.NotebookNode, job: plan.Job, root: Path, scratch: Path
) -> nbformat.NotebookNode:
    source, output = scratch / "in.ipynb", scratch / "out.ipynb"
    nbformat.write(nb, source)
    try:
        papermill.execute_notebook(
            str(source),
            str(output),
            parameters=dict(job.changed),
            engine_name="reporting",
            kernel_name=KERNEL["name"],
            progress_bar=False,
            start_timeout=300,  # importing takes long on a machine that is busy
            cwd=str(root),
        )
    except papermill.PapermillExecutionError as fault:
        failed = root / "_build" / "failed" / f"{job.chapter}.ipynb"
        paths.write_atomic(failed, output.read_bytes())
        stopped = nbformat.read(output, 4)
        raise ChapterFailed(_describe(fault, job, stopped, failed.relative_to(root))) from None
    done: nbformat.NotebookNode = nbformat.read(output, 4)
    return done


def _describe(
    fault: papermill.PapermillExecutionError, job: plan.Job, nb: nbformat.NotebookNode, kept: Path
) -> str:
    raised = [i for i, c in enumerate(nb.cells) if _raised(c)]
    index = raised[0] if raised else 0
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(fault.traceback)).splitlines()
    tail = "\n".join(f"    {line}" for line in trace[-12:])
    where = heading(nb, index) or f"cell {index}"
    return (
        f"{job.chapter} stopped under “{where}”: {fault.ename}\n{tail}\n    The notebook as far as"
        f" it came: {kept}"
    )


def _raised(cell: nbformat.NotebookNode) -> bool:
    return bool(cell.get("metadata", {}).get("papermill", {}).get("exception"))
