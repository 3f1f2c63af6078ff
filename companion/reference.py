"""The reference of `lib`: a page for each room, written from the docstrings as the syntax has them.

Our docstrings are plain text with formulas, which reStructuredText would take for markup, so each
part is set here by what it is: words, formulas, arguments, an example.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from companion import paths
from companion.dependencies import parse

MARKER = "<!-- rooms -->"
SECTIONS = ("Args", "Returns", "Raises", "Source")
Definition = ast.FunctionDef | ast.ClassDef | ast.Assign


@dataclass(frozen=True)
class Room:
    """A package of `lib` with the names that its `__all__` offers.

    Args:
        name: dotted, such as lib.width;  words: what its docstring says.
        names: each with its definition.
    """

    name: str
    words: str
    names: dict[str, Definition]

    @property
    def page(self) -> str:
        """The name of its page.

        >>> Room("lib.train.sgd", "", {}).page
        'lib_train_sgd'
        """
        return self.name.replace(".", "_")


def rooms(root: Path) -> list[Room]:
    """All of them, by name."""
    found = []
    for file in sorted((root / "lib").rglob("__init__.py")):
        tree = parse(file)
        names = [
            str(name)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            for name in ast.literal_eval(node.value)
        ]
        if names:
            dotted = ".".join(file.parent.relative_to(root).parts)
            defined = _definitions(file.parent)
            kept = {name: defined[name] for name in sorted(names, key=str.lower) if name in defined}
            found.append(Room(dotted, ast.get_docstring(tree) or "", kept))
    return found


def _definitions(folder: Path) -> dict[str, Definition]:
    nodes = (node for file in sorted(folder.rglob("*.py")) for node in parse(file).body)
    found: dict[str, Definition] = {}
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found.setdefault(ast.unparse(node.targets[0]), node)
    return found


def write(root: Path, folder: Path) -> None:
    """Write the page of every room into a folder, and their list into its reference.md."""
    found = rooms(root)
    for room in found:
        paths.write_atomic(folder / f"{room.page}.md", page(room))
    index = folder / "reference.md"
    text = index.read_text(encoding="utf-8")
    paths.write_atomic(index, text.replace(MARKER, listed(found)))


def listed(found: list[Room]) -> str:
    """A table for each room: its names, linked, with the first sentence of each."""
    parts = []
    for room in found:
        rows = [
            f"| {{py:obj}}`{name} <{room.name}.{name}>` | {plain(first(node))} |"
            for name, node in room.names.items()
        ]
        head = f"## {room.name}\n\n{plain(room.words)} [All of it]({room.page}.md)."
        parts.append("\n".join([head, "", "| name | what it does |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def page(room: Room) -> str:
    """A room as Markdown."""
    # the examples know what their own file has
    preface = f"from {room.name} import {', '.join(room.names)}; import torch; from torch import nn"
    hidden = f"```{{autolink-preface}} {preface}\n:level: file\n```"
    head = f"# {room.name}\n\n{plain(room.words)} ([All rooms](reference.md).)\n\n{hidden}"
    body = [entry(room.name, name, node) for name, node in room.names.items()]
    return "\n\n".join([head, *body]) + "\n"


def entry(room: str, name: str, node: Definition) -> str:
    """A function or class: its signature, then what its docstring says."""
    if isinstance(node, ast.Assign):
        return f"::::{{py:data}} {room}.{name}\nAnother name of `{ast.unparse(node.value)}`.\n::::"
    kind = "class" if isinstance(node, ast.ClassDef) else "function"
    parts = [*_docstring(ast.get_docstring(node) or "")]
    parts += [_methods(node)] if isinstance(node, ast.ClassDef) else []
    body = "\n\n".join(filter(None, parts))
    return f"::::{{py:{kind}}} {room}.{name}{signature(node)}\n{body}\n::::"


def signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    """Its parameters without types, of which the text speaks.

    >>> signature(ast.parse("def f(x: int, *, lr: float = 0.1) -> int: ...").body[0])
    '(x, *, lr=0.1)'
    """
    if isinstance(node, ast.ClassDef):
        return _fields(node)
    args = ast.parse(ast.unparse(node.args).join(("def f(", "): ..."))).body[0]
    assert isinstance(args, ast.FunctionDef)
    for arg in ast.walk(args.args):
        if isinstance(arg, ast.arg):
            arg.annotation = None
    return f"({ast.unparse(args.args)})"


def _fields(node: ast.ClassDef) -> str:
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            return re.sub(r"^\(self(, )?", "(", signature(child))
    found = []
    for child in node.body:
        if isinstance(child, ast.AnnAssign) and not ast.unparse(child.target).startswith("_"):
            default = f"={ast.unparse(child.value)}" if child.value else ""
            found.append(ast.unparse(child.target) + default)
    return f"({', '.join(found)})" if found else ""


def _methods(node: ast.ClassDef) -> str:
    rows = []
    for child in node.body:
        words = ast.get_docstring(child) if isinstance(child, ast.FunctionDef) else None
        if isinstance(child, ast.FunctionDef) and words and not child.name.startswith("_"):
            plainly = any(ast.unparse(d).endswith("property") for d in child.decorator_list)
            call = "" if plainly else re.sub(r"^\((self|cls)(, )?", "(", signature(child))
            rows.append(f"- `{child.name}{call}`: {plain(first(child))}")
    return "\n".join(rows)


def first(node: Definition) -> str:
    """The first paragraph of its docstring, on one line."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.value)
    return " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())


