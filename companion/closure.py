"""Which files of this repository a source imports, directly or through others, found by reading it
rather than running it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOMS = ("lib", "experiments", "companion")


def imports(path: Path, root: Path) -> set[Path]:
    """The files of lib, experiments and companion that one source names in import statements,
    wherever in it they stand.

    Args:
        path: a Python file (a py:percent chapter is one);  root: the checkout.
    Raises:
        ValueError: the file is not Python; the message names the line.

    >>> from companion import paths
    >>> root = paths.root(); sorted(p.name for p in imports(root / "companion" / "ledger.py", root))
    ['__init__.py', 'claims.py', 'numbers.py']
    """
    try:
        tree = ast.parse(path.read_text())
    except SyntaxError as fault:
        raise ValueError(f"{path.name}, line {fault.lineno}: {fault.msg}") from None
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path, root)
            # `from lib import mlp` names a module, `from lib.nets.mlp import MLP` does not: both
            # are tried as files
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    found: set[Path] = set()
    for name in names:
        parts = name.split(".")
        if parts[0] in ROOMS:
            found |= {
                f for i in range(1, len(parts) + 1) for f in _files(root.joinpath(*parts[:i]))
            }
    return found


def _absolute(node: ast.ImportFrom, path: Path, root: Path) -> str:
    if not node.level:
        return node.module or ""
    package = path.relative_to(root).parts[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def _files(module: Path) -> list[Path]:
    return [f for f in (module.with_suffix(".py"), module / "__init__.py") if f.is_file()]


def closure(path: Path, root: Path) -> list[Path]:
    """The source itself and every file of lib, experiments and companion that it imports
    transitively, sorted.

    >>> from companion import paths
    >>> root = paths.root(); [p.name for p in closure(root / "companion" / "claims.py", root)]
    ['__init__.py', 'claims.py', 'numbers.py', 'paths.py', '__init__.py']
    """
    path, root = path.resolve(), root.resolve()
    seen, waiting = {path}, [path]
    while waiting:
        new = imports(waiting.pop(), root) - seen
        seen |= new
        waiting += new
    return sorted(seen)
