"""Committed results of the benchmarks, by benchmark, problem and rival."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BOUNDS = ("limit", "alone", "one thread")  # a rival that is a bound, not a competitor


@dataclass(frozen=True)
class Results:
    """What `python -m benchmarks` measured.

    Args:
        by_name: benchmark -> rows, facts and environment.
    """

    by_name: Mapping[str, Mapping[str, Any]]

    def __contains__(self, benchmark: str) -> bool:
        return benchmark in self.by_name

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, each with the name of its benchmark."""
        named = self.by_name.items()
        return [r | {"benchmark": name} for name, result in named for r in result["rows"]]

    @property
    def competitors(self) -> list[dict[str, Any]]:
        """The rows whose rival is no bound."""
        return [r for r in self.rows if not any(word in r["rival_name"] for word in BOUNDS)]

    def of(self, benchmark: str) -> list[dict[str, Any]]:
        """The rows of one benchmark."""
        return [r for r in self.rows if r["benchmark"] == benchmark]

    def row(self, benchmark: str, name: str, rival: str) -> dict[str, Any]:
        """The row of a benchmark whose problem and rival begin like this."""
        begins = ((r, r["name"].startswith(name), r["rival_name"]) for r in self.of(benchmark))
        return next(r for r, fits, other in begins if fits and other.startswith(rival))

    def facts(self, benchmark: str, part: str) -> dict[str, Any]:
        """The facts of a benchmark whose names contain this."""
        known = self.by_name[benchmark]["facts"] if benchmark in self.by_name else {}
        return {name: value for name, value in known.items() if part in name}

    def fact(self, benchmark: str, part: str) -> Any:
        """The first of them, None where it has not been measured."""
        return next(iter(self.facts(benchmark, part).values()), None)

    def environment(self, benchmark: str) -> Mapping[str, Any]:
        """The machine that a benchmark ran on."""
        return self.by_name[benchmark]["environment"] if benchmark in self.by_name else {}

    @property
    def processors(self) -> list[str]:
        """The names of all processors, with their speeds."""
        names = {r["environment"]["cpu"] for r in self.by_name.values()}
        parted = (
            n.split(" MHz")[0].rpartition(", ")[0] + f" ({n.rpartition(', ')[2]})" for n in names
        )
        return sorted(set(parted))
