"""A chapter is run again exactly when something it rests on has changed in content."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from companion import asking, contents, data, dependencies, digests, plan
from companion.params import ParameterError


def digest(root: Path, chapter: str = "02_slow", profile: str = "quick", **overrides: str) -> str:
    return plan.job(chapter, profile, overrides, root).stamp.digest


def append(path: Path, text: str = "\nCHANGED = 1\n") -> None:
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize(
    "file", ["book/02_slow.py", "lib/nets/activations.py", "lib/__init__.py", "companion/claims.py"]
)
def test_a_change_of_the_source_or_of_an_imported_file_runs_it_again(file, toy) -> None:
    before = digest(toy)
    append(toy / file)
    assert digest(toy) != before


@pytest.mark.parametrize(
    "file", ["lib/nets/activations.py", "companion/claims.py", "book/02_slow.py"]
)
def test_a_change_of_comments_docstrings_and_layout_runs_nothing(file, toy) -> None:
    path = toy / file
    append(path, "\n\ndef added():\n    return 1\n")
    before = digest(toy)
    text = path.read_text()
    path.write_text(text.replace("return 1\n", "'Says one.'\n\n    # one\n    return (1)\n"))
    assert digest(toy) == before
    path.write_text(text.replace("return 1\n", "return 2\n"))
    assert digest(toy) != before


def test_a_docstring_that_the_program_reads_counts() -> None:
    texts = '"""One."""\nprint(__doc__)', '"""Two."""\nprint(__doc__)'
    one, two = (digests.code(ast.parse(text)) for text in texts)
    assert one != two


def test_prose_and_tags_of_a_chapter_count(toy) -> None:
    text = (toy / "book" / "01_toy.py").read_text()
    found = {digests.digest_chapter(text)}
    for old, new in (("A toy chapter", "A small chapter"), ('["remove-input"]', '["hide-input"]')):
        found.add(digests.digest_chapter(text.replace(old, new)))
    assert len(found) == 3


def test_a_text_that_a_cell_shows_is_no_docstring() -> None:
    one, two = (digests.digest_chapter(f"# %%\n'{text}'\n") for text in ("one", "two"))
    assert one != two


def test_a_file_reached_only_through_others_counts(toy) -> None:
    (toy / "lib" / "deep.py").write_text("VALUE = 1\n")
    append(
        toy / "lib" / "nets" / "activations.py",
        "\ndef late():\n    from lib import deep\n    return deep.VALUE\n",
    )
    before = digest(toy)
    append(toy / "lib" / "deep.py")
    assert digest(toy) != before


@pytest.mark.parametrize(
    "file",
    [
        "lib/width/splitting.py",
        "book/01_toy.py",
        "book/index.md",
        "book/claims.yaml",
        "companion/gate.py",
        "Snakefile",
    ],
)
def test_a_change_elsewhere_does_not(file, toy) -> None:
    before = digest(toy)
    append(toy / file)
    assert digest(toy) == before


def test_touching_every_file_does_not(toy) -> None:
    before = digest(toy)
    for file in toy.rglob("*"):
        os.utime(file, (2e9, 2e9))
    assert digest(toy) == before


def test_parameters_count_and_going_back_finds_the_earlier_run(toy) -> None:
    before = digest(toy)
    assert digest(toy, wait="0.5") != before
    quick = toy / "book" / "profiles" / "quick.yaml"
    quick.write_text("02_slow: {wait: 0.5}\n")
    assert digest(toy) == digest(toy, wait="0.5") != before
    quick.write_text("02_slow: {wait: 0}\n")
    assert digest(toy) == before
    quick.write_text("01_toy: {points: 7}\n")
    assert digest(toy) == before


def test_pins_count_and_their_comments_do_not(toy) -> None:
    before = digest(toy)
    pins = toy / "requirements.txt"
    append(pins, "\n    # via nothing\n")
    assert digest(toy) == before
    pins.write_text(pins.read_text().replace("numba==", "numba==1"))
    assert digest(toy) != before


def test_another_profile_is_another_run(toy) -> None:
    assert digest(toy, profile="cpu") != digest(toy)


def test_data_count_where_a_parameter_names_them(toy, monkeypatch, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("DATA_DIR", str(folder))
    chapter = toy / "book" / "02_slow.py"
    line = 'images: str = "digits"  # what to train on, one of digits, mnist\n'
    chapter.write_text(chapter.read_text().replace("wait: float", line + "wait: float"))
    before = digest(toy)
    with pytest.raises(
        data.MissingData, match="02_slow reads mnist at the quick profile.*run `make data`"
    ):
        digest(toy, images="mnist")
    (folder / "mnist").mkdir()
    (folder / "mnist" / "train.npz").write_bytes(b"one")
    first = digest(toy, images="mnist")
    (folder / "mnist" / "train.npz").write_bytes(b"two")
    assert len({before, first, digest(toy, images="mnist")}) == 3
    assert digest(toy) == before  # digits come with a pin


def test_a_record_that_the_chapter_quotes_counts(toy) -> None:
    record = toy / "book" / "records" / "cpu" / "02_slow.json"
    record.parent.mkdir(parents=True)
    before = digest(toy)
    record.write_text("{}")
    assert digest(toy) == before
    append(toy / "book" / "02_slow.py", '\n# %%\nold = run.record("cpu")\n')
    quoting = digest(toy)
    record.write_text('{"claims": {}}')
    assert digest(toy) != quoting


def test_the_files_of_the_real_library_are_found() -> None:
    root = Path(__file__).resolve().parents[2]
    names = {
        p.relative_to(root).as_posix()
        for p in dependencies.all_imports(root / "lib" / "nets" / "sequential.py", root)
    }
    assert {
        "lib/__init__.py",
        "lib/nets/sequential.py",
        "lib/nets/mlp.py",
        "lib/nets/activations.py",
    } <= names
    assert not any(n.startswith("companion/") for n in names)  # arrows run one way


def test_relative_imports_and_packages_are_followed(tmp_path) -> None:
    package = tmp_path / "lib" / "pack"
    package.mkdir(parents=True)
    for name, text in {
        "__init__": "from .a import x",
        "a": "from . import b\nx = 1",
        "b": "from .. import top",
    }.items():
        (package / f"{name}.py").write_text(text)
    (tmp_path / "lib" / "__init__.py").write_text("")
    (tmp_path / "lib" / "top.py").write_text("")
    (tmp_path / "main.py").write_text("import os, lib.pack.a as thing")
    found = {
        p.relative_to(tmp_path).as_posix()
        for p in dependencies.all_imports(tmp_path / "main.py", tmp_path)
    }
    files = {
        "lib/__init__.py",
        "lib/pack/__init__.py",
        "lib/pack/a.py",
        "lib/pack/b.py",
        "lib/top.py",
    }
    assert found == files | {"main.py"}


def test_a_source_that_is_not_python_is_named(tmp_path) -> None:
    (tmp_path / "x.py").write_text("a = 1\nb = = 2\n")
    with pytest.raises(ValueError, match="x.py, line 2"):
        dependencies.direct_imports(tmp_path / "x.py", tmp_path)


def test_all_faults_of_all_chapters_are_told_before_anything_runs(toy) -> None:
    (toy / "book" / "profiles" / "quick.yaml").write_text(
        "01_toy: {pionts: 3}\n02_slow: {wait: -1}\n"
    )
    with pytest.raises(ValueError) as caught:
        plan.jobs("quick", root=toy)
    assert "01_toy (quick): pionts is not a parameter" in str(caught.value)
    assert "02_slow (quick): wait = -1.0 is out of range" in str(caught.value)


@pytest.mark.parametrize(
    "text, says",
    [
        ("03_none: {x: 1}", "sets 03_none, but there is no book/03_none.py"),
        ("01_toy: 5", "expected name: value lines"),
    ],
)
def test_a_profile_that_fits_no_chapter_is_refused(text, says, toy) -> None:
    (toy / "book" / "profiles" / "quick.yaml").write_text(text)
    with pytest.raises(ValueError, match=says):
        plan.jobs("quick", root=toy)


def test_what_cannot_be_planned_is_said(toy) -> None:
    with pytest.raises(
        ValueError, match="no profile 'fast': expected one of quick, cpu, wide, paper"
    ):
        plan.jobs("fast", root=toy)
    with pytest.raises(FileNotFoundError, match="no chapter '7': there are 01_toy, 02_slow"):
        plan.jobs("quick", ["7"], root=toy)
    with pytest.raises(ValueError, match="belong to one chapter: say which"):
        plan.jobs("quick", overrides={"seed": "1"}, root=toy)
    with pytest.raises(ParameterError, match="sede is not a parameter"):
        plan.jobs("quick", ["01_toy"], {"sede": "1"}, root=toy)
    (toy / "book" / "glossary.md").unlink()
    with pytest.raises(FileNotFoundError, match="_toc.yml lists glossary"):
        contents.pages(toy)


def test_the_command_repeats_the_run(toy) -> None:
    job = plan.job("01_toy", "cpu", {"points": "7"}, toy)
    assert job.command == 'make chapter CH=01_toy PROFILE=cpu P="points=7"'
    assert plan.job("01_toy", "quick", {}, toy).command == "make chapter CH=01_toy"


def test_printed_numbers_that_the_chapter_reads_count(toy) -> None:
    append(toy / "book" / "02_slow.py", '\n# %%\ncurve = run.printed("a-fig1")\n')
    (toy / "book" / "printed").mkdir(exist_ok=True)
    (toy / "book" / "printed" / "a-fig1.csv").write_text("x\n1\n")
    (toy / "book" / "printed" / "b-fig2.csv").write_text("x\n1\n")
    before = digest(toy)
    append(toy / "book" / "printed" / "b-fig2.csv", "2\n")
    assert digest(toy) == before
    append(toy / "book" / "printed" / "a-fig1.csv", "2\n")
    assert digest(toy) != before


@pytest.mark.parametrize("call", ["run.printed('a-fig1')", "run.printed(name='a-fig1')"])
def test_printed_numbers_are_found_however_they_are_written(call) -> None:
    assert asking.reads(f"x = [{call}['x']]", "x.py").printed == {"a-fig1"}


@pytest.mark.parametrize(
    "line",
    [
        "run.printed(name)",
        "read = run.printed",
        "getattr(run, 'printed')('a')",
        "f(run.record)",
        "other = run",
        "show(run)",
        "exec('import lib.late')",
        "open('book/printed/a.csv')",
        "np.loadtxt('book/printed/a.csv')",
        "importlib.util.spec_from_file_location('a', 'lib/late.py')",
    ],
)
def test_what_reading_cannot_find_is_refused_with_its_line(line, toy) -> None:
    append(toy / "book" / "02_slow.py", f"\n# %%\nname = 'a'\n{line}\n")
    number = len((toy / "book" / "02_slow.py").read_text().splitlines())
    with pytest.raises(ValueError, match=f"02_slow.py, line {number}: the build cannot see what"):
        digest(toy)


def test_printed_numbers_that_are_not_there_are_refused(toy) -> None:
    append(toy / "book" / "02_slow.py", "\n# %%\ncurve = run.printed('c-fig3')\n")
    with pytest.raises(ValueError, match=r"02_slow reads book/printed/c-fig3.csv: there are "):
        digest(toy)


@pytest.mark.parametrize("call", ["importlib.import_module('lib.late')", "__import__('lib.late')"])
def test_a_module_imported_by_a_call_counts(call, toy) -> None:
    (toy / "lib" / "late.py").write_text("VALUE = 1\n")
    append(toy / "lib" / "nets" / "activations.py", f"\nimport importlib\nLATE = {call}\n")
    before = digest(toy)
    append(toy / "lib" / "late.py")
    assert digest(toy) != before


@pytest.mark.parametrize(
    "line",
    [
        "importlib.import_module(name)",
        "importlib.import_module('.late', 'lib')",
        "load = importlib.import_module",
        "from importlib import import_module as load",
        "__import__(f'lib.{name}')",
    ],
)
def test_a_module_whose_name_is_computed_is_refused_with_its_line(line, tmp_path) -> None:
    (tmp_path / "x.py").write_text(f"import importlib\nname = 'late'\n{line}\n")
    with pytest.raises(ValueError, match=r"x\.py, line 3: the build cannot see which module"):
        dependencies.direct_imports(tmp_path / "x.py", tmp_path)


def test_only_the_record_that_is_quoted_counts(toy) -> None:
    append(toy / "book" / "02_slow.py", "\n# %%\nold = run.record('cpu')\n")
    before = digest(toy)
    record = toy / "book" / "records" / "paper" / "02_slow.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    assert digest(toy) == before


def test_benchmarks_that_the_chapter_reads_count(toy) -> None:
    results = toy / "benchmarks" / "results"
    results.mkdir(parents=True)
    before = digest(toy)
    (results / "one.json").write_text("{}")
    assert digest(toy) == before
    append(toy / "book" / "02_slow.py", "\n# %%\nmeasured = run.benchmarks()\n")
    reading = digest(toy)
    (results / "one.json").write_text('{"rows": []}')
    changed = digest(toy)
    (results / "two.json").write_text("{}")
    assert len({before, reading, changed, digest(toy)}) == 4
