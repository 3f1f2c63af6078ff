"""Long runs in stages: what is finished stays in a folder, and a stage whose time is up begins
nothing new."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from experiments.checkpoints import remember
from experiments.families import Unfinished


@dataclass(eq=False)
class Stage:
    """One stage of a run.

    Args:
        folder: what keeps the results, made if missing; None for memory only, without stages.
        minutes: after which nothing new is begun.

    >>> Stage(None, 0.0).once("sum", lambda: {"value": 3})
    {'value': 3}
    """

    folder: Path | None
    minutes: float
    began: float = field(default_factory=time.monotonic)
    computed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def left(self) -> float:
        """Minutes left of this stage; without a folder there are no stages."""
        if self.folder is None:
            return float("inf")
        return self.minutes - (time.monotonic() - self.began) / 60

    def once(self, name: str, compute: Callable[[], dict]) -> dict:
        """What the folder holds of that name, or compute() now.

        Raises:
            Unfinished: the time is up and this stage has computed one new thing already.
        """
        file = self.folder and self.folder / f"{name}.json"
        if file and not file.exists():
            if self.left < 0 and self.computed:
                raise Unfinished(f"before {name}: run it again to go on")
            self.computed.append(name)
        return remember(file, compute)
