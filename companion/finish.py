"""What is done to the built pages before a reader gets them: what needs a network or weighs much
goes, local copies and links come in."""

from __future__ import annotations

import html as markup
import importlib.util
import os
import re
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from companion import launch, paths

# What jupyter-book puts on every page for cells that run on a remote server (declared twice, which
# is a script error), hints to load icon fonts early, which a browser refuses for pages opened
# as files, and the icons once more as a script of 1.5 MB.
_UNWANTED = re.compile(
    r"\s*(?:<script>const THEBE_JS_URL.*?</script>|<script[^>]*sphinx-thebe\.js[^>]*></script>|"
    r"<script type=\"text/x-thebe-config\">.*?</script>|<script>kernelName = .*?</script>|"
    r"<link rel=\"preload\"[^>]*fontawesome[^>]*>|<link rel=\"preload\" as=\"font\"[^>]*>|"
    r"<script[^>]*fontawesome[^>]*>\s*</script>)",
    re.DOTALL,
)
# the parts of MathJax that the pages load: TeX in, web fonts out, MathML for screen readers
MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml",
    "a11y/assistive-mml.js",
)


class Missing(RuntimeError):
    """A package whose files the pages need is not installed."""


def finish(html: Path, chapters: Collection[str]) -> None:
    """Do all of it to the folder of a built site.

    Args:
        chapters: the pages that have a notebook.
    Raises:
        Missing: a package that serves as a source of files.
    """
    pages = sorted(html.rglob("*.html"))
    address = os.environ.get("BOOK_URL", "").rstrip("/")
    used = {"fa-xmark"}  # shown by a script
    for page in pages:
        text = _UNWANTED.sub("", page.read_text(encoding="utf-8"))
        text = re.sub(r"(<img alt=)", r'<img loading="lazy" alt=', text)
        text = text.replace("</head>", f"{_card(text, page.name, address)}</head>", 1)
        used |= set(re.findall(r"\bfa-[a-z-]+", text))
        below = launch.links(page.stem if page.stem in chapters else None)
        text = text.replace(
            '<div class="prev-next-area">', f'{below}<div class="prev-next-area">', 1
        )
        page.write_text(_mended(text), encoding="utf-8")
    _mathjax(html / "_static" / "mathjax")
    _icons(html / "_static" / "vendor" / "fontawesome", used)
    _lost(html, address)
    if address:
        _sitemap(html, [p.name for p in pages if p.parent == html], address)


def _mended(text: str) -> str:
    """What a screen reader trips over in the theme's pages."""
    text = re.sub(r"<summary>(?=<span class=\"toctree)", '<summary aria-label="Pages below">', text)
    # a list of works is no list of description
    text = text.replace('<div class="citation" id=', '<div class="citation" role="listitem" id=')
    return re.sub(r'(<button[^>]*search-button[^>]*) aria-label="Search"', r"\1", text)


def _card(text: str, name: str, address: str) -> str:
    """The tags that other sites show a page by: its title, first sentences and an image."""
    title = re.search(r"<title>(.*?)</title>", text, re.DOTALL)
    # after the heading, the first paragraph that is prose
    prose = re.search(r"</h1>.*?<p>(.*?)</p>", text, re.DOTALL)
    words = markup.unescape(re.sub(r"<[^>]+>|\\[()]", "", prose[1])) if prose else ""
    short = " ".join(words.split())[:200].rsplit(" ", 1)[0]
    tags = {"og:type": "article", "og:title": " ".join(title[1].split()) if title else name}
    tags |= {"og:description": markup.escape(short)} if short else {}
    if address:
        tags |= {"og:url": f"{address}/{name}", "og:image": f"{address}/_static/card.png"}
    lines = [f'<meta property="{k}" content="{v}" />' for k, v in tags.items()]
    if short:
        lines.append(f'<meta name="description" content="{markup.escape(short)}" />')
    return "\n".join(lines) + "\n"


def _mathjax(target: Path) -> None:
    """A local MathJax, after the build, as jupyter-book would load every script below _static."""
    # the package is named with dashes, so that it cannot be imported; it is a source of files
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise Missing("sphinx-mathjax-offline is not installed: run make")
    source = Path(spec.origin).parent / "static" / "mathjax"
    for part in MATHJAX:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            shutil.copy(source / part, target / part)


def _icons(folder: Path, used: Iterable[str]) -> None:
    """Keep of the icon fonts what the pages show, and of their style sheet the rules for it."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    for sheet in folder.glob("*/css/all.min.css"):
        text = sheet.read_text(encoding="utf-8")
        wanted = set(used)
        named = dict(re.findall(r"\.(fa-[a-z0-9-]+):before\{content:\"\\([0-9a-f]+)\"", text))
        for rule in re.findall(r"(?:\.fa-[a-z0-9-]+:before,?)+\{content:\"[^\"]+\"\}", text):
            if not wanted & set(re.findall(r"fa-[a-z0-9-]+", rule)):
                text = text.replace(rule, "")
        # those of the theme's own style sheet, for notes and links
        theme = folder.parents[1] / "styles" / "pydata-sphinx-theme.css"
        own = re.findall(r"--pst-icon-[a-z-]+:\"(.)\"", theme.read_text(encoding="utf-8"))
        codes = {ord(c) for c in own} | {int(named[n], 16) for n in wanted if n in named}
        fonts = sheet.parents[1] / "webfonts"
        font = TTFont(fonts / "fa-solid-900.ttf")
        chosen = subset.Subsetter()
        chosen.populate(unicodes=codes)
        chosen.subset(font)
        font.flavor = "woff"
        font.save(fonts / "fa-solid-900.woff")
        text = re.sub(
            r"url\(\.\./webfonts/fa-solid-900\.woff2\) format\(\"woff2\"\),"
            r"url\(\.\./webfonts/fa-solid-900\.ttf\) format\(\"truetype\"\)",
            'url(../webfonts/fa-solid-900.woff) format("woff")',
            text,
        )
        paths.write_atomic(sheet, text)
        for rest in (*fonts.glob("*.ttf"), *fonts.glob("*.woff2"), sheet.parents[1] / "js"):
            shutil.rmtree(rest) if rest.is_dir() else rest.unlink()


def _lost(html: Path, address: str) -> None:
    """The page for addresses that lead nowhere, which a server shows under any path."""
    home = f"{address}/" if address else ""
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Not found</title>
<style>:root{{color-scheme:light dark}}
body{{font:1.1rem/1.6 system-ui;max-width:34rem;margin:15vh auto;padding:0 1rem}}</style>
<main><h1>There is no such page</h1>
<p>It may have moved. The <a href="{home}index.html">first page</a> lists all chapters, and the
<a href="{home}search.html">search</a> looks through them.</p></main></html>
"""
    paths.write_atomic(html / "404.html", page)


def _sitemap(html: Path, names: Iterable[str], address: str) -> None:
    """For search engines: the address of every page."""
    rows = "".join(f"<url><loc>{address}/{name}</loc></url>\n" for name in names)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    space = "http://www.sitemaps.org/schemas/sitemap/0.9"
    text = f'{head}<urlset xmlns="{space}">\n{rows}</urlset>\n'
    paths.write_atomic(html / "sitemap.xml", text)
