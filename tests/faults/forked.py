"""A function in a process of its own, which may be killed or put under limits. The process is a
copy of this one, so it starts at once; the function must not have started threads before."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Args:
        value: what its function returned;  error: the exception that it raised, in words;
        signal: what killed it, 0 for nothing.
    """

    value: object = None
    error: str = ""
    signal: int = 0


def call(
    function: Callable[[], object],
    *,
    kill_after: float | None = None,
    limits: dict[int, int] | None = None,
    seconds: float = 120,
) -> Ended:
    """Run a function in a process of its own.

    Args:
        kill_after: seconds after which it is killed;  limits: of `resource`, RLIMIT_... -> bytes;
        seconds: after which it counts as hanging, and is killed.
    """
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of threads, which the function does not need
        child = os.fork()
    if child == 0:
        os.close(read)
        _child(function, limits or {}, write)
    os.close(write)
    deadline = time.monotonic() + (seconds if kill_after is None else kill_after)
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.0005 if kill_after is not None else 0.01)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Ended(signal=os.WTERMSIG(status))
    value, error = pickle.loads(said)  # our own process wrote it
    return Ended(value, error)


def _child(function: Callable[[], object], limits: dict[int, int], write: int) -> None:
    code = 1
    try:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file too large is an OSError instead
        for kind, most in limits.items():
            resource.setrlimit(kind, (most, most))
        try:
            said = (function(), "")
        except BaseException as fault:
            said = (None, "".join(traceback.format_exception_only(fault)).strip())
        os.write(write, pickle.dumps(said))
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)
