"""Digests of contents: of code without its comments and docstrings, of chapters, files and pins."""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from companion.dependencies import parse


def digest_of(*parts: str | bytes) -> str:
    """The first 20 hex digits of the SHA-256 of some parts; where one ends and the next begins
    counts.

    >>> digest_of("a", "bc") == digest_of("ab", "c")
    False
    """
    whole = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        whole.update(f"{len(part)}:".encode() + part)
    return whole.hexdigest()[:20]


def digest_files(files: Iterable[Path], root: Path) -> str:
    """One digest of names and contents; of when they were touched nothing, and of Python files
    outside book/ no comments, docstrings and layout.

    Args:
        files: files;  root: names are relative to it, or absolute when a file lies elsewhere.
    """
    named = sorted(
        (f.relative_to(root).as_posix() if f.is_relative_to(root) else f.name, f) for f in files
    )
    return digest_of(*(part for name, f in named for part in (name, _content(f, root))))


def _content(file: Path, root: Path) -> str | bytes:
    if file.suffix != ".py" or file.is_relative_to(root / "book"):
        return file.read_bytes()
    return code(parse(file))


def digest_chapter(source: str) -> str:
    """Digest of a py:percent chapter: the heads of its cells, its prose, and its code without
    comments, docstrings and layout.

    >>> a = "# %% [markdown]\\n# Text.\\n\\n# %%\\nx = 1  # one\\n"
    >>> digest_chapter(a) == digest_chapter(a.replace("one", "two"))
    True
    >>> digest_chapter(a) == digest_chapter(a.replace("Text", "Words"))
    False
    """
    head, *cells = re.split(r"^# %%(.*)$", source, flags=re.MULTILINE)
    parts = [head]
    for title, body in zip(cells[::2], cells[1::2], strict=True):
        prose = "[markdown]" in title or "[raw]" in title
        parts += [title.strip(), body.strip() if prose else code(ast.parse(body), module=False)]
    return digest_of(*parts)


def digest_pins(root: Path) -> str:
    """Digest of the exact pins and of the Python they are installed for; comments do not count."""
    text = (root / "requirements.txt").read_text(encoding="utf-8")
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    version = f"python {sys.version_info.major}.{sys.version_info.minor}"
    return digest_of(version, *filter(None, lines))


def code(tree: ast.AST, module: bool = True) -> str:
    """A syntax tree as a text that comments, docstrings and layout do not change.

    Args:
        module: whether a text at the very beginning is a docstring; in a cell of a notebook it is
            what the cell shows.

    >>> code(ast.parse("def f():\\n    'Says one.'\\n    return 1  # one")) == code(
    ...     ast.parse("def f(): return 1"))
    True
    """
    if not any(ast.unparse(n).endswith("__doc__") for n in ast.walk(tree) if _names(n)):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or (
                module and isinstance(node, ast.Module)
            ):
                _drop_docstring(node)
    return ast.dump(tree)


def _names(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def _drop_docstring(
    node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
) -> None:
    first = node.body[0] if node.body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        node.body = node.body[1:]
