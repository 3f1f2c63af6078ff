"""A Sphinx extension: the list of references carries the labels that the text uses, author and
year."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle


class AuthorYear(BaseLabelStyle):  # type: ignore[misc]
    """Zhang et al., 2021; a letter tells apart what would have one label."""

    def format_labels(self, sorted_entries: Iterable[Any]) -> Iterator[str]:
        """The label of each entry, in their order."""
        plain = [_label(entry) for entry in sorted_entries]
        many, met = Counter(plain), Counter[str]()
        for label in plain:
            met[label] += 1
            yield label if many[label] == 1 else f"{label}{chr(96 + met[label])}"


def _label(entry: Any) -> str:
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    # the name as text, without the braces and accents of TeX
    names = [str(p.rich_last_names and "".join(map(str, p.rich_last_names))) for p in people]
    named = {0: entry.key, 1: names[0] if names else "", 2: " and ".join(names[:2])}
    who = named.get(len(names), f"{names[0]} et al." if names else "")
    return f"{who}, {entry.fields.get('year', '')}"


class Listed(Style):  # type: ignore[misc]
    """References in the order of their authors, with those labels."""

    default_label_style = AuthorYear
    default_sorting_style = "author_year_title"


def setup(app: Any) -> dict[str, bool]:
    """What Sphinx calls."""
    register_plugin("pybtex.style.formatting", "companion", Listed)
    app.config.bibtex_default_style = "companion"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
