"""The commands behind the Makefile: `python -m companion <command> --help`."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from companion import paths

QUICK_FAULTS = (ValueError, OSError, RuntimeError)


def words(text: str) -> dict[str, str]:
    """name -> text, from "trials=50 seed=3".

    Raises:
        ValueError: a word without =.

    >>> words("trials=50 widths=[1,2]")
    {'trials': '50', 'widths': '[1,2]'}
    """
    found = {}
    for word in shlex.split(text):
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(
                f'cannot read the parameter {word!r}: expected name=value, as in P="trials=50'
                ' seed=3"'
            )
        found[name] = value
    return found


def build(args: argparse.Namespace) -> int:
    """Check every parameter, then let Snakemake run what has changed."""
    from companion import plan, site

    root, alone = paths.root(), args.chapter is not None
    only = [args.chapter] if alone else []
    jobs = plan.plan(args.profile, only, words(args.set), root)
    book = site.locate(args.profile, alone)
    if (
        args.until is None
        and (book.parent / f"book-{site.digest(jobs, root)}").is_file()
        and book.is_dir()
    ):
        print(f"Nothing has changed. The book: {book / 'index.html'}")
        return 0
    waiting = [job.chapter for job in jobs if not (root / job.executed).is_file()]
    if waiting:
        print(f"To run at the {args.profile} profile: {', '.join(waiting)}", flush=True)
    target = [] if args.until is None else [args.until]
    config = [
        f"profile={args.profile}",
        *([f"chapter={args.chapter}"] if alone else []),
        *([f"set={args.set}"] if args.set else []),
    ]
    command = [
        sys.executable,
        "-m",
        "snakemake",
        *target,
        "--cores",
        str(args.cores),
        "--keep-going",
        "--nolock",
    ]
    # outputs are renamed into place when whole, so one that is there is never incomplete
    command += [
        "--ignore-incomplete",
        "--keep-incomplete",
        "--rerun-triggers",
        "mtime",
        "--scheduler",
        "greedy",
        "--config",
        *config,
    ]
    command += [] if args.verbose else ["--quiet", "host", "rules", "reason"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(command, cwd=root, env=environment)
    # Ctrl-C reaches Snakemake too; it ends its jobs, this waits for it
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = process.wait()
    signal.signal(signal.SIGINT, former)
    if code == 0 and args.until is None:
        for line in verdicts(jobs, root) if alone else []:
            print(line)
        print(f"The book: {book / 'index.html'}")
    elif code:
        done = [job.chapter for job in jobs if (root / job.executed).is_file()]
        print(f"The book was not built. Kept: {', '.join(done) or 'nothing'}.", file=sys.stderr)
    return code


def verdicts(jobs, root: Path) -> list[str]:
    """A line for every claim of some executed chapters."""
    import nbformat

    from companion import claims, gate

    ledger, lines = claims.load(root / "book" / "claims.yaml"), []
    for job in jobs:
        measured = gate.measurements(nbformat.read(root / job.executed, 4))
        for name, m in measured.items():
            found = "" if m.skipped else f": measured {m.text}, bound {ledger[name].bound_text}"
            lines.append(f"  {name} {m.verdict(ledger[name])}{found}")
        changed = gate.changed_verdicts(measured, ledger, job.profile)
        lines += [f"  changed: {line}" for line in changed]
    return lines


def execute(args: argparse.Namespace) -> int:
    from companion import execute, plan

    (job,) = plan.plan(args.profile, [args.chapter], words(args.set))
    execute.run(job, args.threads, paths.root())
    return 0


def pages(args: argparse.Namespace) -> int:
    from companion import plan, site

    alone = args.chapter is not None
    jobs = plan.plan(args.profile, [args.chapter] if alone else [], words(args.set))
    site.build(jobs, site.locate(args.profile, alone), paths.root(), alone)
    return 0


def record(args: argparse.Namespace) -> int:
    """Write book/records/<profile>/, with parameters book/records/more/, from executed notebooks
    that pass the gate."""
    from companion import gate, plan, records, site

    root = paths.root()
    for job in plan.plan(
        args.profile, [args.chapter] if args.chapter else [], words(args.set), root
    ):
        nb = site.checked(job, root)
        ((_, said),) = gate.said(nb, "record")
        if args.set:
            said = {**said, "profile": paths.MORE}
        drawn = {meta["name"]: meta["data"] for _, meta in gate.said(nb, "figure")}
        for path in records.save(said, drawn, root):
            print(f"recorded {path.relative_to(root)}")
    return 0


def notebooks(args: argparse.Namespace) -> int:
    from companion import contents, execute

    root = paths.root()
    for chapter in [args.chapter] if args.chapter else contents.chapters(root):
        print(execute.write_notebook(chapter, root).relative_to(root))
    return 0


def data(args: argparse.Namespace) -> int:
    from companion import download

    download.fill(paths.data_dir())
    return 0


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m companion", description=__doc__)
    commands = whole.add_subparsers(required=True)
    texts = {
        build: "run what has changed and make the pages",
        execute: "run one chapter (called by Snakemake)",
        pages: "gate and build the pages from executed chapters (called by Snakemake)",
        record: "write a record of an executed profile",
        data: "download MNIST and CIFAR-10",
        notebooks: "write the chapters as notebooks that have not run",
    }
    for function, text in texts.items():
        one = commands.add_parser(function.__name__, help=text)
        one.set_defaults(run=function)
        one.add_argument("--profile", default="quick", help=f"one of {', '.join(paths.PROFILES)}")
        one.add_argument(
            "--chapter",
            help="one chapter, as in 01_width; all without it",
            required=function is execute,
        )
        one.add_argument("--set", default="", help='parameters, as in "trials=50 seed=3"')
        one.add_argument("--cores", type=int, default=cores())
        one.add_argument("--threads", type=int, default=1)
        one.add_argument("--until", help="stop at this rule, as in `chapters`")
        one.add_argument("--verbose", action="store_true")
    return whole


def main(arguments: list[str] | None = None) -> int:
    """Run a command; a fault that the user can mend is told in words, without a traceback."""
    args = parser().parse_args(arguments)
    try:
        return args.run(args)
    except QUICK_FAULTS as fault:
        print(f"{fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # what a shell gives for Ctrl-C


if __name__ == "__main__":
    sys.exit(main())
