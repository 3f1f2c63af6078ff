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
from toybook import call, inside, surroundings

from companion import plan
from companion.params import ParameterError

pytestmark = pytest.mark.xdist_group("toybook")  # one worker builds it, once
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copied(built, tmp_path) -> Path:
    """A copy of the toy book whose chapters have run, to be changed at will."""
    root = tmp_path / "copy"
    shutil.copytree(built, root, ignore=shutil.ignore_patterns("html", ".snakemake", "mine"))
    return root


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
    done = inside(built, "build")
    assert done.returncode == 0 and "Nothing has changed" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in (built / "_build").rglob("*")} == before


def test_a_bad_parameter_stops_before_anything_runs(toy) -> None:
    done = inside(toy, "build", "--chapter", "01_toy", "--set", "point=3 scale=11")
    assert done.returncode == 2 and not (toy / "_build" / "requests").exists()
    assert "01_toy (quick): point is not a parameter; scale = 11.0 is out of range" in done.stderr
    assert (
        "half length of the line (> 0 and <= 10)" in done.stderr and "Traceback" not in done.stderr
    )


def test_a_failing_chapter_does_not_lose_the_other(copied) -> None:
    toy = copied
    (toy / "book" / "profiles" / "quick.yaml").write_text("02_slow: {fail: true}\n")
    done = inside(toy, "build", "--cores", "2")
    said = done.stdout + done.stderr
    assert done.returncode != 0 and runs(toy) == ["01_toy", "02_slow"]  # this one ran before
    assert (
        "02_slow stopped under “A second chapter”: RuntimeError" in said
        and "the toy was told to fail" in said
    )
    assert "The book was not built. Kept: 01_toy." in said
    failed = nbformat.read(toy / "_build" / "failed" / "02_slow.ipynb", 4)
    assert any(o.output_type == "error" for c in failed.cells for o in c.get("outputs", ()))


@pytest.mark.slow  # `make faults` kills builds by the dozen
def test_an_interrupted_build_keeps_what_is_done_and_resumes(toy) -> None:
    slow = toy / "book" / "profiles" / "quick.yaml"
    slow.write_text("02_slow: {wait: 300}\n")
    command = [sys.executable, "-m", "companion", "build", "--until", "chapters", "--cores", "2"]
    process = subprocess.Popen(
        command, cwd=toy, env=surroundings(toy), start_new_session=True, stderr=subprocess.DEVNULL
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


def test_the_template_of_a_chapter_is_built_with_parameters_of_ones_own(copied) -> None:
    toy, name = copied, "07_template"
    shutil.copy(ROOT / "templates" / "chapter.py", toy / "book" / f"{name}.py")
    ledger = toy / "book" / "claims.yaml"
    ledger.write_text(ledger.read_text() + (ROOT / "templates" / "claims.yaml").read_text())
    before = (toy / "_build" / "quick").exists()
    done = inside(toy, "build", "--chapter", name, "--set", "samples=7 seed=3")
    assert done.returncode == 0, done.stderr
    assert "X1 reproduced: measured " in done.stdout.replace("\u00a0", " ")
    (folder,) = (toy / "_build" / "mine").glob("*-*")
    assert folder.name.startswith(f"{name}-")
    assert f"{name} samples=7 seed=3" in words(toy / "_build" / "mine" / "index.html")
    page = words(folder / "html" / f"{name}.html")
    assert f'make chapter CH={name} P="samples=7 seed=3"' in page and "samples = 7" in page
    assert (toy / "_build" / "quick").exists() == before
    done = inside(toy, "record", "--chapter", name, "--set", "samples=7 seed=3")
    assert f"recorded book/records/more/{name}.json" in done.stdout
    record = json.loads((toy / "book" / "records" / "more" / f"{name}.json").read_text())
    assert record["profile"] == "more" and record["parameters"]["samples"] == 7


def test_a_profile_is_recorded(copied) -> None:
    root = copied
    done = inside(root, "record", "--chapter", "01_toy")
    assert done.returncode == 0, done.stderr
    assert "recorded book/records/quick/01_toy.json" in done.stdout
    record = json.loads((root / "book" / "records" / "quick" / "01_toy.json").read_text())
    assert record["claims"]["T1"]["measured"] == 0.0 and record["provenance"]["versions"]["numpy"]


def test_plain_papermill_refuses_bad_parameters(built, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(built))
    source = built / "_build" / "notebooks" / "01_toy.ipynb"
    given = {"point": 10, "points": 1.5}
    with pytest.raises(papermill.PapermillExecutionError, match="point is not a para") as caught:
        papermill.execute_notebook(
            str(source), str(tmp_path / "out.ipynb"), given, progress_bar=False
        )
    assert caught.value.ename == ParameterError.__name__
    assert "points = 1.5 is float: expected int" in caught.value.evalue


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
