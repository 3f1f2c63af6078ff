"""Time and memory of grouping 10,000 neurons in 784 dimensions: at most 5 s on two cores and 2 GiB.

    python benchmarks/grouping.py [--threads 2] [--repeats 3]

Prints one JSON object a case; "condensed" neurons scatter around 300 directions, "random" ones share none.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import torch

from lib.prune.grouping import RULES, group_directions, group_duplicates

NEURONS, DIMENSIONS = 10_000, 784


def cases(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """The vectors of each case, (10000, 784) float32."""
    random = torch.randn(NEURONS, DIMENSIONS, generator=generator)
    centres = torch.randn(300, DIMENSIONS, generator=generator)
    condensed = centres[torch.randint(300, (NEURONS,), generator=generator)] + 0.25 * random
    return {"random": random, "condensed": condensed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for case, vectors in cases(torch.Generator().manual_seed(0)).items():
        jobs = {rule: lambda rule=rule, v=vectors: group_directions(v, 0.9, rule=rule) for rule in RULES}
        jobs["duplicates"] = lambda v=vectors: group_duplicates(v, 1e-6)
        for name, job in jobs.items():
            times = []
            for _ in range(given.repeats):
                start = time.perf_counter()
                groups = job()
                times.append(time.perf_counter() - start)
            row = {"case": case, "rule": name, "groups": len(groups), "threads": given.threads}
            row |= {"best_s": round(min(times), 2), "median_s": round(sorted(times)[len(times) // 2], 2)}
            print(json.dumps(row | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}), flush=True)


if __name__ == "__main__":
    main()
