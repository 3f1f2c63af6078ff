"""Which files of the checkout a chapter asks its run for, found by reading its syntax tree:
`run.printed("name")`, `run.benchmarks()` and `run.record("cpu")`."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TypeGuard

ASKED = ("printed", "benchmarks", "record")
# what would read a file, or run code, that the build does not see
FUNCTIONS = ("exec", "eval", "open")  # of the builtins; a net has a method eval
METHODS = (
    "read_text",
    "read_bytes",
    "loadtxt",
    "genfromtxt",
    "read_csv",
    "spec_from_file_location",
)
MODULES = ("run_path", "run_module", "exec_module")


@dataclass(frozen=True)
class Reads:
    """What a chapter asks of its run.

    Args:
        printed: names of files in book/printed/;  benchmarks: whether it reads benchmarks/results/.
        records: profiles whose record it quotes; None when it quotes one that is no literal.
    """

    printed: frozenset[str] = frozenset()
    benchmarks: bool = False
    records: frozenset[str] | None = frozenset()


def reads(source: str, name: str) -> Reads:
    """What a chapter asks of its run: `run.printed(...)`, `run.benchmarks()`, `run.record(...)`.

    Args:
        source: the text of the chapter;  name: what to call it in messages.
    Raises:
        ValueError: printed numbers whose name is no literal, or a method of `run` that is passed
            on instead of called.

    >>> reads("a = run.printed('gu2020-fig2b'); b = run.record('cpu')", "x")
    Reads(printed=frozenset({'gu2020-fig2b'}), benchmarks=False, records=frozenset({'cpu'}))
    """
    tree = ast.parse(source)
    calls = {id(n.func): n for n in ast.walk(tree) if isinstance(n, ast.Call)}
    printed: set[str] = set()
    records: set[str | None] = set()
    benchmarks = False
    _check_uses(tree, name)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and node.attr in ASKED and _is_run(node.value)):
            continue
        call = calls.get(id(node))
        if call is None:
            raise ValueError(_hidden(name, node, f"run.{node.attr}", "call it where it stands"))
        literal = _literal(call)
        if node.attr == "printed":
            if literal is None:
                raise ValueError(_hidden(name, node, "run.printed(...)", "write its name out"))
            printed.add(literal)
        elif node.attr == "record":
            records.add(literal)
        else:
            benchmarks = True
    quoted = None if None in records else frozenset(r for r in records if r is not None)
    return Reads(frozenset(printed), benchmarks, quoted)


def _check_uses(tree: ast.Module, name: str) -> None:
    """Refuse `run` under another name or handed on, code in texts, and files that are opened: none
    of these shows what is read."""
    owners = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    for node in ast.walk(tree):
        if _is_run(node) and isinstance(node.ctx, ast.Load) and id(node) not in owners:
            mend = "call its methods where they stand, as in run.printed(...)"
            raise ValueError(_hidden(name, node, "a function that run is handed to", mend))
        if isinstance(node, ast.Call) and _reads_unseen(node):
            mend = "read data by run.data, run.printed, run.record or run.benchmarks"
            raise ValueError(_hidden(name, node, f"{ast.unparse(node.func)}(...)", mend))


def _reads_unseen(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in {*METHODS, *MODULES}
    return isinstance(call.func, ast.Name) and call.func.id in {*FUNCTIONS, *METHODS, *MODULES}


def _is_run(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and node.id == "run"


def _literal(call: ast.Call) -> str | None:
    values = [*call.args, *(k.value for k in call.keywords)]
    if len(values) == 1 and isinstance(values[0], ast.Constant):
        return values[0].value if isinstance(values[0].value, str) else None
    return None


def _hidden(name: str, node: ast.expr, what: str, mend: str) -> str:
    return (
        f"{name}, line {node.lineno}: the build cannot see what {what} reads, and would not notice"
        f" when that changes: {mend}"
    )
