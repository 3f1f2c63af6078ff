"""The part of `make faults` that takes seconds, and how its table is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from faults import forked, table
from faults.least import least

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_is_lost_by_kills_and_files_that_may_not_grow() -> None:
    command = [sys.executable, str(ROOT / "tests" / "faults" / "run.py"), "--quick"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("0 wrong") == 3


def test_how_a_process_ended_is_told() -> None:
    assert forked.call(lambda: 3).value == 3
    assert forked.call(lambda: 1 / 0).error == "ZeroDivisionError: division by zero"
    assert forked.call(lambda: __import__("time").sleep(60), kill_after=0.05).signal == 9


def test_a_row_that_lost_something_is_counted(tmp_path) -> None:
    page = tmp_path / "faults.md"
    page.write_text(f"# Faults\n\n{table.BEGIN}\nformer table\n{table.END}\n\nEnd.\n")
    rows = [table.Row("kill", 9, 9, "same"), table.Row("full", 3, 2, "told", "a note")]
    for _ in range(2):
        table.write(rows, 90, page)
    text = page.read_text()
    assert "| full | 3 | 1 | told (a note) |" in text
    assert "12 tried, 1 lost or wrong" in text
    assert "former table" not in text
    assert text.endswith("End.\n") and text.count("| kill |") == 1


def test_the_least_values_of_every_chapter_are_allowed() -> None:
    from companion import params

    for path in (ROOT / "book").glob("[0-9]*.py"):
        source = path.read_text(encoding="utf-8")
        known = params.declared(source)
        values = least(source)
        assert params.resolve(known, values, path.stem, texts=False) == values
