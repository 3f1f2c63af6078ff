"""What a command was asked to build: a profile, perhaps one chapter, and its parameters.

It travels to Snakemake and from there to the single steps as a JSON file below _build/, so that no
value of a parameter is ever read by a shell or by Snakemake.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from companion import assignments, paths, plan
from companion.digests import digest_of


@dataclass(frozen=True)
class Request:
    """What to build.

    Args:
        chapter: one chapter, in a book of its own; all of them without it;
        given: its parameters, name -> text or list of texts;
        again: run it once more, beside what was executed before (`companion.verify`).
    """

    profile: str = "quick"
    chapter: str | None = None
    given: Mapping[str, assignments.Text] = field(default_factory=dict)
    again: bool = False

    def jobs(self, root: Path) -> list[plan.Job]:
        """The chapters to run; every fault of the parameters is told here."""
        only = [] if self.chapter is None else [self.chapter]
        jobs = plan.jobs(self.profile, only, self.given, root)
        return [replace(job, again=True) for job in jobs] if self.again else jobs

    @property
    def folder(self) -> str:
        """Where the pages and what belongs to them go, relative to the checkout: one folder for
        each chapter and its parameters.

        >>> Request("cpu").folder
        '_build/cpu'
        >>> Request("quick", "01_width", {"seed": "3"}).folder
        '_build/mine/01_width-454494e0'
        """
        if self.chapter is None:
            return f"_build/{self.profile}"
        return f"_build/mine/{self.chapter}-{self._digest[:8]}"

    @property
    def _digest(self) -> str:
        said = {k: v for k, v in asdict(self).items() if v or k != "again"}
        return digest_of(json.dumps(said, sort_keys=True))

    def save(self, root: Path) -> Path:
        """Write it below _build/requests/.

        Returns:
            The file, relative to the checkout.
        """
        path = Path("_build") / "requests" / f"{self._digest}.json"
        paths.write_atomic(root / path, json.dumps(asdict(self), indent=1))
        return path


def load(path: Path) -> Request:
    """The request that `Request.save` wrote."""
    return Request(**json.loads(path.read_text(encoding="utf-8")))
