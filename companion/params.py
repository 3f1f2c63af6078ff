"""Typed, commented, range-checked parameters of a chapter, read from the one cell that is tagged
`parameters`.

Each line of that cell declares one parameter:

    trials: int = 200         # nets per width, >= 1
    rate: float = 0.005       # learning rate, in (0, 1]
    data: str = "digits"      # images to train on, one of digits, mnist
    images: int = 300         # training images, in [50, train(data)]
    widths: list[int] = [1, 2, 3]  # hidden widths, at least 2 of them, rising, >= 1

Grammar: `name: type = default  # meaning[, at least n of them][, rising][, range]`, where type is
int, float, bool, str or list[one of these] and range is one or two of `>= a`, `> a`, `<= a`, `< a`
(or `≥ a`, `≤ a`), joined by ` and `, or an interval `in [a, b]`, `in (a, b]`, ..., or `one of a, b,
c` (to the end of the line). A bound is a number, another parameter, or train(p) or test(p): how
many images there are of the data set that the parameter p names; or log2(p); or one of these over
another, as in `images // batch`, rounded down. The range of a list holds for each of its items. A
list is never empty, names nothing twice, and has at most 100 items.

papermill.inspect_notebook reads such lines too, but by guessing: it knows no ranges, and passes
over a line that it cannot read.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import shlex
import tokenize
from collections.abc import Iterator, Mapping

from companion.data import SIZES
from companion.parameter import SCALARS, Bound, Parameter, ParameterError, holds

__all__ = ["Parameter", "ParameterError", "declared", "papermill_flags", "resolve", "table"]

_TERM = r"[-+.\w]+(?:\(\w+\))?"
_VALUE = rf"{_TERM}(?: // {_TERM})?"
_RANGE = re.compile(rf",\s*(?=(?:(?:[<>]=?|≤|≥)\s*{_VALUE}|in\s*[\[(]|one of\s))")
_BOUND = re.compile(rf"([<>]=?|≤|≥)\s*({_VALUE})$")
_INTERVAL = re.compile(rf"in\s*([\[(])\s*({_VALUE})\s*,\s*({_VALUE})\s*([\])])$")
_LEAST = re.compile(r",\s*at least (\d+) of them")
_RISING = re.compile(r",\s*rising\b")
_CALL = re.compile(r"(train|test|log2)\((\w+)\)")


def declared(source: str) -> dict[str, Parameter]:
    """The parameters that a py:percent chapter declares, in order.

    Args:
        source: text of the chapter.
    Raises:
        ValueError: no such cell, more than one, or a line that the grammar does not cover.

    >>> cell = '# %% tags=["parameters"]\\ntrials: int = 200  # nets per width, >= 1\\n\\n# %%\\n'
    >>> p = declared(cell)["trials"]; p.kind, p.default, p.meaning, p.range
    ('int', 200, 'nets per width', '>= 1')
    """
    cells = re.split(r"^# %%(.*)$", source, flags=re.MULTILINE)
    heads = zip(cells[1::2], cells[2::2], strict=True)
    tagged = [body for head, body in heads if re.search(r'"parameters"', head)]
    if len(tagged) != 1:
        raise ValueError(f"the chapter has {len(tagged)} cells tagged parameters: expected one")
    comments = _comments(tagged[0])
    found: dict[str, Parameter] = {}
    for node in ast.parse(tagged[0]).body:
        line = ast.get_source_segment(tagged[0], node) or ""
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        comment = " ".join(comments[i] for i in lines if i in comments)
        parameter = _parameter(node, line, comment)
        parameter.check(parameter.default)
        found[parameter.name] = parameter
    for parameter in found.values():
        _check_names(parameter, found)
    faults = list(_relations(found, {name: p.default for name, p in found.items()}))
    if faults:
        raise ValueError(f"parameters cell: {'; '.join(faults)}")
    return found


def _comments(cell: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(cell).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def _parameter(node: ast.stmt, line: str, comment: str) -> Parameter:
    if (
        not isinstance(node, ast.AnnAssign)
        or not isinstance(node.target, ast.Name)
        or node.value is None
    ):
        raise ValueError(
            f"parameters cell: {line!r} is not `name: type = default  # meaning, range`"
        )
    kind = ast.unparse(node.annotation)
    if kind.removeprefix("list[").removesuffix("]") not in SCALARS:
        raise ValueError(
            f"parameters cell: {line!r} has type {kind}: expected int, float, bool, str or a list"
            " of one"
        )
    if not comment:
        raise ValueError(f"parameters cell: {line!r} has no comment: say what it means")
    least = _LEAST.search(comment)
    rising = _RISING.search(comment) is not None
    rest = _RISING.sub("", _LEAST.sub("", comment, count=1), count=1)
    meaning, bounds, choices = _comment(rest)
    default = ast.literal_eval(node.value)
    number = int(least[1]) if least else 1
    return Parameter(node.target.id, kind, default, meaning, bounds, choices, number, rising)


def _comment(comment: str) -> tuple[str, tuple[Bound, ...], tuple[str, ...]]:
    """Meaning, bounds and choices."""
    meaning, *rest = _RANGE.split(comment, maxsplit=1)
    if not rest:
        return meaning, (), ()
    if rest[0].startswith("one of"):
        choices = rest[0].removeprefix("one of").split(",")
        return meaning, (), tuple(c.strip().strip("\"'") for c in choices)
    interval = _INTERVAL.match(rest[0].strip())
    if interval:
        left, low, high, right = interval.groups()
        lower: Bound = (">=" if left == "[" else ">", _bound(low))
        return meaning, (lower, ("<=" if right == "]" else "<", _bound(high))), ()
    bounds: list[Bound] = []
    for part in rest[0].split(" and "):
        found = _BOUND.match(part.strip())
        if found is None:
            raise ValueError(
                f"parameters cell: cannot read the range {rest[0]!r}; see companion/params.py for"
                " the grammar"
            )
        operator = {"≥": ">=", "≤": "<="}.get(found[1], found[1])
        bounds.append((operator, _bound(found[2])))
    return meaning, tuple(bounds), ()


def _bound(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _check_names(parameter: Parameter, known: Mapping[str, Parameter]) -> None:
    for _, bound in parameter.bounds:
        for term in bound.split(" // ") if isinstance(bound, str) else ():
            call = _CALL.fullmatch(term)
            name = call[2] if call else term
            if name not in known and not name.isdigit():
                raise ValueError(
                    f"parameters cell: cannot read the range of {parameter.name}: {name} is"
                    " neither a number nor a parameter"
                )


def _relations(parameters: Mapping[str, Parameter], values: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with values that others bound."""
    for p in parameters.values():
        for operator, bound in p.bounds:
            if isinstance(bound, str):
                limit, why = _limit(bound, values)
                value = values[p.name]
                for v in value if isinstance(value, list) else [value]:
                    if not holds(v, operator, limit):
                        yield f"{p.name} = {v} is out of range: expected {operator} {limit}, {why}"


