"""From sources to pages with the real Snakemake, papermill and jupyter-book, on a toy book."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest
from toybook import call

from companion import plan
from companion.params import ParameterError

pytestmark = pytest.mark.xdist_group("toybook")  # one worker builds it, once


def words(page: Path) -> str:
    """The text of a page, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page.read_text())).split())


def runs(root: Path) -> list[str]:
    return sorted(p.name.split("-")[0] for p in (root / "_build" / "runs").glob("*"))


def test_the_book_has_its_pages_its_figures_and_its_ledger(built) -> None:
    site = built / "_build" / "quick" / "html"
    page = (site / "01_toy.html").read_text()
    assert 'id="fig-toy-odd"' in page and 'alt="A curve that rises from the lower left."' in page
    assert "Fig. 1.1" in page and "Theorem 1.1" in page  # references are resolved
    assert "verdict-reproduced" in page and "make chapter CH=01_toy" in words(site / "01_toy.html")
    ledger = {c["id"]: c for c in json.loads((site / "claims.json").read_text())["claims"]}
    assert ledger["T1"]["results"]["quick run"]["verdict"] == "reproduced"
    results = ledger["T2"]["results"]
    assert results["cpu record"] is None and results["paper record"] is None
    # a null that makes it fail stands beside the trials, and both can be downloaded
    assert results["quick run"]["verdict"] == "reproduced"
    assert results["quick run"]["nulls"]["square"]["columns"]["value"][-1] == 0.0
    csv = next(site.rglob("claim-T2.csv")).read_text()
    assert csv.startswith("trials,seed,value\nmeasured,1,1.0\n") and "null: square,5,0.0" in csv
    card = (site / "scorecard.html").read_text()
    assert (
        all(column in card for column in ("quick run", "cpu record", "paper record"))
        and "no record yet" in card
    )
    (numbers,) = (site / "_downloads").rglob("odd.csv")
    assert numbers.read_text().startswith("x,y\n-1.0,-0.76")


def test_no_page_tells_where_it_was_built(built) -> None:
    texts = [
        p
        for p in (built / "_build" / "quick" / "html").rglob("*")
        if p.suffix in (".html", ".ipynb", ".json", ".txt")
    ]
    assert texts and not [p.name for p in texts if str(built) in p.read_text(errors="ignore")]


def test_the_executed_notebook_is_stamped(built, executed) -> None:
    job = plan.job("01_toy", "quick", {}, built)
    assert executed.metadata["book"] == job.metadata
    assert set(executed.metadata["book"]["stamp"]) == {"code", "parameters", "data", "pins"}


def test_a_second_build_does_nothing(built) -> None:
    before = {p: p.stat().st_mtime_ns for p in (built / "_build").rglob("*")}
    for file in [
        *(built / "lib").rglob("*.py"),
        *(built / "companion").rglob("*.py"),
        *(built / "book").rglob("*.*"),
    ]:
        os.utime(file)
    began = time.monotonic()
    done = call(built, "build")
    assert done.returncode == 0 and "Nothing has changed" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in (built / "_build").rglob("*")} == before
    assert time.monotonic() - began < 30  # about one second on an idle machine


def test_a_bad_parameter_stops_before_anything_runs(toy) -> None:
    done = call(toy, "build", "--chapter", "01_toy", "--set", "point=3 scale=11")
    assert done.returncode == 2 and not (toy / "_build").exists()
    assert "01_toy (quick): point is not a parameter; scale = 11.0 is out of range" in done.stderr
    assert (
        "half length of the line (> 0 and <= 10)" in done.stderr and "Traceback" not in done.stderr
    )


def test_a_failing_chapter_does_not_lose_the_other(toy) -> None:
    (toy / "book" / "profiles" / "quick.yaml").write_text("02_slow: {fail: true}\n")
    done = call(toy, "build")
    said = done.stdout + done.stderr
    assert done.returncode != 0 and runs(toy) == ["01_toy"]
    assert (
        "02_slow stopped under “A second chapter”: RuntimeError" in said
        and "the toy was told to fail" in said
    )
    assert "The book was not built. Kept: 01_toy." in said
    failed = nbformat.read(toy / "_build" / "failed" / "02_slow.ipynb", 4)
    assert any(o.output_type == "error" for c in failed.cells for o in c.get("outputs", ()))


