"""Where a run came from: commit, machine, versions, data, duration, and the command that repeats
it."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from companion.numbers import pretty

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "numba", "matplotlib")


def commit(root: Path) -> str:
    """The commit of a checkout, "+changes" behind it when tracked files differ, "unknown" outside
    git.

    >>> import tempfile; commit(Path(tempfile.mkdtemp()))
    'unknown'
    """

    def git(*words: str) -> str:
        run = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=60
        )
        if run.returncode:
            raise OSError(run.stderr.strip())
        return run.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (
            " + changes" if git("status", "--porcelain", "-uno") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def device() -> str:
    """The GPU when this process has used one, otherwise the processor and the threads this run may
    use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.get_device_name()
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return (
        f"{_processor()} ({os.cpu_count()} cores, {threads} thread{'' if threads == '1' else 's'}"
        " used)"
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Python and the packages that can change a number."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def checksum(*arrays) -> str:
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
        "commit": commit(root),
        "device": device(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "data": dict(data),
        "started": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
    }


def table(
    facts: Mapping[str, object],
    chapter: str,
    parameters: Mapping[str, object],
    profile: str,
    command: str,
) -> str:
    """The foot of a chapter, as Markdown."""
    minutes, seconds = divmod(round(facts["seconds"]), 60)
    rows = {
        "commit": f"`{facts['commit']}`",
        "profile": profile,
        "parameters": ", ".join(f"`{k} = {v!r}`" for k, v in parameters.items()),
        "seed": (
            pretty(parameters["seed"])
            if "seed" in parameters
            else "none: nothing is drawn at random"
        ),
        "device": facts["device"],
        "system": facts["platform"],
        "versions": ", ".join(f"{k} {v}" for k, v in facts["versions"].items()),
        "data": (
            ", ".join(f"{k} `{v}`" for k, v in facts["data"].items())
            or "made from the seed, none loaded"
        ),
        "run": f"{facts['started']}, took {minutes} min {seconds} s",
        "run it again": f"`{command}`",
    }
    lines = ["| this run | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]
    return "\n".join(lines)
