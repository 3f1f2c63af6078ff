"""A GPU session writes each result at once, stops when its time is up, and goes on where it
stopped."""

import json
import time

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu.parts import PARTS, Part, code_digest


@pytest.fixture
def ran(monkeypatch):
    """The parts that ran, in order; each gives the next of `how`, "done" by default."""
    found, how = [], {}

    def run_part(name, file, left, *, toy, code):
        found.append(name)
        if (ending := how.get(name, "done")) == "done":
            file.write_text(json.dumps({"code": code}))
        return ending

    monkeypatch.setattr(command, "run_part", run_part)
    monkeypatch.setattr(command, "code_digest", lambda root: "now")
    return found, how


def parts(**least):
    return {name: Part(name, seconds, lambda toy, left: {}) for name, seconds in least.items()}


def test_finished_parts_of_the_present_code_are_not_run_again(ran, tmp_path):
    found, _ = ran
    for _ in range(2):
        assert command.session(parts(a=1, b=1), tmp_path, time.monotonic() + 60) == 0
    assert found == ["a", "b"]
    (tmp_path / "a.json").write_text('{"code": "before"}')
    assert command.session(parts(a=1, b=1), tmp_path, time.monotonic() + 60) == 0
    assert found == ["a", "b", "a"]


def test_a_part_that_does_not_fit_is_left_out_and_named(ran, tmp_path, capsys):
    found, _ = ran
    assert command.session(parts(a=1, long=600, b=1), tmp_path, time.monotonic() + 60) == 3
    assert found == ["a", "b"] and "Not done: long" in capsys.readouterr().out


@pytest.mark.parametrize(("ending", "status"), [("failed, broken", 1), ("stopped, late", 3)])
def test_one_part_s_end_does_not_stop_the_others(ending, status, ran, tmp_path):
    found, how = ran
    how["a"] = ending
    assert command.session(parts(a=1, b=1), tmp_path, time.monotonic() + 60) == status
    assert found == ["a", "b"]


@pytest.mark.slow  # an import of torch and Numba in a process of its own
def test_a_part_runs_by_itself(tmp_path):
    """The real process, with the part that needs the least time, rehearsed."""
    file, code = tmp_path / "device.json", code_digest(command.ROOT)
    assert command.run_part("device", file, 300, toy=True, code=code).startswith("done")
    found = json.loads(file.read_text())
    assert found["code"] == code and found["numbers"]["bf16 products, TFLOP/s"] > 0
    assert list(PARTS) == [
        "device", "trajectories", "descent", "throughput", "grafting", "family"
    ]  # by value  # fmt: skip
