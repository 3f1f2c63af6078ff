"""The house keeps its order: arrows run one way, rooms stay small, names are told once."""

from __future__ import annotations

import statistics

import pytest
from house import ROOT, functions, imports, public, reachable, room, sources, table, visible_cells

MODULES = sources("lib", "experiments", "companion")
NAMES = [name for names in public().values() for name in names]


def quantile(numbers: list[int], share: float) -> int:
    return sorted(numbers)[int(share * (len(numbers) - 1))]


def test_arrows_run_one_way() -> None:
    # chapters and experiments read data in one place, and draw with one vocabulary
    shared = ("companion.data", "companion.figures", "companion.panels")
    above = {"lib": (), "companion": ("lib",), "experiments": ("lib", *shared)}
    wrong = [
        f"{module} imports {other}"
        for module, needed in imports(MODULES).items()
        for other in needed
        if (here := module.split(".")[0]) != (there := other.split(".")[0])
        and not {there, other} & set(above[here])
    ]
    assert not wrong


def test_rooms_form_no_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for module, needed in imports(MODULES).items():
        arrows.setdefault(room(module), set()).update(room(n) for n in needed)
    arrows = {here: there - {here} for here, there in arrows.items()}
    assert not [here for here in arrows if here in reachable(arrows, here)]


def test_files_and_functions_read_in_one_sitting() -> None:
    lines = [len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES.values()]
    assert statistics.median(lines) <= 120 and quantile(lines, 0.9) <= 230
    assert quantile([f.lines for f in functions(MODULES)], 0.9) <= 25


def test_functions_with_more_than_eight_parameters_are_known() -> None:
    """Triton takes no groups of arguments; the others wait for a dataclass of settings."""
    many = {f.where for f in functions(MODULES) if f.parameters > 8}
    triton = {w for w in many if w.startswith("lib.train.descent.gpu_kernel.")}
    waiting = {
        "lib.train.descent.front.descend",
        "lib.curvature.lanes_kernel.forward",
        "lib.curvature.lanes_kernel.run",
        "companion.chapter.claim",
    }
    assert many - triton <= waiting


def test_public_names_are_few_and_each_belongs_to_one_room() -> None:
    assert len(NAMES) <= 127
    assert not {name for name in NAMES if NAMES.count(name) > 1}


def test_no_module_bears_the_name_of_something_it_offers() -> None:
    """Otherwise `import lib.width.embedding as m` binds a function."""
    clashes = [
        f"{module}.{name}"
        for module, names in public().items()
        for name in names
        if f"{module}.{name}" in MODULES
    ]
    assert not clashes


def test_the_table_of_public_names_is_that_of_the_code() -> None:
    """`python tests/house.py > lib/README.md` writes it."""
    assert (ROOT / "lib" / "README.md").read_text(encoding="utf-8") == table()


def test_chapters_show_their_experiment_in_a_few_lines() -> None:
    cells = list(visible_cells())
    assert statistics.median(c.lines for c in cells) <= 10
    assert not [c for c in cells if c.lines > 20]


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("[0-9]*.py")), ids=lambda p: p.stem)
def test_a_chapter_grows_no_longer(path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 1150
