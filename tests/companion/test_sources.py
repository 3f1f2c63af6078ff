"""The texts of the repository: how long their lines are, and that files are opened as UTF-8."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from jupytext import reads

from companion.notebooks import notebook

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "book").glob("[0-9]*.py"))
OWN = [p for room in ("lib", "experiments", "companion") for p in (ROOT / room).rglob("*.py")]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_only_rows_of_tables_are_longer_than_100_columns(path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    wide = [f"line {i}" for i, line in enumerate(lines, 1) if len(line) > 100]
    assert [w for w in wide if not lines[int(w[5:]) - 1].startswith("# |")] == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_the_cells_of_a_notebook_are_the_code_of_the_source(path) -> None:
    cells = [c.source for c in notebook(path.stem, ROOT).cells if c.cell_type == "code"]
    code = ast.parse("\n".join(cells))
    assert ast.dump(code) == ast.dump(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("word", ["rm", "ls", "cat", "cd", "mv", "echo", "%time", "!ls"])
def test_a_comment_that_begins_like_a_command_stays_a_comment(word, toy) -> None:
    path = toy / "book" / "02_slow.py"
    text = path.read_text()
    path.write_text(text + f"\n# %%\n# {word} what is left over\nx = 1\n")
    assert notebook("02_slow", toy).cells[-1].source == f"# {word} what is left over\nx = 1"
    plain = reads("# %%\n# ls all\nx = 1\n", "py:percent")
    assert plain.cells[0].source.startswith("ls")  # what jupytext does by itself


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_are_opened_as_utf_8(path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr in ("read_text", "write_text"):
            assert "encoding" in {k.arg for k in node.keywords}, f"line {node.lineno}"
