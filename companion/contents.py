"""What the book consists of: its pages in order, its chapters, and the parameters of each scale."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from companion import paths


def pages(root: Path) -> list[str]:
    """The pages of the book in order, from _toc.yml.

    Raises:
        FileNotFoundError: a page that has no source.
    """
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))

    def walk(node: Mapping[str, Any]) -> list[str]:
        inner = [
            p
            for key in ("parts", "chapters", "sections")
            for child in node.get(key, ())
            for p in walk(child)
        ]
        return ([node["file"]] if "file" in node else []) + inner

    found = [toc["root"], *walk(toc)]
    for page in found:
        if not any((root / "book" / f"{page}{suffix}").is_file() for suffix in (".md", ".py")):
            raise FileNotFoundError(
                f"_toc.yml lists {page}, but there is no book/{page}.md or book/{page}.py"
            )
    return found


def chapters(root: Path) -> list[str]:
    """The pages that are chapters: those with a py:percent source."""
    return [p for p in pages(root) if (root / "book" / f"{p}.py").is_file()]


def profile_values(profile: str, root: Path) -> dict[str, dict[str, object]]:
    """chapter -> name -> text, of a profile.

    Raises:
        ValueError: unknown profile, a chapter that does not exist, or a file of another form.
    """
    if profile not in paths.PROFILES:
        raise ValueError(f"no profile {profile!r}: expected one of {', '.join(paths.PROFILES)}")
    # BaseLoader keeps texts: the declared type, not YAML's guess, says what 1e-3 or yes means
    text = (root / "book" / "profiles" / f"{profile}.yaml").read_text(encoding="utf-8")
    values: dict[str, dict[str, object]] = yaml.load(text, yaml.BaseLoader) or {}
    for chapter, given in values.items():
        if not (root / "book" / f"{chapter}.py").is_file():
            raise ValueError(
                f"profiles/{profile}.yaml sets {chapter}, but there is no book/{chapter}.py"
            )
        if not isinstance(given, dict):
            raise ValueError(
                f"profiles/{profile}.yaml: {chapter} is {given!r}: expected name: value lines"
                " below it"
            )
    return values