def _limit(bound: str, values: Mapping[str, object]) -> tuple[float, str]:
    """A bound by other parameters, and what it is in words."""
    limit, *rest = (_term(term, values) for term in bound.split(" // "))
    for over in rest:
        limit = limit // over
    call = _CALL.fullmatch(bound)
    if call and call[1] != "log2":
        return limit, f"the {call[1]} images of {values[call[2]]}"
    return limit, f"the value of {bound}"


def _term(text: str, values: Mapping[str, object]) -> float:
    call = _CALL.fullmatch(text)
    if call and call[1] != "log2":
        return SIZES[str(values[call[2]]), call[1]]
    value = int(text) if text.isdigit() else values[call[2] if call else text]
    assert isinstance(value, int | float)
    return math.log2(value) if call else value


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
) -> dict[str, object]:
    """Defaults overridden by what is given, all faults reported at once.

    Args:
        given: name -> value;  texts: the values are texts to parse (profiles, command line), not
            Python objects.
    Raises:
        ParameterError: the chapter's parameters, then every unknown name, wrong type and value out
            of range.

    >>> p = declared('# %% tags=["parameters"]\\nseed: int = 0  # seed of every draw, >= 0\\n')
    >>> resolve(p, {"seed": "3"}, "01_width", texts=True)
    {'seed': 3}
    """
    faults: list[str] = []
    values = {name: p.default for name, p in parameters.items()}
    for name, value in given.items():
        if name not in parameters:
            faults.append(f"{name} is not a parameter")
            continue
        try:
            values[name] = parameters[name].parse(value) if texts else parameters[name].check(value)
        except ParameterError as fault:
            faults.append(str(fault))
    faults += [] if faults else [*_relations(parameters, values), *_devices(values)]
    if faults:
        raise ParameterError(
            f"The parameters of {chapter.split()[0]} are\n{table(parameters)}\n"
            f"{chapter}: {'; '.join(faults)}."
        )
    return values


def _devices(values: Mapping[str, object]) -> Iterator[str]:
    if values.get("device") == "cuda":
        import torch

        if not torch.cuda.is_available():
            yield "device = 'cuda': torch finds no GPU here; expected device=cpu"


def papermill_flags(values: Mapping[str, object], parameters: Mapping[str, Parameter]) -> str:
    """The options of papermill that repeat a run, "" for the defaults.

    >>> known = declared('# %% tags=["parameters"]\\nwidths: list[int] = [1]  # hidden widths\\n')
    >>> print(papermill_flags({"widths": [1, 2]}, known))
     -y '{"widths": [1, 2]}'
    """
    return "".join(
        _flag(name, value) for name, value in values.items() if value != parameters[name].default
    )


def _flag(name: str, value: object) -> str:
    if isinstance(value, list):
        items = ", ".join(_yaml(v) for v in value)
        return " -y " + shlex.quote(f'{{"{name}": [{items}]}}')
    # -p guesses the type of what looks like a number; -r takes a text as it is
    return f" {'-r' if isinstance(value, str) else '-p'} {name} {shlex.quote(str(value))}"


def _yaml(value: object) -> str:
    text = json.dumps(value)
    # YAML 1.1 reads 1e-05 as a text, and 1.0e-05 as a number
    return re.sub(r"^(-?\d+)e", r"\1.0e", text) if isinstance(value, float) else text