def test_an_interrupted_build_keeps_what_is_done_and_resumes(toy) -> None:
    slow = toy / "book" / "profiles" / "quick.yaml"
    slow.write_text("02_slow: {wait: 300}\n")
    environment = {**os.environ, "PYTHONPATH": str(toy)}
    command = [sys.executable, "-m", "companion", "build", "--until", "chapters", "--cores", "2"]
    process = subprocess.Popen(
        command, cwd=toy, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    try:
        while not (toy / "_build" / "runs").is_dir() or runs(toy) != ["01_toy"]:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the hardest interruption: nothing can tidy up
        process.wait()
    assert runs(toy) == ["01_toy"]
    (first,) = (toy / "_build" / "runs").iterdir()
    before = first.stat().st_mtime_ns
    slow.write_text("{}\n")
    done = call(toy, "build", "--until", "chapters")
    assert done.returncode == 0, done.stderr
    assert runs(toy) == ["01_toy", "02_slow"] and first.stat().st_mtime_ns == before


def test_a_chapter_with_parameters_of_ones_own_has_a_book_of_its_own(toy) -> None:
    done = call(toy, "build", "--chapter", "01_toy", "--set", "points=7 seed=3")
    assert done.returncode == 0, done.stderr
    (folder,) = (toy / "_build" / "mine").glob("*-*")
    assert folder.name.startswith("01_toy-")
    assert "01_toy points=7 seed=3" in words(toy / "_build" / "mine" / "index.html")
    page = words(folder / "html" / "01_toy.html")
    assert 'make chapter CH=01_toy P="points=7 seed=3"' in page and "points = 7" in page
    assert "T1 reproduced: measured 0, bound ≤ 1 × 10⁻¹⁵" in done.stdout.replace("\u00a0", " ")
    assert not (toy / "_build" / "quick").exists()
    done = call(toy, "record", "--chapter", "01_toy", "--set", "points=7 seed=3")
    assert "recorded book/records/more/01_toy.json" in done.stdout
    record = json.loads((toy / "book" / "records" / "more" / "01_toy.json").read_text())
    assert record["profile"] == "more" and record["parameters"]["points"] == 7


def test_a_profile_is_recorded_and_stands_on_the_scorecard(built, tmp_path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(built, root, ignore=shutil.ignore_patterns("html", ".snakemake"))
    done = call(root, "record", "--chapter", "01_toy")
    assert done.returncode == 0, done.stderr
    assert "recorded book/records/quick/01_toy.json" in done.stdout
    record = json.loads((root / "book" / "records" / "quick" / "01_toy.json").read_text())
    assert record["claims"]["T1"]["measured"] == 0.0 and record["provenance"]["versions"]["numpy"]


@pytest.mark.parametrize(
    "given, says",
    [({"point": 10}, "point is not a parameter"), ({"points": 1.5}, "is float: expected int")],
)
def test_plain_papermill_refuses_a_bad_parameter(given, says, built, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(built))
    source = built / "_build" / "notebooks" / "01_toy.ipynb"
    with pytest.raises(papermill.PapermillExecutionError, match=says) as caught:
        papermill.execute_notebook(
            str(source), str(tmp_path / "out.ipynb"), given, progress_bar=False
        )
    assert caught.value.ename == ParameterError.__name__


def test_plain_papermill_runs_a_chapter(built, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(built))
    source = built / "_build" / "notebooks" / "01_toy.ipynb"
    nb = papermill.execute_notebook(
        str(source), str(tmp_path / "out.ipynb"), {"points": 10}, progress_bar=False
    )
    foot = nb.cells[-1].outputs[0].data["text/markdown"]
    assert (
        "papermill 01_toy.ipynb out.ipynb -p points 10" in foot and "| profile | by hand |" in foot
    )
