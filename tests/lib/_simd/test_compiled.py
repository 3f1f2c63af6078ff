"""A fault of the disk cache costs compile time, never a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
from lib._simd.compiled import cached

@cached(name="test")
def double(x: float) -> float:
    return 2 * x

print(double(1.5))
"""


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess:
    file = folder / "doubles.py"
    file.write_text(SCRIPT, encoding="utf-8")
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, str(file)]
    return subprocess.run(command, env=settings, capture_output=True, text=True)


@pytest.mark.parametrize(("ending", "kept"), [("nbi", 0), ("nbi", 0.5), ("nbc", 0.5)])
def test_a_file_cut_short_is_compiled_again(tmp_path, ending, kept):
    cache = tmp_path / "cache"
    assert run(tmp_path, NUMBA_CACHE_DIR=str(cache)).stdout == "3.0\n"
    (file,) = cache.rglob(f"*.{ending}")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole))])
    for _ in range(2):
        done = run(tmp_path, NUMBA_CACHE_DIR=str(cache))
        assert (done.returncode, done.stdout, done.stderr) == (0, "3.0\n", "")
    assert file.read_bytes()[:20] == whole[:20]  # and it is whole again


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_said_once_and_runs_uncached(tmp_path):
    folder = tmp_path / "readonly"
    folder.mkdir()
    (folder / "doubles.py").write_text(SCRIPT, encoding="utf-8")
    folder.chmod(0o500)
    settings = {"HOME": str(folder / "none"), "XDG_CACHE_HOME": str(folder / "none")}
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environment |= settings | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(folder / "doubles.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "3.0\n"
    assert done.stderr.count("cannot be kept on disk") == 1


def test_a_cache_that_is_a_file_is_passed_over(tmp_path):
    """Numba then keeps its kernels beside the source."""
    (tmp_path / "cache").write_text("", encoding="utf-8")
    done = run(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "3.0\n", "")
    assert list(tmp_path.rglob("*.nbi"))