def _docstring(text: str) -> Iterator[str]:
    words, _, example = text.partition("\n>>> ") if not text.startswith(">>> ") else ("", "", text)
    opening, *sections = re.split(rf"^(?=(?:{'|'.join(SECTIONS)}):)", words, flags=re.MULTILINE)
    for paragraph in opening.strip().split("\n\n"):
        yield f"```text\n{paragraph}\n```" if is_formula(paragraph) else plain(paragraph)
    for section in sections:
        title, _, body = section.partition(":")
        yield f"**{title}**" + "".join(f"\n{line}" for line in _items(body))
    if example:
        example = re.sub(r"  # doctest:.*", "", example)  # Sphinx leaves such flags out, so do we
        yield f"```python\n>>> {example.removeprefix('>>> ').rstrip()}\n```"


def _items(body: str) -> Iterator[str]:
    """The lines of a section: one with `name: words` begins an item of a list, others go on."""
    text = re.sub(r";  (?=[\w, *]+: )", "\n    ", body)
    for line in text.strip().splitlines():
        bare = line.strip()
        named = re.match(r"([\w*]+(?:, [\w*]+)*): (.*)", bare)
        if named:
            yield f"- `{named[1]}`: {plain(named[2])}"
        elif bare:
            yield f"  {plain(bare)}"


def is_formula(paragraph: str) -> bool:
    """Whether a paragraph is made of formulas, whose lines stay as they are.

    >>> is_formula("W'^[l] = [W^[l]; W^[l]_s],  b'^[l] = [b^[l]; b^[l]_s],")
    True
    >>> is_formula("The output is unchanged, whatever the input is, since alpha = 1.")
    False
    """
    words = re.findall(r"(?<![\w^'_])[a-z]{3,}(?![\w^_(])", paragraph)
    return bool(re.search(r"[=<>]", paragraph)) and len(words) < 4 * (1 + paragraph.count("\n"))


def plain(text: str) -> str:
    """Text of a docstring in Markdown: `code` stays, all else is what it looks like.

    >>> plain("*batch of `x`")
    '\\\\*batch of `x`'
    """
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if i % 2 else re.sub(r"([\\*_$<>\[\]|{}~#^])", r"\\\1", part)
        for i, part in enumerate(parts)
    )
