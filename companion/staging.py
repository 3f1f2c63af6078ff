"""From an executed notebook to the one that the pages are made of.

What a run entry through `run` becomes Markdown of the page: figures with number, caption and a link
to their numbers, verdicts and tables as the ledger has them at present. Everything else stays as it
was executed."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nbformat

from companion import gate, interactive, paths, themed
from companion.claims import Claim
from companion.ledger import Ledger, anchor
from companion.measurement import Measurement, rows


def figure_id(chapter: str, name: str) -> str:
    """The label of a figure, for {numref} in prose.

    >>> figure_id("01_width", "loss")
    'fig-width-loss'
    """
    return f"fig-{chapter.split('_', 1)[-1].replace('_', '-')}-{name}"


def stage(
    nb: nbformat.NotebookNode,
    chapter: str,
    claims: Mapping[str, Claim],
    folder: Path,
    recorded: Mapping[str, Mapping[str, Measurement]] = MappingProxyType({}),
    moved: interactive.Spec | None = None,
) -> None:
    """Write <folder>/<chapter>.ipynb, its figures and the numbers behind them.

    Args:
        nb: an executed notebook that passed the gate;  claims: the ledger's claims of this chapter.
        recorded: title of a recorded run -> what it measured, for the summary at the top.
        moved: the drawing that a reader moves, of book/interactive.yaml.
    """
    ledger = Ledger(claims, gate.measurements(nb))
    page = copy.deepcopy(nb)
    cells = []
    for cell in page.cells:
        cells.append(cell)
        if cell.cell_type != "code":
            continue
        if set(cell.source.split()) <= {"run.claims_table()", "run.provenance()"}:
            cell.metadata.tags = [*cell.metadata.get("tags", ()), "remove-input"]
        texts, kept = [], []
        for output in cell.outputs:
            entry = output.get("metadata", {}).get("book", {})
            if "figure" in entry:
                figure = entry["figure"]
                texts.append(_figure(output, figure, chapter, folder))
                if moved and moved["figure"] == figure["name"]:
                    label = figure_id(chapter, figure["name"])
                    numbers = interactive.numbers(figure["data"])
                    texts.append(interactive.block(label, moved, numbers))
            elif "claim" in entry:
                texts.append(_verdict(ledger, entry["claim"]["id"], chapter, folder))
            elif "claims_table" in entry:
                texts.append(ledger.table())
            elif "record" in entry:
                texts.append(output.data["text/markdown"])
            else:
                kept.append(output)
        cell.outputs = kept
        cells += [
            nbformat.v4.new_markdown_cell(text, id=f"{cell.id}-{i}") for i, text in enumerate(texts)
        ]
    page.cells = [*_opening(cells[0], ledger.summary(recorded)), *cells[1:]]
    paths.write_atomic(folder / f"{chapter}.ipynb", nbformat.writes(page))


def _opening(
    first: nbformat.NotebookNode, summary: str
) -> tuple[nbformat.NotebookNode, nbformat.NotebookNode]:
    """The first cell with the summary below its title, and what follows the title."""
    title, _, rest = first.source.partition("\n")
    head = f"{title}\n\n:::{{div}} in-short\n{summary}\n:::"
    cells = [nbformat.v4.new_markdown_cell(text) for text in (head, rest.strip())]
    for cell, name in zip(cells, (first.id, f"{first.id}-rest"), strict=True):
        cell.id = name
    return cells[0], cells[1]


def _figure(
    output: nbformat.NotebookNode, figure: Mapping[str, Any], chapter: str, folder: Path
) -> str:
    place = Path("figures") / chapter
    image = output.data[figure["mime"]]
    suffix, content = (
        (".svg", themed.themed(image).encode())
        if figure["mime"] == "image/svg+xml"
        else (".png", base64.b64decode(image))
    )
    paths.write_atomic(folder / place / f"{figure['name']}{suffix}", content)
    links = []
    for file, numbers in figure["data"].items():
        paths.write_atomic(folder / place / file, base64.b64decode(numbers))
        links.append(f"[The numbers ({file})]({place / file}).")
    words = " ".join([" ".join(figure["caption"].split()), *links])
    alt = " ".join(figure["alt"].split())
    return (
        f"``````{{figure}} {place / figure['name']}{suffix}\n:name:"
        f" {figure_id(chapter, figure['name'])}\n:alt: {alt}\n:width:"
        f" {figure['size'][0]}px\n\n{words}\n``````"
    )


def _verdict(ledger: Ledger, name: str, chapter: str, folder: Path) -> str:
    m = ledger.measurements[name]
    kind = re.sub(r"[ ,]+", "-", m.verdict(ledger.claims[name]))
    links = ""
    if m.trials is not None:
        place = Path("figures") / chapter / f"claim-{name}.csv"
        paths.write_atomic(folder / place, rows(m))
        links = f" [The trials of {name} (csv)]({place})."
    mark = f'<span id="{anchor(name)}"></span>'
    return f":::{{div}} verdict verdict-{kind}\n{mark}{ledger.line(name)}{links}\n:::"
