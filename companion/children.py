"""Running a command so that stopping it, by Ctrl-C or by SIGTERM, ends everything it started."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """The user asked for an end; `number` is the signal that said so."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a command to its end.

    Returns:
        Its status.
    Raises:
        Stopped: the user asked for an end; by then all descendants of the command have ended too.
    """
    # Ctrl-C reaches the whole group of the terminal. The command starts with it ignored, so that
    # this process alone decides how all of them end, and none prints a traceback of its own.
    former = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS[:1]}
    process = subprocess.Popen(command, cwd=folder, env=environment)
    try:
        for number in SIGNALS:
            former.setdefault(number, signal.getsignal(number))
            signal.signal(number, _stop)
        return process.wait()
    except Stopped:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        end(process.pid)
        process.wait()
        raise
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)


def end(pid: int) -> None:
    """End a process and all its descendants, those in sessions of their own too.

    Every output is renamed into place when it is whole, so nothing is lost by ending at once.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        top, tree = psutil.Process(pid), dict[int, psutil.Process]()
        # halted first, so that none starts another while the list is made
        while new := [p for p in (top, *top.children(recursive=True)) if p.pid not in tree]:
            for process in new:
                tree[process.pid] = process
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
        for process in tree.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs([p for p in tree.values() if p.pid != pid], timeout=5)
