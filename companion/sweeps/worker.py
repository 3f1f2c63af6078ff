"""A batch of points in one process that imports everything once, and forks for each point.

A point has a process of its own, as a chapter has: neither its random state, nor its settings, nor
its crash reach another. Started by Snakemake as `python -m companion batch`.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companion import assignments, paths, provenance, surroundings
from companion.sweeps import store

if TYPE_CHECKING:  # `start` needs none of it, and would import for seconds before the batch does
    import nbformat

TRIES = 2  # of a point that fails


@dataclass(frozen=True)
class Batch:
    """What one worker runs, as the file that it is given says it.

    Args:
        points: dicts of key, overrides, changed;  shard: where the results go, and
        done: the file that says that all have run, relative to the checkout.
    """

    chapter: str
    profile: str
    points: Sequence[Mapping[str, Any]]
    shard: str
    done: str

    def save(self, path: Path) -> None:
        """Write it for a worker."""
        paths.write_atomic(path, json.dumps(asdict(self)))


def load(path: Path) -> Batch:
    """What `Batch.save` wrote."""
    return Batch(**json.loads(path.read_text(encoding="utf-8")))


def start(path: Path, threads: int, root: Path) -> int:
    """Run a batch in an interpreter of its own, which sees what the kernel of a chapter sees."""
    batch = load(path)
    with tempfile.TemporaryDirectory(prefix="sweep-", dir="/tmp") as scratch:
        seen = surroundings.of_kernel(batch.profile, threads, root, scratch)
        seen |= {"MPLBACKEND": "agg", "BOOK_PICTURES": "none"}
        # asks the driver alone whether there is a GPU, so that the children can still open it
        seen |= {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        Path(seen["MATPLOTLIBRC"]).touch()
        Path(seen["MPLCONFIGDIR"]).mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "companion.sweeps.worker", str(path)]
        return subprocess.run(command, cwd=root, env={**os.environ, **seen}).returncode


def run(path: Path, root: Path) -> None:
    """Run the points of a batch that are not in its shard yet."""
    from companion.notebooks import notebook
    from companion.sweeps import cells

    batch = load(path)
    nb = notebook(batch.chapter, root)
    cells.warm(nb)
    provenance.remember(root)
    gc.freeze()  # the children share what is there
    shard = store.Shard(root / batch.shard)
    there = {r.key for r in store.read_file(root / batch.shard) if not r.error}
    for point in batch.points:
        if point["key"] not in there:
            shard.add(_tried(batch, nb, point))
    paths.write_atomic(root / batch.done, "")


def _tried(batch: Batch, nb: nbformat.NotebookNode, point: Mapping[str, Any]) -> store.Result:
    for _ in range(TRIES):
        result = _in_a_child(batch, nb, point)
        if not result.error:
            break
    return result


def _in_a_child(batch: Batch, nb: nbformat.NotebookNode, point: Mapping[str, Any]) -> store.Result:
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    child = fork.Process(target=_child, args=(theirs, batch, nb, point))
    child.start()
    theirs.close()
    try:
        found = json.loads(ours.recv_bytes())
    except (EOFError, OSError):
        child.join()
        code = child.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return store.Result(point["key"], point["overrides"], 0.0, error=f"its process {how}")
    finally:
        ours.close()
    child.join()
    return store.Result(**found)


def _child(
    pipe: Connection, batch: Batch, nb: nbformat.NotebookNode, point: Mapping[str, Any]
) -> None:
    from companion.sweeps import cells

    profile = "" if batch.profile == "quick" else f" PROFILE={batch.profile}"
    given = assignments.quoted(point["overrides"])
    command = f"make chapter CH={batch.chapter}{profile} P={given}"
    result = cells.run(nb, point["key"], point["overrides"], point["changed"], command)
    pipe.send_bytes(json.dumps(vars(result)).encode())
    pipe.close()


if __name__ == "__main__":
    run(Path(sys.argv[1]), paths.root())
