"""The chapter of templates/ is one that the build takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
from toybook import call

from companion import claims, gate, plan

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"


def test_the_template_of_a_chapter_is_built_and_passes_the_gate(toy) -> None:
    source = toy / "book" / "07_template.py"
    shutil.copy(TEMPLATES / "chapter.py", source)
    ledger = toy / "book" / "claims.yaml"
    ledger.write_text(ledger.read_text() + (TEMPLATES / "claims.yaml").read_text())
    done = call(toy, "execute", "--chapter", "07_template", "--set", "samples=7")
    assert done.returncode == 0, done.stderr
    job = plan.job("07_template", "quick", {"samples": "7"}, toy)
    own = {k: c for k, c in claims.load(ledger).items() if c.chapter == "07_template"}
    executed = nbformat.read(toy / job.executed, 4)
    gate.check_chapter(executed, job, source.read_text(), own)
    assert gate.measurements(executed)["X1"].verdict(own["X1"]) == "reproduced"
