"""The structure of the code, read from its syntax: rooms, arrows, sizes and public names.

python tests/house.py > lib/README.md    # writes the table of public names anew
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Public names of `lib`

What the rooms of `lib` offer, as their `__init__.py` list it. All else may change without notice.
Arguments come in one order: net, x, y, then what is acted upon (layer, neuron), then options by
name. This table is written by `python tests/house.py > lib/README.md`.
"""


def sources(*folders: str) -> dict[str, Path]:
    """Dotted name -> file, of the Python files below some folders."""
    files = (p for folder in folders for p in (ROOT / folder).rglob("*.py"))
    return {_dotted(p): p for p in files if "__pycache__" not in p.parts}


def _dotted(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(modules: dict[str, Path]) -> dict[str, set[str]]:
    """Module -> the modules among these that it imports, also inside functions."""
    arrows: dict[str, set[str]] = {}
    for module, path in modules.items():
        names: set[str] = set()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= {n if n in modules else node.module for n in whole}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
        arrows[module] = names & set(modules) - {module}
    return arrows


def room(module: str) -> str:
    """The room of a module: lib.width, lib.train.descent, experiments.pruning, companion."""
    parts = module.split(".")
    if parts[0] == "companion":
        return "companion"
    return ".".join(parts[: 3 if parts[:2] == ["lib", "train"] else 2])


def reachable(arrows: dict[str, set[str]], start: str) -> set[str]:
    """All that an arrow or several lead to."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = arrows.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


@dataclass(frozen=True)
class Function:
    """A function of the code: where, and how large."""

    where: str
    parameters: int
    lines: int


def functions(modules: dict[str, Path]) -> Iterator[Function]:
    """Every function and method; lines are those of the body without its docstring."""
    for module, path in modules.items():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and node.body[1:] else node.body
                words = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
                count = len([w for w in words if w not in ("self", "cls")])
                count += len(node.args.kwonlyargs)
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                yield Function(f"{module}.{node.name}", count, lines)


def public() -> dict[str, list[str]]:
    """Room of lib -> the names in its `__all__`."""
    rooms = {}
    for module, path in sorted(sources("lib").items()):
        for node in tree(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                rooms[module] = list(ast.literal_eval(node.value))
    return rooms


@dataclass(frozen=True)
class Cell:
    """A code cell that a reader sees unfolded: its chapter and its lines that are not blank."""

    chapter: str
    lines: int


def visible_cells() -> Iterator[Cell]:
    """The cells of all chapters without a tag that folds or removes them."""
    for path in sorted((ROOT / "book").glob("[0-9]*.py")):
        text = path.read_text(encoding="utf-8")
        for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
            head, *lines = cell.splitlines()
            if "[markdown]" not in head and not re.search(r"hide-|remove-|parameters", head):
                yield Cell(path.stem, sum(bool(line.strip()) for line in lines))


def _definition(module: str, name: str) -> tuple[str, ast.AST | None]:
    """Where a public name of a room is defined."""
    for path in sorted((ROOT / module.replace(".", "/")).rglob("*.py")):
        for node in tree(path).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
                return _dotted(path), node
    return module, None


def table() -> str:
    """lib/README.md: every public name, what it does, and the theorem or source it stands for."""
    lines = [HEAD]
    for module, names in public().items():
        first = (ast.get_docstring(tree(sources("lib")[module])) or "").split("\n\n")[0]
        lines += [f"## `{module}`\n", " ".join(first.split()) + "\n"]
        lines += ["| name | what it does | source |", "|---|---|---|"]
        for name in sorted(names, key=str.lower):
            _, node = _definition(module, name)
            words = ast.get_docstring(node) or "" if isinstance(node, ast.AST) else ""
            what = " ".join(words.split("\n\n")[0].split()).replace("|", "\\|")
            source = re.search(r"\(([A-Z][^()]*?(?:\d{4}|Thm|Sec|App)[^()]*)\)", words)
            where = " ".join(source[1].split()) if source else ""
            lines.append(f"| `{name}` | {what} | {where} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(), end="")
