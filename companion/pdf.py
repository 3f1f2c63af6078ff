"""The built book as one PDF, printed by Chromium and joined with an outline."""

from __future__ import annotations

import io
import re
from pathlib import Path

from companion import contents, launch, paths

NAME = "companion.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# scripts have run, formulas are set, and images that would be loaded late are there
READY = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const images = [...document.images];
  images.forEach(i => { i.loading = 'eager'; });
  const drawn = i => i.complete ? null : new Promise(r => { i.onload = i.onerror = r; });
  await Promise.all(images.map(drawn));
  return document.title;
}"""


def run(html: Path, root: Path) -> Path:
    """Print every page in the order of the book, join them, and link the result on each page.

    Args:
        html: the folder of the built site.
    Returns:
        The PDF, in that folder.
    Raises:
        FileNotFoundError: no book is built there.
    """
    if not (html / "index.html").is_file():
        raise FileNotFoundError(f"there is no book in {html}: run make book")
    from pypdf import PdfReader, PdfWriter

    book = PdfWriter()
    for title, printed in _printed(html, contents.pages(root)):
        place = len(book.pages)
        book.append(PdfReader(io.BytesIO(printed)), import_outline=False)
        book.add_outline_item(title=title.split(" — ")[0], page_number=place)
    whole = io.BytesIO()
    book.compress_identical_objects()
    book.write(whole)
    paths.write_atomic(html / NAME, whole.getvalue())
    link(html)
    return html / NAME


def _printed(html: Path, names: list[str]) -> list[tuple[str, bytes]]:
    import shutil

    from playwright.sync_api import PdfMargins, sync_playwright

    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    pages = []
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        page = browser.new_page(color_scheme="light")
        page.emulate_media(media="print", color_scheme="light")
        for name in names:
            page.goto((html / f"{name}.html").as_uri())
            title = str(page.evaluate(READY))
            around = PdfMargins(top="16mm", bottom="16mm", left="15mm", right="15mm")
            pages.append((title, page.pdf(format="A4", margin=around, print_background=True)))
        browser.close()
    return pages


def link(html: Path) -> None:
    """Put a link to the PDF below every page that has a place for it."""
    for page in html.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        filled = re.sub(
            rf"(<p class=\"page-files\">)(.*?){launch.PLACE}",
            lambda m: f'{m[1]}{m[2]}{" · " if m[2] else ""}<a href="{NAME}">The book as a PDF</a>',
            text,
        )
        if filled != text:
            paths.write_atomic(page, filled)
