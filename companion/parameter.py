"""One parameter of a chapter: its type, its range, and what to say of a value that does not fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCALARS: Mapping[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
LARGEST = 2**31 - 1  # of an int that has no bound of its own: torch and numpy take no larger seed
MANY = 100  # items of a list
Bound = tuple[str, float | str]


class ParameterError(ValueError):
    """A parameter that the chapter does not have, of a wrong type, or out of range."""


@dataclass(frozen=True)
class Parameter:
    """One declared parameter.

    Args:
        kind: "int", "float", "bool", "str" or "list[...]".
        bounds: pairs (operator, bound) that every value, or every item of a list, satisfies; a
            bound is a number, or a text that says how it follows from other parameters.
        choices: the values allowed, or () for any;  least: how many items a list has at least.
        rising: whether each item of a list is larger than the one before.
    """

    name: str
    kind: str
    default: Any
    meaning: str
    bounds: tuple[Bound, ...] = ()
    choices: tuple[str, ...] = ()
    least: int = 1
    rising: bool = False

    @property
    def range(self) -> str:
        """The range in words, "" without one."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        many = [f"at least {self.least} of them"] if self.least > 1 else []
        rising = ["rising"] if self.rising else []
        return ", ".join([*many, *rising, *filter(None, [_words(self.bounds)])])

    @property
    def scalar(self) -> str:
        """The type of the value, or of the items of a list."""
        return self.kind.removeprefix("list[").removesuffix("]")

    @property
    def is_list(self) -> bool:
        """Whether it takes a list."""
        return self.kind.startswith("list[")

    def check(self, value: object) -> object:
        """The value, an int made float where a float is declared.

        Raises:
            ParameterError: wrong type, not finite, too few, or out of range.
        """
        if not self.is_list:
            return self._item(value)
        if not isinstance(value, list | tuple):
            raise ParameterError(
                f"{self.name} = {value!r} is {type(value).__name__}: expected {self.kind}"
            )
        if len(value) < self.least:
            raise ParameterError(
                f"{self.name} = {list(value)!r} has {len(value)} items: expected at least"
                f" {self.least}"
            )
        if len(value) > MANY:
            raise ParameterError(f"{self.name} has {len(value)} items: expected at most {MANY}")
        items = [self._item(v) for v in value]
        self._check_order(items)
        return items

    def _check_order(self, items: list[Any]) -> None:
        twice = next((v for i, v in enumerate(items) if v in items[:i]), None)
        if twice is not None:
            raise ParameterError(f"{self.name} = {items!r} has {twice!r} twice: expected it once")
        if self.rising and items != sorted(items):
            raise ParameterError(f"{self.name} = {items!r}: expected rising numbers")

    def _item(self, value: object) -> object:
        if self.scalar == "float" and type(value) is int and abs(value) < 10**300:
            value = float(value)
        if type(value) is not SCALARS[self.scalar]:
            raise ParameterError(
                f"{self.name} = {value!r} is {type(value).__name__}: expected {self.kind}"
            )
        if isinstance(value, str) and not _writable(value):
            raise ParameterError(f"{self.name} = {value!r} is no text that can be written as UTF-8")
        if isinstance(value, float) and not math.isfinite(value):
            raise ParameterError(f"{self.name} = {value}: expected a finite number")
        if type(value) is int and abs(value) > LARGEST:
            raise ParameterError(f"{self.name} = {value} is too large: expected at most {LARGEST}")
        if self.choices and str(value) not in self.choices:
            raise ParameterError(f"{self.name} = {value!r} is out of range: expected {self.range}")
        for operator, bound in self.bounds:
            if isinstance(bound, int | float) and not holds(value, operator, bound):
                raise ParameterError(
                    f"{self.name} = {value!r} is out of range: expected {_words(self.bounds)}"
                )
        return value

    def parse(self, text: object) -> object:
        """The value that a text (of a profile or of the command line) or a list of texts stands
        for.

        Raises:
            ParameterError: as `check`, or a text that is no such value.
        """
        if not self.is_list:
            return self.check(self._parsed(text))
        if isinstance(text, str):
            inner = text.strip().removeprefix("[").removesuffix("]")
            text = [t.strip() for t in inner.split(",") if t.strip()]
        if not isinstance(text, list):
            raise ParameterError(f"{self.name} = {text!r}: expected {self.kind}")
        return self.check([self._parsed(t) for t in text])

    def _parsed(self, text: object) -> object:
        if not isinstance(text, str):
            raise ParameterError(f"{self.name} = {text!r}: expected one {self.scalar}")
        try:
            if self.scalar == "bool":
                return {"true": True, "false": False}[text.lower()]
            return SCALARS[self.scalar](text)
        except (ValueError, KeyError):
            a = "an" if self.scalar == "int" else "a"
            raise ParameterError(f"{self.name} = {text!r} is not {a} {self.scalar}") from None


def _writable(text: str) -> bool:
    """Whether it is UTF-8, and may be the name of a file."""
    return "\0" not in text and text.encode("utf-8", "replace").decode("utf-8") == text


def holds(value: Any, operator: str, bound: float) -> bool:
    """Whether a value satisfies one bound.

    >>> holds(3, ">=", 3), holds(3, "<", 3)
    (True, False)
    """
    return {
        ">=": bool(value >= bound),
        ">": bool(value > bound),
        "<=": bool(value <= bound),
        "<": bool(value < bound),
    }[operator]


def _words(bounds: tuple[Bound, ...]) -> str:
    return " and ".join(f"{o} {_bare(b)}" for o, b in bounds)


def _bare(bound: float | str) -> str:
    """A bound without a point behind whole numbers."""
    return f"{bound:.0f}" if isinstance(bound, float) and bound == int(bound) else f"{bound}"
