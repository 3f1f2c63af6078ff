"""The least values that the parameters of a chapter allow: what they are, and a run with them."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from faults.table import Row  # noqa: E402

from companion import assignments, params  # noqa: E402
from companion.params import Parameter  # noqa: E402

NEXT = 1e-6  # a range that is open below begins here


def least(source: str) -> dict[str, object]:
    """Parameter -> the least value allowed once all that it depends on have theirs; a text and a
    truth keep their defaults, the first of several choices is taken.

    >>> cell = '# %% tags=["parameters"]\\nn: int = 9  # nets, >= 2\\nm: list[int] = [3]  # x, >= 1'
    >>> least(cell)
    {'n': 2, 'm': [1]}
    """
    return {name: _least(p) for name, p in params.declared(source).items()}


def _least(p: Parameter) -> object:
    if p.choices:
        one: object = int(p.choices[0]) if p.scalar == "int" else p.choices[0]
    elif p.scalar in ("bool", "str"):
        return p.default
    else:
        operator, bound = next((o, b) for o, b in p.bounds if o[0] == ">")
        assert not isinstance(bound, str)  # no chapter has a lower bound by another parameter
        one = bound + (0 if operator == ">=" else NEXT)
        one = math.ceil(one) if p.scalar == "int" else float(one)
    return (
        [one + i * (1 if p.scalar == "int" else NEXT) for i in range(p.least)] if p.is_list else one
    )


def run(chapter: str, seconds: float) -> tuple[bool, str]:
    """Run a chapter with the least values: whether it came to its end, and its last line."""
    values = assignments.write(least((ROOT / "book" / f"{chapter}.py").read_text(encoding="utf-8")))
    command = [sys.executable, "-m", "companion", "execute", "--chapter", chapter, "--set", values]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return False, f"not done within {seconds:.0f} s"
    return done.returncode == 0, (done.stdout + done.stderr).strip().splitlines()[-1]


def run_all(seconds: float) -> Row:
    """Run every chapter with the least values, as far as the time goes."""
    began, tried, right, notes = time.monotonic(), 0, 0, []
    for path in sorted((ROOT / "book").glob("[0-9]*.py")):
        left = seconds - (time.monotonic() - began)
        if left < 30:
            notes.append(f"no time for {path.stem}")
            continue
        good, said = run(path.stem, left)
        if not good and "not done within" in said:
            notes.append(f"{path.stem} {said}")
            continue
        tried += 1
        right += good
        notes += [] if good else [f"{path.stem}: {said}"]
    what = "the chapter runs to its end"
    return Row("The least values of all parameters", tried, right, what, "; ".join(notes)[:200])


if __name__ == "__main__":
    for path in sorted((ROOT / "book").glob("[0-9]*.py")):
        print(path.stem, assignments.write(least(path.read_text(encoding="utf-8"))))
