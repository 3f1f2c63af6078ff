"""What a chapter calls: `run = chapter.start("01_width", globals())`, then run.figure, run.claim,
run.glue and so on.

Everything a run says goes into the outputs of its notebook, with the machine-readable part in their
metadata under "book". Nothing is written to disk, so an interrupted run leaves nothing behind, and
plain papermill does the same."""

from __future__ import annotations

import ast
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from IPython.display import display

from companion import claims, figures, ledger, params, paths, provenance, records, stores
from companion.measurement import Cause, Measurement, Need, as_json
from companion.numbers import plain, pretty
from companion.trials import Trials

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def start(chapter: str, namespace: Mapping[str, Any]) -> Run:
    """Check the parameters and open the run; the first line after the parameters cell.

    Args:
        chapter: name of the source without its suffix;  namespace: globals().
    Raises:
        ParameterError: a name the chapter does not declare, a wrong type, or a value out of range.
    """
    source = paths.source(chapter).read_text(encoding="utf-8")
    known = params.declared(source)
    given = {
        name: namespace[name]
        for name in [*known, *_injected(namespace.get("In", ()))]
        if name in namespace
    }
    values = params.resolve(known, given, chapter, texts=False)
    stores.claim(chapter, values, paths.root())
    figures.use_style()
    return Run(chapter, source, values)


