"""Typed, commented, range-checked parameters of a chapter, read from the one cell that is tagged
`parameters`.

Each line of that cell declares one parameter:

    trials: int = 200         # nets per width, >= 1
    rate: float = 0.005       # learning rate, in (0, 1]
    data: str = "digits"      # images to train on, one of digits, mnist
    widths: list[int] = [1, 2, 3]  # hidden widths, >= 1

Grammar: `name: type = default  # meaning[, range]`, where type is int, float, bool, str or list[one
of these] and range is one or two of `>= a`, `> a`, `<= a`, `< a` (or `≥ a`, `≤ a`), joined by
` and `, or an interval `in [a, b]`, `in (a, b]`, ..., or `one of a, b, c` (to the end of the line).
The range of a list holds for each of its items."""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass

SCALARS = {"int": int, "float": float, "bool": bool, "str": str}
_RANGE = re.compile(r",\s*(?=(?:(?:[<>]=?|≤|≥)\s*[-+.\d]|in\s*[\[(]|one of\s))")
_BOUND = re.compile(r"([<>]=?|≤|≥)\s*([-+.\w]+)$")
_INTERVAL = re.compile(r"in\s*([\[(])\s*([-+.\w]+)\s*,\s*([-+.\w]+)\s*([\])])$")


class ParameterError(ValueError):
    """A parameter that the chapter does not have, of a wrong type, or out of range."""


