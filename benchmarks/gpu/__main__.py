"""All that needs a GPU, in order of value, in the minutes that there are:
`python -m benchmarks.gpu [--minutes 12] [--toy] [--again]`.

Every part runs in a process of its own and its result is written as soon as it is there, to
benchmarks/results/gpu/. A part whose result is there for the present code is not run again, so the
same command goes on where a former one stopped. `--toy` rehearses all of it on a CPU, at toy size,
into _build/gpu-toy/.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.gpu.parts import PARTS, Part, code_digest

ROOT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=12.0, help="after which all stops")
    parser.add_argument("--toy", action="store_true", help="rehearse on a CPU, at toy size")
    parser.add_argument("--again", action="store_true", help="run finished parts again")
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error(f"--minutes is {options.minutes:g}: expected > 0")
    folder = ROOT / ("_build/gpu-toy" if options.toy else "benchmarks/results/gpu")
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    return session(PARTS, folder, end, toy=options.toy, again=options.again)


def session(
    parts: dict[str, Part], folder: Path, end: float, *, toy: bool = False, again: bool = False
) -> int:
    """Run the parts that have no result yet, until the time is up.

    Args:
        folder: of results;  end: of the session, on `time.monotonic`.
    Returns:
        0 when every part has its result, 1 when one failed, 3 when the time was up.
    """
    code, failed, late = code_digest(ROOT), [], []
    for name, part in parts.items():
        file, left = folder / f"{name}.json", end - time.monotonic()
        if not again and finished(file, code):
            print(f"{name}: there already", flush=True)
        elif left < (0 if toy else part.least):
            late.append(name)
        else:
            print(f"{name}: {part.what} ({left / 60:.1f} minutes left)", flush=True)
            how = run_part(name, file, left, toy=toy, code=code)
            print(f"{name}: {how}", flush=True)
            late += [name] if how.startswith("stopped") else []
            failed += [name] if how.startswith("failed") else []
    if late:
        print(f"Not done: {', '.join(late)}. The same command goes on there.")
    return 1 if failed else 3 if late else 0


def finished(file: Path, code: str) -> bool:
    """Whether a part's result is there, of the present code."""
    return file.is_file() and json.loads(file.read_bytes())["code"] == code


def run_part(name: str, file: Path, left: float, *, toy: bool, code: str) -> str:
    """One part in a process of its own, and how it ended: done, stopped or failed, and why."""
    began, raw = time.monotonic(), file.with_suffix(".part")
    raw.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu.parts", name, str(raw), f"{left:.0f}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment |= {"TRITON_INTERPRET": "1"} if toy else {}
    try:
        done = subprocess.run(
            [*command, *(["--toy"] if toy else [])], cwd=ROOT, env=environment, timeout=left
        )
    except subprocess.TimeoutExpired:
        return "stopped, its time was up"
    if done.returncode == 3:
        return "stopped, and it goes on from there"
    if done.returncode or not raw.is_file():
        return f"failed with exit status {done.returncode}"
    took = time.monotonic() - began
    result = json.loads(raw.read_bytes()) | {"part": name, "code": code, "seconds": round(took, 1)}
    raw.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    raw.replace(file)
    return f"done in {took:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
