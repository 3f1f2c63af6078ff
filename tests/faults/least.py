"""The least values that the parameters of a chapter allow: what they are, and a run with them."""

from __future__ import annotations

import math
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from companion import assignments, params  # noqa: E402
from companion.params import Parameter  # noqa: E402

NEXT = 1e-6  # a range that is open below begins here


def least(source: str) -> dict[str, object]:
    """Parameter -> the least value allowed once all that it depends on have theirs; a text and a
    truth keep their defaults, the first of several choices is taken.

    >>> cell = '# %% tags=["parameters"]\\nn: int = 9  # nets, >= 2\\nm: list[int] = [3]  # x, >= 1'
    >>> least(cell)
    {'n': 2, 'm': [1]}
    """
    return {name: _least(p) for name, p in params.declared(source).items()}


def _least(p: Parameter) -> object:
    if p.choices:
        one: object = int(p.choices[0]) if p.scalar == "int" else p.choices[0]
    elif p.scalar in ("bool", "str"):
        return p.default
    else:
        operator, bound = next((o, b) for o, b in p.bounds if o[0] == ">")
        assert not isinstance(bound, str)  # no chapter has a lower bound by another parameter
        one = bound + (0 if operator == ">=" else NEXT)
        one = math.ceil(one) if p.scalar == "int" else float(one)
    return (
        [one + i * (1 if p.scalar == "int" else NEXT) for i in range(p.least)] if p.is_list else one
    )


if __name__ == "__main__":
    for path in sorted((ROOT / "book").glob("[0-9]*.py")):
        print(path.stem, assignments.write(least(path.read_text(encoding="utf-8"))))
