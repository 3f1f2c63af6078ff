"""What a build passes on to Snakemake and to the kernels, and what of the reader's settings it
does not."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import pytest

from companion import assignments, build, children, figures, own, plan, request, surroundings


@pytest.fixture
def called(monkeypatch):
    """The command and the environment that a build would run, with what it returns."""
    seen: dict[str, object] = {}

    def run(command, folder, environment):
        seen.update(command=list(command), folder=folder, environment=environment)
        if isinstance(seen.get("raises"), Exception):
            raise seen["raises"]
        return 1

    monkeypatch.setattr(children, "run", run)
    return seen


def test_the_readers_own_settings_of_snakemake_are_left_out(toy, called, monkeypatch) -> None:
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "slurm")
    build.run(request.Request(), build.Options(), toy)
    assert not [name for name in called["environment"] if name.startswith("SNAKEMAKE_")]
    command = " ".join(called["command"])
    assert "--profile none --workflow-profile none" in command
    assert called["environment"]["PYTHONUTF8"] == "1"


def test_no_value_of_a_parameter_stands_in_the_command(toy, called) -> None:
    text = (toy / "book" / "02_slow.py").read_text()
    line = 'note: str = ""  # any text\n'
    (toy / "book" / "02_slow.py").write_text(text.replace("wait: float", line + "wait: float"))
    given = {"note": 'it\'s {x} $(ls) "quoted"\n[&]'}
    wanted = request.Request("quick", "02_slow", given)
    assert build.run(wanted, build.Options(), toy) == 1
    (argument,) = [w for w in called["command"] if w.startswith("request=")]
    assert request.load(toy / argument.removeprefix("request=")) == wanted
    assert not any("it's" in word for word in called["command"])
    job = plan.job("02_slow", "quick", given, toy)
    assert job.parameters["note"] == given["note"]
    assert assignments.parse(assignments.write(job.overrides)) == given


def test_a_stop_says_what_is_kept_and_how_to_go_on(toy, called, capsys) -> None:
    called["raises"] = children.Stopped(15)
    assert build.run(request.Request(), build.Options(), toy) == 143
    said = capsys.readouterr().out
    assert "Stopped. Kept: nothing. The same command goes on from there." in said


def test_a_kernel_sees_neither_start_up_files_nor_a_matplotlibrc(toy, tmp_path) -> None:
    seen = surroundings.of_kernel("quick", 1, toy, str(tmp_path))
    assert {Path(seen[name]) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR")} == {tmp_path}
    assert Path(seen["MATPLOTLIBRC"]).parent == tmp_path
    assert Path(seen["MPLCONFIGDIR"]).is_relative_to(toy / "_build")
    assert "inline" in seen["MPLBACKEND"]


def test_the_style_of_the_book_replaces_what_was_set_before() -> None:
    with mpl.rc_context({"text.usetex": True, "lines.linestyle": "--"}):
        figures.use_style()
        assert not mpl.rcParams["text.usetex"]
        assert mpl.rcParams["lines.linestyle"] == "-"
        assert mpl.rcParams["lines.linewidth"] == figures.STYLE["lines.linewidth"]


def test_runs_of_ones_own_have_a_folder_each_and_a_list(tmp_path) -> None:
    one = request.Request("quick", "01_toy", {"points": "7"})
    two = request.Request("quick", "01_toy", {"points": "8"})
    assert one.folder != two.folder != request.Request("cpu", "01_toy", {"points": "8"}).folder
    for wanted in (one, two, two):
        page = own.enter(wanted, tmp_path).read_text()
    assert page.count("<li>") == 2
    assert "01_toy points=7" in page
    note = json.loads((tmp_path / one.folder / "request.json").read_text())
    assert request.Request(**note) == one
