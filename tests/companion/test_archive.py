"""The archive of a built book, and figures drawn from stored numbers."""

from __future__ import annotations

import hashlib
import json
import zipfile

import numpy as np
import pytest

from companion import archive, plan, redraw
from companion.request import Request


@pytest.mark.slow
@pytest.mark.xdist_group("toybook")
def test_the_archive_is_a_crate_whose_checksums_hold(built) -> None:
    packed = archive.run(Request(), built)
    with zipfile.ZipFile(packed) as crate:
        names = set(crate.namelist())
        told = json.loads(crate.read("ro-crate-metadata.json"))
        lines = crate.read(archive.MANIFEST).decode().splitlines()
        for line in lines:
            digest, name = line.split("  ", 1)
            assert hashlib.sha256(crate.read(name)).hexdigest() == digest
        environment = json.loads(crate.read("environment.json"))
        assert json.loads(crate.read("data.json"))["read by the chapters"] == {
            "01_toy": {},
            "02_slow": {},
        }
    assert {"book/index.html", "notebooks/01_toy.ipynb", "rows/T2.csv", "requirements.txt"} <= names
    assert len(lines) == len([n for n in names if not n.endswith("/")]) - 1
    about = {entity["@id"]: entity for entity in told["@graph"]}
    assert about["ro-crate-metadata.json"]["conformsTo"]["@id"].startswith("https://w3id.org/ro")
    assert "make chapter CH=01_toy" in about["notebooks/01_toy.ipynb"]["description"]
    parts = {part["@id"] for part in about["./"]["hasPart"]}
    assert {"book/", "rows/", "data.json", "notebooks/02_slow.ipynb"} <= parts
    assert any(p.startswith("torch==") for p in environment["packages"])


def test_a_book_that_is_not_built_is_not_archived(toy) -> None:
    with pytest.raises(FileNotFoundError, match="make book PROFILE=quick first"):
        archive.run(Request(), toy)


@pytest.mark.slow
@pytest.mark.xdist_group("toybook")
def test_a_figure_is_drawn_from_what_is_stored_and_a_wrong_name_lists_them(built) -> None:
    job = plan.job("01_toy", "quick", {}, built)
    (line,) = redraw.run(job, "odd", built)
    assert (built / "_build" / "figures" / "01_toy-odd.svg").read_text().startswith("<?xml")
    assert "Drawn from the numbers of 01_toy-" in line
    assert redraw.run(job, "", built)[1] == "  odd"
    with pytest.raises(ValueError, match=r"even: there is no such figure\.\n.*\n  odd"):
        redraw.run(job, "even", built)


def test_columns_of_one_length_share_a_panel_and_texts_cannot_be_drawn(tmp_path) -> None:
    columns = {"x": np.arange(3), "y": np.ones(3), "m": np.eye(4), "one": np.ones(1)}
    assert [list(p) for p in redraw._panels(columns)] == [["x", "y"], ["m"]]
    redraw.draw({**columns, "alone": np.arange(5)}, "t", tmp_path / "a.svg")
    assert (tmp_path / "a.svg").is_file()
    assert redraw.fault({"words": np.array(["a", "b"])}).startswith("it holds no column")
