"""Run one chapter: py:percent -> notebook (jupytext) -> executed notebook (papermill), stamped."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
import papermill
from papermill.engines import NBClientEngine, papermill_engines
from traitlets.config import Config

from companion import paths, plan

KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}


class ChapterFailed(RuntimeError):
    """A cell raised; the message names it and shows the end of its traceback."""


class SourceChanged(RuntimeError):
    """A file was edited while its chapter ran, so the result belongs to no state of the sources."""


def notebook(chapter: str, root: Path) -> nbformat.NotebookNode:
    """The chapter as a notebook that has not run."""
    nb = jupytext.read(root / "book" / f"{chapter}.py")
    nb.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for i, cell in enumerate(nb.cells):
        if "parameters" in cell.metadata.get("tags", ()):
            # papermill takes any second = of a line for one it cannot read
            cell.source = re.sub(
                r"#.*", lambda m: m[0].replace(">=", "≥").replace("<=", "≤"), cell.source
            )
        cell["id"] = (
            f"cell-{i}"  # jupytext draws ids at random: the same source gives the same notebook
        )
    return nb


def write_notebook(chapter: str, root: Path) -> Path:
    """Write _build/notebooks/<chapter>.ipynb, which plain papermill and Jupyter can open."""
    path = root / "_build" / "notebooks" / f"{chapter}.ipynb"
    paths.write_atomic(path, nbformat.writes(notebook(chapter, root)))
    return path


class _Telling(NBClientEngine):
    """Papermill's engine, saying which cell runs: one line a cell stays readable when chapters run
    side by side."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        chapter, begun = nb_man.nb.metadata["book"]["chapter"], time.monotonic()
        code = [i for i, c in enumerate(nb_man.nb.cells) if c.cell_type == "code"]
        start = nb_man.cell_start

        def tell(cell, cell_index=None, **rest):
            if cell_index in code:
                at = f"{code.index(cell_index) + 1:>3}/{len(code)}"
                seconds = time.monotonic() - begun
                print(
                    f"{chapter} {at} {seconds:6.1f} s  {heading(nb_man.nb, cell_index)}",
                    file=sys.stderr,
                    flush=True,
                )
            return start(cell, cell_index, **rest)

        nb_man.cell_start = tell
        # Unix sockets, as kernels that start at one moment can pick the same TCP port
        sockets = os.path.join(
            os.environ["JUPYTER_RUNTIME_DIR"], "kernel"
        )  # one folder a run: names would clash in the checkout
        config = Config({"KernelManager": {"transport": "ipc", "ip": sockets}})
        return super().execute_managed_notebook(nb_man, kernel_name, config=config, **kwargs)


papermill_engines.register("telling", _Telling)


def heading(nb: nbformat.NotebookNode, index: int) -> str:
    """The nearest heading above a cell, "" without one."""
    for cell in reversed(nb.cells[:index]):
        found = (
            re.findall(r"^#+\s+(.*)$", cell.source, re.MULTILINE)
            if cell.cell_type == "markdown"
            else []
        )
        if found:
            return found[-1]
    return ""


def environment(job: plan.Job, threads: int, root: Path, runtime: str) -> dict[str, str]:
    """What a kernel gets to see beside the caller's environment."""
    limits = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **dict.fromkeys(limits, str(threads)),
        "BOOK_PROFILE": job.profile,
        "BOOK_COMMAND": job.command,
        "TQDM_DISABLE": "1",  # a progress bar would be printed into the page
        "PYTHONPATH": str(root),
        "PYTHONHASHSEED": "0",
        # neither the reader's kernels nor their start-up files may change a page
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": runtime,
        "IPYTHONDIR": runtime,
    }


def run(job: plan.Job, threads: int, root: Path) -> Path:
    """Execute a chapter and keep the result under its digest.

    Args:
        threads: how many the chapter may use.
    Returns:
        The executed notebook; it exists only when the whole chapter ran.
    Raises:
        ChapterFailed: a cell raised; the notebook as far as it came is in _build/failed/.
        SourceChanged: a file that the run rests on was edited meanwhile.
    """
    nb = notebook(job.chapter, root)
    nb.metadata["book"] = nbformat.from_dict(job.metadata)
    target = root / job.executed
    target.parent.mkdir(parents=True, exist_ok=True)
    write_notebook(job.chapter, root)
    # /tmp and not $TMPDIR: the path of a socket may have about a hundred characters
    with tempfile.TemporaryDirectory(prefix="book-", dir="/tmp") as scratch:
        source, output = Path(scratch) / "in.ipynb", Path(scratch) / "out.ipynb"
        nbformat.write(nb, source)
        os.environ.update(environment(job, threads, root, scratch))
        try:
            papermill.execute_notebook(
                str(source),
                str(output),
                parameters=dict(job.changed),
                engine_name="telling",
                kernel_name=KERNEL["name"],
                progress_bar=False,
                start_timeout=300,  # importing takes long on a machine that is busy
                cwd=str(root),
            )
        except papermill.PapermillExecutionError as fault:
            failed = root / "_build" / "failed" / f"{job.chapter}.ipynb"
            paths.write_atomic(failed, output.read_bytes())
            raise ChapterFailed(
                _describe(fault, job, nbformat.read(output, 4), failed.relative_to(root))
            ) from None
        done = nbformat.read(output, 4)
    if plan.job(job.chapter, job.profile, _texts(job.overrides), root).stamp != job.stamp:
        raise SourceChanged(
            f"{job.chapter}: a file that it rests on was edited while it ran; run it again"
        )
    # papermill notes where it read and wrote: nothing of the machine's folders goes into a page
    done.metadata.papermill = {
        k: v for k, v in done.metadata.papermill.items() if not k.endswith("_path")
    }
    paths.write_atomic(target, nbformat.writes(done))
    return target


def _texts(overrides) -> dict[str, str]:
    return {
        k: str(v) if not isinstance(v, list) else ",".join(map(str, v))
        for k, v in overrides.items()
    }


def _describe(
    fault: papermill.PapermillExecutionError, job: plan.Job, nb: nbformat.NotebookNode, kept: Path
) -> str:
    index = next(
        (
            i
            for i, c in enumerate(nb.cells)
            if c.get("metadata", {}).get("papermill", {}).get("exception")
        ),
        0,
    )
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(fault.traceback)).splitlines()
    tail = "\n".join(f"    {line}" for line in trace[-12:])
    where = heading(nb, index) or f"cell {index}"
    return (
        f"{job.chapter} stopped under “{where}”: {fault.ename}\n{tail}\n    The notebook as far as"
        f" it came: {kept}"
    )
