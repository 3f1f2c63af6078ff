"""`make faults`: every fault that the suite knows, within MINUTES (25), and a page with a table.

With --quick, as in `make test`: the part that takes seconds, and no page."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "companion")]

import torch  # noqa: E402
from faults import kills, least, memory, places, table  # noqa: E402
from faults.table import Row  # noqa: E402

# the tests that draw faults at random, with more draws than in `make test`
DRAWN = {
    "Parameters of the chapters, drawn at random": (
        "tests/companion/test_chapters_parameters.py",
        "in range, or refused by name before anything runs",
    ),
    "Damaged data files and downloads": (
        "tests/companion/test_data.py",
        "refused by file name, with the command that mends it",
    ),
    "Arguments of public functions of lib, drawn at random": (
        "tests/lib/test_arguments.py",
        "a right answer, or a TypeError or ValueError of our own",
    ),
}


def drawn(kind: str, cases: int, seconds: float) -> Row:
    """Run a file of tests with that many draws for each of its functions."""
    file, what = DRAWN[kind]
    environment = {**os.environ, "FUZZ_CASES": str(cases), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return Row(kind, 0, 0, what, f"not done within {seconds:.0f} s")
    last = done.stdout.strip().splitlines()[-1].split()
    count = {
        word.strip(","): int(n) for n, word in zip(last, last[1:], strict=False) if n.isdigit()
    }
    passed, failed = count.get("passed", 0), count.get("failed", 0) + count.get("error", 0)
    note = f"each function of the file with {cases} draws where it draws"
    return Row(kind, passed + failed, passed, what, note)


def main() -> int:
    """Try all, in the order of what they cost; the table is written in the end."""
    began, minutes = time.monotonic(), float(os.environ.get("MINUTES") or "25")
    torch.set_num_threads(1)
    rows: list[Row] = []

    def left() -> float:
        return 60 * minutes - (time.monotonic() - began)

    def tell(make: Callable[[], Row], kind: str = "") -> None:
        rows.append(make() if left() > 0 else Row(kind, 0, 0, "", "no time was left for it"))
        row = rows[-1]
        clock = f"{(time.monotonic() - began) / 60:5.1f} min"
        print(f"{clock}  {row.kind}: {row.tried} tried, {row.lost} wrong {row.note}", flush=True)

    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        folder = Path(scratch)
        tell(lambda: kills.kill_record(folder / "records", 5 if quick else 40))
        tell(lambda: places.files_too_large(folder / "large", 5 if quick else 20))
        tell(lambda: kills.kill_training(folder / "training", 1 if quick else 20))
        if quick:
            return int(any(row.lost for row in rows))
        tell(memory.short)
        root, wanted = places.prepared(folder)
        share = left() / 4
        tell(lambda: kills.kill_builds(root, 24, share, wanted), kills.BUILD)
        tell(lambda: places.read_only(folder / "read-only"), "Output that is read-only")
        tell(lambda: places.two_at_once(root, wanted), "Two builds at once")
        tell(lambda: places.edited(root, wanted), "An edit while the book is built")
        tell(lambda: places.clock(root), "A clock that jumps")
        tell(lambda: places.full_disk(folder / "disk", wanted, share), "Disk full")
        tell(lambda: least.run_all(left() - 240), "The least values of all parameters")
        for kind in DRAWN:
            tell(lambda kind=kind: drawn(kind, 100, max(60.0, left() / 2)), kind)
    table.write(rows, time.monotonic() - began)
    print(f"written: {table.PAGE.relative_to(ROOT)}")
    return int(any(row.lost for row in rows))


if __name__ == "__main__":
    sys.exit(main())