@dataclass(frozen=True)
class Parameter:
    """One declared parameter.

    Args:
        kind: "int", "float", "bool", "str" or "list[...]".
        bounds: pairs (operator, number) that every value, or every item of a list, satisfies.
        choices: the values allowed, or () for any.
    """

    name: str
    kind: str
    default: object
    meaning: str
    bounds: tuple[tuple[str, float], ...] = ()
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """The range in words, "" without one."""
        return (
            "one of " + ", ".join(self.choices)
            if self.choices
            else " and ".join(f"{o} {b:g}" for o, b in self.bounds)
        )

    def check(self, value: object) -> object:
        """The value, an int made float where a float is declared.

        Raises:
            ParameterError: wrong type, not finite, or out of range.
        """
        if self.kind.startswith("list["):
            if not isinstance(value, (list, tuple)):
                raise ParameterError(
                    f"{self.name} = {value!r} is {type(value).__name__}: expected {self.kind}"
                )
            return [self._item(v) for v in value]
        return self._item(value)

    def _item(self, value: object) -> object:
        kind = self.kind.removeprefix("list[").removesuffix("]")
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not SCALARS[kind]:
            raise ParameterError(
                f"{self.name} = {value!r} is {type(value).__name__}: expected {self.kind}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ParameterError(f"{self.name} = {value}: expected a finite number")
        inside = all(_holds(value, o, b) for o, b in self.bounds) and (
            not self.choices or str(value) in self.choices
        )
        if not inside:
            raise ParameterError(f"{self.name} = {value!r} is out of range: expected {self.range}")
        return value

    def parse(self, text: object) -> object:
        """The value that a text (of a profile or of the command line) or a list of texts stands
        for."""
        kind = self.kind.removeprefix("list[").removesuffix("]")
        if self.kind.startswith("list["):
            if isinstance(text, str):
                text = [
                    t.strip()
                    for t in text.strip().removeprefix("[").removesuffix("]").split(",")
                    if t.strip()
                ]
            if not isinstance(text, list):
                raise ParameterError(f"{self.name} = {text!r}: expected {self.kind}")
            return self.check([_scalar(self.name, t, kind) for t in text])
        return self.check(_scalar(self.name, text, kind))


def _holds(value, operator: str, bound: float) -> bool:
    return {">=": value >= bound, ">": value > bound, "<=": value <= bound, "<": value < bound}[
        operator
    ]


def _scalar(name: str, text: object, kind: str) -> object:
    if not isinstance(text, str):
        raise ParameterError(f"{name} = {text!r}: expected one {kind}")
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        return SCALARS[kind](text)
    except (ValueError, KeyError):
        raise ParameterError(
            f"{name} = {text!r} is not {'an' if kind == 'int' else 'a'} {kind}"
        ) from None


def declared(source: str) -> dict[str, Parameter]:
    """The parameters that a py:percent chapter declares, in order.

    Args:
        source: text of the chapter.
    Raises:
        ValueError: no such cell, more than one, or a line that the grammar does not cover.

    >>> declared('# %% tags=["parameters"]\\ntrials: int = 200  # nets per width, >= 1\\n\\n# %%\\n')["trials"]
    Parameter(name='trials', kind='int', default=200, meaning='nets per width', \
bounds=(('>=', 1.0),), choices=())"""
    cells = re.split(r"^# %%(.*)$", source, flags=re.MULTILINE)
    tagged = [
        body
        for head, body in zip(cells[1::2], cells[2::2], strict=True)
        if re.search(r'"parameters"', head)
    ]
    if len(tagged) != 1:
        raise ValueError(f"the chapter has {len(tagged)} cells tagged parameters: expected one")
    comments = {
        t.start[0]: t.string.lstrip("# ").strip()
        for t in tokenize.generate_tokens(io.StringIO(tagged[0]).readline)
        if t.type == tokenize.COMMENT
    }
    found = {}
    for node in ast.parse(tagged[0]).body:
        line = ast.get_source_segment(tagged[0], node)
        if (
            not isinstance(node, ast.AnnAssign)
            or not isinstance(node.target, ast.Name)
            or node.value is None
        ):
            raise ValueError(
                f"parameters cell: {line!r} is not `name: type = default  # meaning, range`"
            )
        kind, comment = ast.unparse(node.annotation), comments.get(node.end_lineno, "")
        if kind.removeprefix("list[").removesuffix("]") not in SCALARS:
            raise ValueError(
                f"parameters cell: {line!r} has type {kind}: expected int, float, bool, str or a"
                " list of one"
            )
        if not comment:
            raise ValueError(f"parameters cell: {line!r} has no comment: say what it means")
        meaning, bounds, choices = _comment(comment)
        parameter = Parameter(
            node.target.id, kind, ast.literal_eval(node.value), meaning, bounds, choices
        )
        parameter.check(parameter.default)
        found[parameter.name] = parameter
    return found


def _comment(comment: str) -> tuple[str, tuple[tuple[str, float], ...], tuple[str, ...]]:
    meaning, *rest = _RANGE.split(comment, maxsplit=1)
    if not rest:
        return meaning, (), ()
    if rest[0].startswith("one of"):
        return (
            meaning,
            (),
            tuple(c.strip().strip("\"'") for c in rest[0].removeprefix("one of").split(",")),
        )
    interval = _INTERVAL.match(rest[0].strip())
    if interval:
        left, low, high, right = interval.groups()
        return (
            meaning,
            (
                (">=" if left == "[" else ">", float(low)),
                ("<=" if right == "]" else "<", float(high)),
            ),
            (),
        )
    bounds = [_BOUND.match(part.strip()) for part in rest[0].split(" and ")]
    if not all(bounds):
        raise ValueError(
            f"parameters cell: cannot read the range {rest[0]!r}; see companion/params.py for the"
            " grammar"
        )
    return meaning, tuple(({"≥": ">=", "≤": "<="}.get(b[1], b[1]), float(b[2])) for b in bounds), ()


def table(parameters: Mapping[str, Parameter]) -> str:
    """The parameters as lines of text: name, type, default, meaning, range."""
    rows = [
        (p.name, p.kind, repr(p.default), p.meaning + (f" ({p.range})" if p.range else ""))
        for p in parameters.values()
    ]
    widths = [max(len(r[i]) for r in rows) for i in range(3)] if rows else []
    return "\n".join(
        "  " + "  ".join(c.ljust(w) for c, w in zip(r, [*widths, 0], strict=True)) for r in rows
    )


def resolve(
    parameters: Mapping[str, Parameter], given: Mapping[str, object], chapter: str, *, texts: bool
) -> dict:
    """Defaults overridden by what is given, all faults reported at once.

    Args:
        given: name -> value;  texts: the values are texts to parse (profiles, command line), not
            Python objects.
    Raises:
        ParameterError: every unknown name, wrong type and value out of range, then the chapter's
            parameters.

    >>> p = declared('# %% tags=["parameters"]\\nseed: int = 0  # seed of every draw, >= 0\\n')
    >>> resolve(p, {"seed": "3"}, "01_width", texts=True)
    {'seed': 3}
    """
    faults, values = [], {name: p.default for name, p in parameters.items()}
    for name, value in given.items():
        if name not in parameters:
            faults.append(f"{name} is not a parameter")
            continue
        try:
            values[name] = parameters[name].parse(value) if texts else parameters[name].check(value)
        except ParameterError as fault:
            faults.append(str(fault))
    if faults:
        raise ParameterError(
            f"{chapter}: {'; '.join(faults)}.\nThe parameters of {chapter} are\n{table(parameters)}"
        )
    return values