class Run:
    """One execution of a chapter: what it drew, measured and loaded.

    Args:
        chapter, source: name and text of the chapter;  values: its parameters, checked.
    """

    def __init__(self, chapter: str, source: str, values: Mapping[str, object]) -> None:
        self.chapter, self.params = chapter, dict(values)
        # set by `make`; a notebook that is opened by hand has no profile
        self.profile = os.environ.get("BOOK_PROFILE", "by hand")
        flags = params.papermill_flags(values, params.declared(source))
        by_hand = f"papermill {chapter}.ipynb out.ipynb{flags}"
        self._command = os.environ.get("BOOK_COMMAND", by_hand)
        self._started = time.time()
        self._ledger = ledger.Ledger(
            {k: c for k, c in claims.load().items() if c.chapter == chapter}, {}
        )
        self._figures: list[str] = []
        self._data: dict[str, str] = {}

    def __repr__(self) -> str:
        return (
            f"Run({self.chapter}, {self.profile},"
            f" {', '.join(f'{k}={v!r}' for k, v in self.params.items())})"
        )

    def figure(
        self, fig: Figure, name: str, caption: str, alt: str, data: Mapping[str, object]
    ) -> None:
        """Show a figure with caption, alternative text and the numbers behind it to download.

        Refer to it in prose as {numref}`fig-<chapter without its number>-<name>`.

        Args:
            fig: a matplotlib Figure; it is closed.
            name: lower-case letters, digits, dashes; written as a literal, so that the gate can
                expect it.
            caption: Markdown, math and citations allowed;  alt: plain text, what a reader who
                cannot see it needs.
            data: column or array name -> numbers; one CSV when all are columns of one length,
                otherwise npz.
        Raises:
            ValueError: see `figures.encode`; or the name is taken.
        """
        import matplotlib.pyplot as plt

        if name in self._figures:
            raise ValueError(f"figure {name} was shown before: names are one a chapter")
        drawn = figures.encode(fig, name, caption, alt, data)
        plt.close(fig)
        self._figures.append(name)
        meta = {k: v for k, v in asdict(drawn).items() if k != "image"}
        _show({drawn.mime: drawn.image, "text/plain": f"{alt}\n{caption}"}, {"figure": meta})

    def claim(
        self,
        name: str,
        measured: object = None,
        *,
        trials: Trials | None = None,
        nulls: Mapping[str, Trials] | None = None,
        requires: Sequence[Need] = (),
        cause: Cause | None = None,
        note: str = "",
    ) -> None:
        """Enter a measurement into the ledger and show the verdict that follows.

        Args:
            name: id in book/claims.yaml.
            measured: number, list or dict of numbers, of an exact claim.
            trials: of an empirical claim;  nulls: name -> trials that must fail its bound.
            requires: preconditions without which the claim is not testable.
            cause: a second measurement that tests why the result differs from the paper.
            note: how it was measured.
        Raises:
            ValueError: not a claim of this chapter, entered twice, or nothing that a verdict could
                follow from.
        """
        self._enter(
            name,
            Measurement(plain(measured), trials, nulls or {}, tuple(requires), cause, note),
        )

    def skip(self, name: str, why: str) -> None:
        """Say that this profile does not run a claim, and why."""
        if not why:
            raise ValueError(f"claim {name}: say why it is not run")
        self._enter(name, Measurement(skipped=why))

    def _enter(self, name: str, measurement: Measurement) -> None:
        if name not in self._ledger.claims:
            known = ", ".join(self._ledger.claims) or "none"
            raise ValueError(
                f"{name} is not a claim of {self.chapter}: book/claims.yaml has {known}"
            )
        if name in self._ledger.measurements:
            raise ValueError(f"claim {name} was entered before")
        measurement.verdict(self._ledger.claims[name])  # raises when no verdict can follow
        self._ledger.measurements[name] = measurement
        _show(
            {"text/markdown": self._ledger.line(name)},
            {"claim": {"id": name, **as_json(measurement)}},
        )

    def verdict(self, name: str) -> str:
        """The verdict on a claim that was entered."""
        return self._ledger.measurements[name].verdict(self._ledger.claims[name])

    def glue(self, name: str, value: object, digits: int = 3) -> None:
        """Make a number available to the prose, as {glue:text}`name`.

        Args:
            value: number, list or text; numbers get `digits` significant digits, text stays as it
                is.
        """
        text = value if isinstance(value, str) else pretty(value, digits)
        prefix = "application/papermill.record/"
        # quoted: the page evaluates what it is given, and would read 2,129 as a pair
        _show(
            {prefix + "text/plain": repr(text)},
            {"glue": name},
            scrapbook={"name": name, "mime_prefix": prefix},
        )

    def data(self, name: str, split: str = "train") -> tuple[np.ndarray, np.ndarray]:
        """Images or flowers by name (`companion.data`), their checksum noted for the foot of the
        page.

        Args:
            name: "iris", "digits", "mnist" or "cifar10". What must be downloaded (the last two) has
                to be the value of a parameter, so that the build knows before it runs which data
                this chapter reads.
        Returns:
            (inputs, labels) as numpy arrays.
        Raises:
            ValueError: downloaded data that no parameter names.  MissingData: not downloaded yet.
        """
        from companion import data

        named = {
            v
            for value in self.params.values()
            for v in (value if isinstance(value, list) else [value])
        }
        if name in data.DOWNLOADED and name not in named:
            raise ValueError(
                f"{self.chapter} reads {name}, but no parameter of it says so: make it the value"
                " of one"
            )
        x, y = data.load(name, split, paths.data_dir())
        self._data[f"{name} {split}"] = provenance.checksum(x, y)
        return x, y

    def printed(self, name: str) -> dict[str, np.ndarray]:
        """What a paper prints, read off its figures or taken from its authors' results:
        book/printed/<name>.csv.

        Returns:
            column -> numbers.
        Raises:
            ValueError: no such file.
        """
        return records.printed(name)

    def benchmarks(self) -> dict[str, dict[str, Any]]:
        """What the benchmarks measured, committed in benchmarks/results/: name -> rows, facts and
        environment."""
        return records.benchmarks()

    def record(self, profile: str) -> records.Record | None:
        """What a recorded run of another profile measured, or None without one.

        Raises:
            ValueError: a run asks for the record of its own profile.
        """
        if profile == self.profile:
            raise ValueError(f"this is the {profile} run: it cannot quote its own record")
        return records.load(self.chapter, profile)

    def claims_table(self) -> None:
        """Show all claims of the chapter; those not entered are named and the build will refuse the
        page."""
        missing = [c for c in self._ledger.claims if c not in self._ledger.measurements]
        text = self._ledger.table() + (f"\n\nNot entered: {', '.join(missing)}." if missing else "")
        _show({"text/markdown": text}, {"claims_table": True})

    def provenance(self) -> None:
        """Show where this run came from; the chapter's last line."""
        facts = provenance.collect(paths.root(), self._started, self._data)
        text = provenance.table(facts, self.chapter, self.params, self.profile, self._command)
        measured = {k: as_json(m) for k, m in self._ledger.measurements.items()}
        record = {
            "chapter": self.chapter,
            "profile": self.profile,
            "parameters": self.params,
            "provenance": facts,
        }
        _show(
            {"text/markdown": text},
            {"record": {**record, "figures": self._figures, "claims": measured}},
        )


def _show(bundle: Mapping[str, str], book: Mapping[str, Any], **metadata: object) -> None:
    # what does not fit into a notebook fails here, with the caller in the traceback
    json.dumps(book)
    display(bundle, raw=True, metadata={"book": book, **metadata})


def _injected(cells: Sequence[str]) -> list[str]:
    """The names that papermill set: it puts them into a cell of their own, which begins with this
    comment."""
    code = "\n".join(cell for cell in cells if cell.startswith("# Parameters"))
    targets = [node.targets[0] for node in ast.parse(code).body if isinstance(node, ast.Assign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]
