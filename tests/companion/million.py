"""What a sweep costs beside its points: `python tests/companion/million.py [points]` measures it on
the toy book, and extrapolates to a million. The numbers of the page "A million points"."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).parent)]

from toybook import make_toy, surroundings  # noqa: E402

from companion import claims, plan  # noqa: E402
from companion.sweeps import running, store, sweep, tables  # noqa: E402

BATCHES = 400
MILLION = 10**6


def timed(call: Callable[[], object]) -> tuple[float, object]:
    """Seconds of this process and its children, and what the call gave."""

    def used() -> float:
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))

    before = used()
    value = call()
    return used() - before, value


def megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def scheduled(root: Path) -> None:
    """Let Snakemake run batches whose jobs do nothing."""
    text = (Path(running.__file__).parent / "Snakefile").read_text(encoding="utf-8")
    start, _, _ = text.partition("    shell:\n")
    place = root / "companion" / "sweeps" / "Snakefile"
    place.write_text(start + '    shell:\n        "touch {output:q}"\n', encoding="utf-8")
    for i in range(BATCHES):
        (root / "work").mkdir(exist_ok=True)
        (root / "work" / f"{i:05}.json").write_text("{}")
    command = [sys.executable, "-m", "companion.executors", "--snakefile", str(place)]
    command += ["--directory", str(root), "--cores", "2", "--scheduler", "greedy"]
    command += ["--profile", "none", "--workflow-profile", "none", "--config", "batches=work"]
    subprocess.run(command, cwd=root, env=surroundings(root), capture_output=True, check=True)


def results(root: Path, points: list[sweep.Point]) -> list[store.Result]:
    """What one point of the second toy chapter measures, under the names of all."""
    command = [sys.executable, "-m", "companion", "sweep", "--chapter", "02_slow", "--set"]
    command += ["wait=0", "--cores", "1"]
    subprocess.run(command, cwd=root, env=surroundings(root), capture_output=True, check=True)
    (shard,) = (root / "_build" / "sweeps").rglob("points-*.jsonl")
    (one,) = store.read_file(shard)
    return [replace(one, key=p.key, overrides=p.overrides) for p in points]


def main(count: int) -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        root = make_toy(Path(folder))
        reader = plan.Reader("02_slow", "quick", root)
        wanted = sweep.Sweep("02_slow", given={"wait": f"linspace(0,1,{count})"})
        planning, points = timed(lambda: sweep.points(wanted, reader))
        found = results(root, points)
        place = root / "kept"
        shards = [store.Shard(place / f"points-{i}.jsonl") for i in range(10)]
        writing, _ = timed(lambda: [shards[i % 10].add(r) for i, r in enumerate(found)])
        kept = sum(f.stat().st_size for f in place.iterdir())
        reading, _ = timed(lambda: store.done(place))
        before = megabytes()
        ledger = claims.load(root / "book" / "claims.yaml")
        making, _ = timed(lambda: tables.write(found, ledger, root / "tables"))
        memory = megabytes() - before
        sizes = {f.name: f.stat().st_size for f in (root / "tables").iterdir()}
        scheduling, _ = timed(lambda: scheduled(root))
    each = MILLION / count
    print(f"| at {count:,} points | measured | at a million |\n|---|---|---|")
    for what, seconds in {
        "points checked before anything runs": planning,
        "results written": writing,
        "results read, to see what is done": reading,
        "tables made": making,
    }.items():
        print(f"| {what} | {seconds:.1f} s | {max(1, seconds * each / 60):.0f} min |")
    print(f"| results kept | {kept / 1e6:.1f} MB | {kept * each / 1e9:.1f} GB |")
    for name, size in sorted(sizes.items()):
        print(f"| {name} | {size / 1e6:.2f} MB | {size * each / 1e6:,.0f} MB |")
    print(f"| memory while tables are made | {memory:.0f} MB | {memory * each / 1e3:.1f} GB |")
    most = running.MOST
    total = scheduling * most / BATCHES / 60
    print(
        f"| Snakemake, {BATCHES} batches | {scheduling:.1f} s | {most:,} at most: {total:.0f} min |"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
