"""One process a core, one thread each: how independent trainings share a CPU without slowing one
another down."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext

import torch
from threadpoolctl import threadpool_limits


def in_processes(
    function: Callable, jobs: Iterable[tuple], *, processes: int | None = None
) -> list:
    """[function(*job) for job in jobs], in fresh processes of one thread each, results in order.

    Args:
        function: importable by name, not defined in a notebook.
        jobs: arguments, which must pickle.
        processes: at most so many at once; by default the cores that this process may use. With 1,
            no new process.
    Raises:
        ValueError: processes < 1; and whatever a job raises.

    >>> in_processes(max, [(1, 2), (4, 3)], processes=1)
    [2, 4]
    """
    jobs = list(jobs)
    if processes is None:
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        processes = min(cores, max(1, len(jobs)))
    if processes < 1:
        raise ValueError(f"processes is {processes}: expected >= 1")
    if processes == 1:
        return [function(*job) for job in jobs]
    context = _context()
    with ProcessPoolExecutor(processes, context, initializer=_one_thread) as pool:
        # Pickled here, not by the pool, which would send every tensor as an open file and run out
        # of them.
        packed = pool.map(_call, [pickle.dumps((function, job)) for job in jobs])
        return [pickle.loads(result) for result in packed]


def _context() -> BaseContext:
    """How new processes start: never as copies of this one, which has used threads and could hang.

    A fork server imports once what this process has imported of the library, which takes many
    seconds, and every process of this and of later calls begins as its copy.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    ours = [name for name in sys.modules if name.partition(".")[0] in {"lib", "experiments"}]
    context.set_forkserver_preload(ours)  # without effect when the server runs already
    return context


def _one_thread() -> None:
    torch.set_num_threads(1)
    # The BLAS of numpy and scipy too, loaded or yet to be: its idle threads would spin on the other
    # process's core.
    threadpool_limits(1)
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")


def _call(packed: bytes) -> bytes:
    function, job = pickle.loads(packed)
    return pickle.dumps(function(*job))
