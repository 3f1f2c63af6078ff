"""The commands behind the Makefile: `python -m companion <command> --help`."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from pathlib import Path

from companion import assignments, paths, request

QUICK_FAULTS = (ValueError, OSError, RuntimeError)


def build(args: argparse.Namespace) -> int:
    """Check every parameter, then let Snakemake run what has changed."""
    from companion import build

    options = build.Options(args.cores, args.until, args.verbose)
    return build.run(asked(args), options, paths.root())


def execute(args: argparse.Namespace) -> int:
    """Run one chapter; Snakemake calls this."""
    from companion import execute

    (job,) = (j for j in asked(args).jobs(paths.root()) if j.chapter == args.chapter)
    execute.run(job, asked(args).given, args.threads, paths.root())
    return 0


def pages(args: argparse.Namespace) -> int:
    """Gate executed chapters and make the pages; Snakemake calls this."""
    from companion import site

    site.build(asked(args), paths.root())
    return 0


def record(args: argparse.Namespace) -> int:
    """Write book/records/<profile>/, with parameters book/records/more/, from executed notebooks
    that pass the gate."""
    from companion import gate, records, site

    root, wanted = paths.root(), asked(args)
    for job in wanted.jobs(root):
        nb = site.checked(job, root)
        ((_, measured),) = gate.entries(nb, "record")
        measured = {**measured, "stamp": nb.metadata["book"]["stamp"]}
        if wanted.given:
            measured = {**measured, "profile": paths.MORE}
        drawn = {meta["name"]: meta["data"] for _, meta in gate.entries(nb, "figure")}
        for path in records.save(measured, drawn, root):
            print(f"recorded {path.relative_to(root)}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Run again what is published, and compare."""
    from companion import build
    from companion import verify as verification

    return verification.run(asked(args), build.Options(args.cores), paths.root())


def figure(args: argparse.Namespace) -> int:
    """Redraw a figure from its stored numbers; without a name, list them."""
    from companion import redraw

    if not args.chapter:
        raise ValueError("Which chapter? make figure CH=01_width FIG=spectra")
    (job,) = asked(args).jobs(paths.root())
    print("\n".join(redraw.run(job, args.name, paths.root())))
    return 0


def archive(args: argparse.Namespace) -> int:
    """Write an RO-Crate of the built book."""
    from companion import archive as archiving

    print(f"The archive: {archiving.run(asked(args), paths.root())}")
    return 0


def pdf(args: argparse.Namespace) -> int:
    """Print the built book into one PDF."""
    from companion import pdf as printing

    root = paths.root()
    print(f"The book as a PDF: {printing.run(root / asked(args).folder / 'html', root)}")
    return 0


def sweep(args: argparse.Namespace) -> int:
    """Run one chapter at many points of its parameters; `--dry` only lists them."""
    from companion.sweeps import running
    from companion.sweeps.sweep import Sweep, load

    if args.yaml:
        wanted = load(Path(args.yaml), args.chapter, args.profile)
    elif args.chapter and args.set.strip():
        wanted = Sweep(args.chapter, args.profile, assignments.parse(args.set), args.seed)
    else:
        raise ValueError('Which sweep? make sweep CH=01_width P="width=100,500 seed=0..99"')
    options = running.Options(args.cores, args.on, args.dry, args.verbose)
    return running.run(wanted, options, paths.root())


def batch(args: argparse.Namespace) -> int:
    """Run some points of a sweep; Snakemake calls this."""
    from companion.sweeps import worker

    return worker.start(Path(args.file), args.threads, paths.root())


def notebooks(args: argparse.Namespace) -> int:
    """Write the chapters as notebooks that have not run."""
    from companion import contents
    from companion.notebooks import write_notebook

    root = paths.root()
    for chapter in [args.chapter] if args.chapter else contents.chapters(root):
        print(write_notebook(chapter, root).relative_to(root))
    return 0


def data(_args: argparse.Namespace) -> int:
    """Download MNIST and CIFAR-10."""
    from companion import download

    download.fill(paths.data_dir())
    return 0


def asked(args: argparse.Namespace) -> request.Request:
    """The request that the arguments stand for."""
    if args.request:
        return request.load(Path(args.request))
    return request.Request(args.profile, args.chapter, assignments.parse(args.set))


COMMANDS = (
    build,
    execute,
    pages,
    record,
    verify,
    figure,
    archive,
    pdf,
    sweep,
    batch,
    data,
    notebooks,
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m companion", description=__doc__)
    commands = whole.add_subparsers(required=True)
    for function in COMMANDS:
        one = commands.add_parser(function.__name__, help=(function.__doc__ or "").split("\n")[0])
        one.set_defaults(run=function)
        one.add_argument("--profile", default="quick", help=f"one of {', '.join(paths.PROFILES)}")
        one.add_argument(
            "--chapter",
            help="one chapter, as in 01_width; all without it",
            required=function is execute,
        )
        one.add_argument("--set", default="", help='parameters, as in "trials=50 seed=3"')
        one.add_argument("--request", help="a file that says all this (written by `build`)")
        one.add_argument("--cores", type=int, default=paths.cores())
        one.add_argument("--threads", type=int, default=1)
        one.add_argument("--until", help="stop at this rule, as in `chapters`")
        one.add_argument("--verbose", action="store_true")
    sweeping = commands.choices["sweep"]
    sweeping.add_argument("--yaml", help="a file that describes the sweep")
    sweeping.add_argument("--seed", type=int, default=0, help="of the random draws")
    sweeping.add_argument("--on", default="", help="a cluster: the name of a folder in profiles/")
    sweeping.add_argument("--dry", action="store_true", help="only say what would run")
    commands.choices["figure"].add_argument("--name", default="", help="of the figure")
    commands.choices["batch"].add_argument("--file", required=True, help="the points to run")
    return whole


def main(arguments: list[str] | None = None) -> int:
    """Run a command; a fault that the user can mend is told in words, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(io.UnsupportedOperation):
            # a terminal that lacks a character shows ? for it
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
    args = parser().parse_args(arguments)
    try:
        return int(args.run(args))
    except QUICK_FAULTS as fault:
        print(f"{fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # what a shell gives for Ctrl-C


if __name__ == "__main__":
    sys.exit(main())
