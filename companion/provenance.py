"""Where a run came from: commit, machine, versions, data, duration, and the command that repeats
it."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from companion.numbers import pretty

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "numba", "matplotlib")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class State:
    """Which state of the sources a checkout holds.

    Args:
        commit: its first digits, or "unknown";  reason: why it is unknown;
        changed: whether tracked files differ;  untracked: imported files that git does not know.
    """

    commit: str
    reason: str = ""
    changed: bool = False
    untracked: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.reason:
            return f"{self.commit}: {self.reason}"
        more = f", not in git: {', '.join(self.untracked)}" if self.untracked else ""
        return self.commit + (" + changes" if self.changed or self.untracked else "") + more


def state(root: Path) -> State:
    """The state of a checkout; that of a repository around it does not count.

    >>> import tempfile; print(state(Path(tempfile.mkdtemp())))
    unknown: no repository
    """
    try:
        top = _git(root, "rev-parse", "--show-toplevel")
        if Path(top).resolve() != root.resolve():
            return State(UNKNOWN, "no repository")
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        lines = _git(root, "status", "--porcelain", "-z", "-uall").split("\0")
    except (OSError, subprocess.SubprocessError) as fault:
        return State(UNKNOWN, _reason(str(fault)))
    unknown = {line[3:] for line in lines if line.startswith("??")}
    changed = any(line and not line.startswith("??") for line in lines)
    return State(commit, "", changed, tuple(sorted(unknown & _imported(root))) if unknown else ())


_remembered: dict[Path, State] = {}


def remember(root: Path) -> None:
    """Let `collect` tell the present state from now on: the code of this process and of those that
    are forked from it has been read, and asking git takes longer than a short run."""
    _remembered[root] = state(root)


def commit(root: Path) -> str:
    """The commit of a checkout, "+ changes" behind it when files differ, "unknown" without one.

    >>> import tempfile; commit(Path(tempfile.mkdtemp()))
    'unknown'
    """
    found = state(root)
    return found.commit if found.reason else str(found)


def require_commit(root: Path) -> None:
    """Refuse a checkout whose commit is unknown, where the environment variable REQUIRE_COMMIT is
    set, as on the machine that publishes.

    Raises:
        ValueError: with the reason.
    """
    found = state(root)
    if os.environ.get("REQUIRE_COMMIT") and found.reason:
        raise ValueError(f"the commit of {root} is {found}, and REQUIRE_COMMIT is set")


def _git(root: Path, *words: str) -> str:
    # a hook of another repository sets GIT_DIR and the like
    own = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    run = subprocess.run(
        ["git", "-C", str(root), *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=60,
        env={**own, "LC_ALL": "C"},
        check=False,
    )
    if run.returncode:
        raise OSError(run.stderr.strip())
    return run.stdout.strip("\n")


def _reason(fault: str) -> str:
    if "not a git repository" in fault:
        return "no repository"
    if "dubious ownership" in fault:
        return "git does not trust the owner of the folder (see git config safe.directory)"
    if "No such file" in fault:
        return "git is not installed"
    return fault.splitlines()[0] if fault else "git failed"


def _imported(root: Path) -> set[str]:
    """The files of the checkout that this process has imported, relative to it."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    top = root.resolve()
    own = [Path(f).resolve() for f in files if f]
    return {p.relative_to(top).as_posix() for p in own if p.is_relative_to(top)}


def device() -> str:
    """The GPU when this process has used one, otherwise the processor and the threads this run may
    use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    used = f"{threads} thread{'' if threads == '1' else 's'} used"
    return f"{_processor()} ({os.cpu_count()} cores, {used})"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


@functools.cache
def versions() -> dict[str, str]:
    """Python and the packages that can change a number."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def checksum(*arrays: Any) -> str:
    """The first 16 hex digits of the SHA-256 of arrays: dtype, shape and bytes.

    >>> import numpy as np; checksum(np.arange(3))
    '7b36b57ac44bbed5'
    """
    digest = hashlib.sha256()
    for a in arrays:
        digest.update(f"{a.dtype}{a.shape}".encode())
        digest.update(a.tobytes())
    return digest.hexdigest()[:16]


def collect(root: Path, started: float, data: Mapping[str, str]) -> dict[str, object]:
    """What can be seen from inside the run.

    Args:
        started: `time.time()` at its beginning;  data: name -> checksum of what it loaded.
    """
    return {
        "commit": str(_remembered.get(root) or state(root)),
        "device": device(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "data": dict(data),
        "started": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
    }


def table(
    facts: Mapping[str, Any],
    chapter: str,
    parameters: Mapping[str, object],
    profile: str,
    command: str,
) -> str:
    """The foot of a chapter, as Markdown."""
    minutes, seconds = divmod(round(facts["seconds"]), 60)
    seed = parameters.get("seed")
    data = ", ".join(f"{k} {code_span(v)}" for k, v in facts["data"].items())
    lines = {
        "commit": code_span(facts["commit"]),
        "profile": profile,
        "parameters": ", ".join(code_span(f"{k} = {v!r}") for k, v in parameters.items()),
        "seed": "none: nothing is drawn at random" if seed is None else pretty(seed),
        "device": facts["device"],
        "system": facts["platform"],
        "versions": ", ".join(f"{k} {v}" for k, v in facts["versions"].items()),
        "data": data or "made from the seed, none loaded",
        "run": f"{facts['started']}, took {minutes} min {seconds} s",
        "run it again": code_span(command),
    }
    return "\n".join(["| this run | |", "|---|---|", *(f"| {k} | {v} |" for k, v in lines.items())])


def code_span(text: str) -> str:
    """A text as code in a cell of a Markdown table.

    >>> print(code_span("a|b"), code_span("a`b"))
    `a\\|b` `` a`b ``
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence, gap = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{gap}{' '.join(text.splitlines())}{gap}{fence}".replace("|", "\\|")
