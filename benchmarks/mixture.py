"""Mixtures at eleven shares against eleven single ones: what sharing the Grams saves.

Wanted: eleven cost at most three times one, that is a ratio of at least 11 / 3. With
inputs="teacher" all shares have the teachers' Gram in common; with inputs="own" each mixture has a
Gram of its own, and there is little to share."""

from __future__ import annotations

import torch

from benchmarks.operations import multiply_adds
from benchmarks.timing import Contender, Row, compare, interleave
from lib.mixture import MixtureOptions, mixtures
from lib.nets import VGG, Design, initialise

IMAGES, SHARES = 512, 11
RIVAL = "eleven calls, one share each"
CASES = {
    "quick net": Design(depth=11, width=0.125, hidden=64, channels=1, side=8, pools=2),
    "VGG-16, width 1/8, 32 pixels": Design(depth=16, width=0.125, hidden=64, channels=3),
}


def run(threads: int, rounds: int) -> tuple[list[Row], dict[str, object]]:
    """The table; the facts are the costs of eleven over one."""
    torch.set_num_threads(threads)
    rows: list[Row] = []
    facts: dict[str, object] = {}
    eleven = [(g, 1 - g) for g in torch.linspace(0, 1, SHARES).tolist()]
    for name, design in CASES.items():
        nets = [initialise(VGG(design), generator=s) for s in (0, 1)]
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(IMAGES, design.channels, design.side, design.side, generator=generator)
        for inputs in ("teacher", "own") if name == "quick net" else ("teacher",):

            def mix(amount: int, shares, case=(nets, x, inputs)) -> object:
                options = MixtureOptions(inputs=case[2], ridge=0.01)
                return mixtures(case[0], case[1], shares, options, generator=0)

            jobs = {
                "ours": Contender(lambda amount, f=mix: f(amount, eleven), 1),
                RIVAL: Contender(lambda amount, f=mix: f(amount, eleven[5:6]), 1, share=1 / SHARES),
            }
            times = interleave(jobs, rounds)
            target = SHARES / 3 if inputs == "teacher" else None
            operations = multiply_adds(lambda f=mix: f(1, eleven))
            rows += compare(f"{name}, {inputs} inputs", times, "ours", {RIVAL: target}, operations)
            facts[f"{name}, {inputs} inputs: eleven shares over one"] = SHARES / rows[-1].ratio
    return rows, facts
