"""Which files of this repository a source imports, directly or through others, found by reading
its syntax tree rather than running it.

An import whose name is computed cannot be seen so; it is refused with its line, so that no page is
taken for fresh by mistake.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOMS = ("lib", "experiments", "companion")


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        ValueError: the file is not Python; the message names the line.
    """
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as fault:
        raise ValueError(f"{path.name}, line {fault.lineno}: {fault.msg}") from None


def direct_imports(path: Path, root: Path) -> set[Path]:
    """The files of lib, experiments and companion that one source imports, wherever in it the
    import stands.

    Args:
        path: a Python file (a py:percent chapter is one);  root: the checkout.
    Raises:
        ValueError: the file is not Python, or it imports a module whose name is computed.

    >>> from companion import paths
    >>> root = paths.root(); found = direct_imports(root / "companion" / "ledger.py", root)
    >>> sorted(p.name for p in found)
    ['__init__.py', 'claims.py', 'measurement.py']
    """
    tree = parse(path)
    names: set[str] = set(_dynamic_imports(tree, path.name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path, root)
            # `from lib import nets` names a module, `from lib.nets import MLP` does not: both are
            # tried as files
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    found: set[Path] = set()
    for name in names:
        parts = name.split(".")
        if parts[0] in ROOMS:
            for end in range(1, len(parts) + 1):
                found |= set(_files(root.joinpath(*parts[:end])))
    return found


def all_imports(path: Path, root: Path) -> list[Path]:
    """The source itself and every file of lib, experiments and companion that it imports,
    directly or through others, sorted.

    >>> from companion import paths
    >>> root = paths.root(); found = all_imports(root / "companion" / "numbers.py", root)
    >>> [p.name for p in found]
    ['numbers.py']
    """
    path, root = path.resolve(), root.resolve()
    seen, waiting = {path}, [path]
    while waiting:
        new = direct_imports(waiting.pop(), root) - seen
        seen |= new
        waiting += new
    return sorted(seen)


def _dynamic_imports(tree: ast.Module, name: str) -> Iterator[str]:
    """The modules named in calls of importlib.import_module and __import__."""
    calls = {id(n.func): n for n in ast.walk(tree) if isinstance(n, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "importlib":
            for alias in node.names:
                if alias.name == "import_module" and alias.asname:
                    raise ValueError(_hidden_import(name, node))
        if not (
            (isinstance(node, ast.Attribute) and node.attr == "import_module")
            or (isinstance(node, ast.Name) and node.id in ("import_module", "__import__"))
        ):
            continue
        call = calls.get(id(node))
        first = call.args[0] if call and call.args else None
        literal = first.value if isinstance(first, ast.Constant) else None
        if not isinstance(literal, str) or literal.startswith("."):
            raise ValueError(_hidden_import(name, node))
        yield literal


def _hidden_import(name: str, node: ast.expr | ast.stmt) -> str:
    return (
        f"{name}, line {node.lineno}: the build cannot see which module this imports, and would not"
        " notice when it changes: write its full name out, in an import statement"
    )


def _absolute(node: ast.ImportFrom, path: Path, root: Path) -> str:
    if not node.level:
        return node.module or ""
    package = path.relative_to(root).parts[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def _files(module: Path) -> list[Path]:
    return [f for f in (module.with_suffix(".py"), module / "__init__.py") if f.is_file()]
