"""Stopping a command ends everything that it started, in sessions of their own too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from companion import children

ROOT = Path(__file__).resolve().parents[2]
# a parent whose child leads a session of its own, as a kernel does, and ignores Ctrl-C
PARENT = """
import pathlib, signal, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c", "import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(99)"],
    start_new_session=True,
)
pathlib.Path("pid").write_text(str(child.pid))
time.sleep(99)
"""
OUTER = """
import os, sys
from pathlib import Path
from companion import children
try:
    children.run([sys.executable, "-c", sys.argv[1]], Path.cwd(), dict(os.environ))
except children.Stopped as stop:
    print("stopped by", stop)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_all_that_was_started_ends_within_seconds(number, tmp_path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", OUTER, PARENT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    started = [*psutil.Process(process.pid).children(recursive=True)]
    assert int((tmp_path / "pid").read_text()) in [p.pid for p in started]
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)  # it also closes the pipe
    assert output == f"stopped by {signal.Signals(number).name}\n"
    assert psutil.wait_procs(started, timeout=10)[1] == []


def test_a_command_that_ends_by_itself_gives_its_status(tmp_path) -> None:
    before = [signal.getsignal(n) for n in children.SIGNALS]
    status = children.run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, os.environ)
    assert status == 3
    assert [signal.getsignal(n) for n in children.SIGNALS] == before
