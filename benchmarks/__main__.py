"""Run the benchmarks named on the command line, or all:
`python -m benchmarks [--threads 2] [--rounds 15] [name ...]`.

A benchmark is a file here. Either it has `run(threads, rounds)`, which returns rows and facts
(`benchmarks.timing`), or it is a script of its own, which is then started with the same number of
threads."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = sorted(
    p.stem for p in HERE.glob("*.py") if p.stem not in ("__init__", "__main__", "timing")
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Time the kernels against their rivals."
    )
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"which to run: {', '.join(NAMES)} (default: all)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=min(2, os.cpu_count() or 1),
        help="threads of every contender",
    )
    parser.add_argument("--rounds", type=int, default=15, help="how often every contender is timed")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}: expected {', '.join(NAMES)}")
    if options.threads < 1 or options.rounds < 3:
        parser.error("expected --threads >= 1 and --rounds >= 3")
    # Before any numerical library is imported, because they read these only once.
    for variable in (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ):
        os.environ[variable] = str(options.threads)
    if hasattr(
        os, "sched_setaffinity"
    ):  # rivals that count cores themselves (JAX) see no more than these
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    names, flags = options.names or NAMES, ["--threads", str(options.threads)]
    if len(names) > 1:  # each in a process of its own: one's threads and memory are not another's
        flags += ["--rounds", str(options.rounds)]
        codes = [
            subprocess.run([sys.executable, "-m", "benchmarks", name, *flags]).returncode
            for name in names
        ]
        failed = [name for name, code in zip(names, codes, strict=True) if code]
        sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
    (name,) = names
    print(f"== {name}", flush=True)
    if "\ndef run(" not in (HERE / f"{name}.py").read_text():
        sys.exit(subprocess.run([sys.executable, HERE / f"{name}.py", *flags]).returncode)
    from benchmarks import timing

    try:
        rows, facts = importlib.import_module(f"benchmarks.{name}").run(
            options.threads, options.rounds
        )
    except timing.Unavailable as missing:
        print(f"{name} is left out: {missing}")
        return
    print(timing.table(rows))
    print(timing.listing(facts))
    path = timing.write(HERE / "results", name, rows, facts, options.threads, options.rounds)
    print(f"written to {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
