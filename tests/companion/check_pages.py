"""Open every page of a built book in a headless Chromium, as a reader would: on a desktop, on a
phone, in the dark.

    python tests/companion/check_pages.py _build/quick/html

The desktop views are served from localhost, the phone views opened as files, so both ways of
reading are covered."""

from __future__ import annotations

import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# What a page looks like once its scripts have run.
LOOK = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const images = [...document.querySelectorAll('main img')];
  images.forEach(i => { i.loading = 'eager'; });
  await Promise.all(images.map(i => i.complete ? null : new Promise(r => { i.onload = i.onerror = r; })));
  const lightness = colour => {
    const [r, g, b, a] = colour.match(/[\\d.]+/g).map(Number);
    return a === 0 ? null : (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
  };
  const style = getComputedStyle(document.body);
  return {
    fences: [...document.querySelectorAll('main p')].filter(p => p.textContent.includes('```')).length,
    raw: [...document.querySelectorAll('span.math, div.math')].filter(m => !m.querySelector('mjx-container')).length,
    merror: [...document.querySelectorAll('mjx-merror')].map(m => m.textContent),
    blank: images.filter(i => !i.naturalWidth).map(i => i.getAttribute('src')),
    dumb: images.filter(i => !(i.alt || '').trim()).map(i => i.getAttribute('src')),
    wide: document.documentElement.scrollWidth - innerWidth,
    theme: document.documentElement.dataset.theme,
    paper: lightness(getComputedStyle(document.documentElement).backgroundColor) ?? lightness(style.backgroundColor),
    ink: lightness(style.color),
    title: (document.querySelector('main h1') || {}).textContent || '',
    links: [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href')),
  };
}"""


@dataclass
class Report:
    """Views looked at and what was wrong with them."""

    views: int = 0
    faults: list[str] = field(default_factory=list)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The folder on a free port of localhost, for as long as the block runs."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args) -> None:
            pass

    class Patient(http.server.ThreadingHTTPServer):
        def handle_error(self, *_args) -> None:
            pass  # a browser that closes a page hangs up on what it asked for; what matters is seen by `watch`

    with Patient(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def launch(playwright) -> Browser:
    """The Chromium or Chrome of the machine, otherwise playwright's own.

    Raises:
        RuntimeError: neither is there; the message says how to get one.
    """
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    try:
        # Chromium refuses its own sandbox to root, which is who a CI container runs as
        return playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
    except Error as fault:
        raise RuntimeError(
            "no Chromium: install one (apt install chromium, or playwright install"
            f" chromium)\n{fault}"
        ) from None


def watch(page: Page, home: str, faults: list[str]) -> None:
    """Note every request that fails or leaves home, and every script error, from now on."""

    def asked(request) -> None:
        if not request.url.startswith((home, "data:", "blob:", "about:")):
            faults.append(f"asks the network for {request.url}")

    page.on("request", asked)
    page.on(
        "requestfailed",
        lambda request: faults.append(f"could not load {request.url}: {request.failure}"),
    )
    page.on(
        "response",
        lambda answer: answer.status >= 400 and faults.append(f"{answer.status} for {answer.url}"),
    )
    page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    page.on(
        "console",
        lambda message: message.type == "error" and faults.append(f"console error: {message.text}"),
    )


def look(page: Page, dark: bool) -> Iterator[str]:
    """What is wrong with an open page to the eye."""
    seen = page.evaluate(LOOK)
    if seen["raw"]:
        yield f"{seen['raw']} formulas are not typeset"
    if seen["fences"]:
        yield f"{seen['fences']} fenced blocks stand as text"
    yield from (f"formula in error: {text}" for text in seen["merror"])
    yield from (f"figure is not drawn: {src}" for src in seen["blank"])
    yield from (f"figure has no alternative text: {src}" for src in seen["dumb"])
    if seen["wide"] > 1:
        yield f"is {seen['wide']} pixels wider than the screen"
    if not seen["title"].strip():
        yield "has no title"
    if dark and not (seen["theme"] == "dark" and seen["paper"] < 0.3 < 0.6 < seen["ink"]):
        yield f"is not dark: theme {seen['theme']}, paper {seen['paper']}, ink {seen['ink']}"
    if not dark and not seen["paper"] > 0.8 > 0.4 > seen["ink"]:
        yield f"is not light: paper {seen['paper']}, ink {seen['ink']}"


def dead_links(page: Page, html: Path) -> Iterator[str]:
    """Links of an open page, within the book, that lead nowhere."""
    base = page.url.split("?")[0]
    for href in dict.fromkeys(page.evaluate(LOOK)["links"]):
        url = urldefrag(urljoin(base, href))[0]
        if (
            urlparse(url).netloc == urlparse(base).netloc
            and urlparse(url).scheme == urlparse(base).scheme
        ):
            target = html / unquote(urlparse(url).path.lstrip("/"))
            if not target.exists():
                yield f"links to {href}, which is not there"


def barriers(page: Page) -> Iterator[str]:
    """What keeps readers out who see little, hear the page or use the keyboard alone, by axe."""
    # without preload: axe would ask for imported style sheets by addresses that it takes as the page's
    options = {"resultTypes": ["violations"], "preload": False}
    found = Axe().run(page, options=options).response["violations"]
    for rule in found:
        if rule["impact"] in ("serious", "critical"):
            nodes = rule["nodes"]
            yield f"{rule['id']}: {rule['help']}, {len(nodes)} times, as {nodes[0]['html'][:120]}"


def interact(page: Page) -> Iterator[str]:
    """What is wrong with the drawings that a reader moves: each control, used by the keyboard
    alone, has to change the drawing or what is read off it."""
    for section in page.locator("section.interactive").all():
        name = section.get_attribute("id")
        if not section.locator("svg").count():
            yield f"{name} is not drawn"
            continue
        shown = section.locator(".interactive-picture")
        for control in section.locator("input[type=range], fieldset").all():
            before = shown.inner_html()
            ranged = control.get_attribute("type") == "range"
            target = control if ranged else control.locator("input").first
            target.focus()
            page.keyboard.press("Home" if ranged else "ArrowRight")
            page.keyboard.press("ArrowRight")
            if shown.inner_html() == before and not control.locator("input:only-of-type").count():
                yield f"{name}: a control changes nothing"


def search(page: Page, home: str, word: str) -> Iterator[str]:
    """What is wrong with the search for a word that the book contains."""
    page.goto(f"{home}search.html?q={word}")
    try:
        page.wait_for_selector("#search-results li a", timeout=15_000)
    except Error:
        yield f"the search for {word!r} finds nothing"


def check(html: Path, word: str = "neuron") -> Report:
    """Look at all pages of a built book.

    Args:
        html: the folder of the site;  word: stands in it, and the search should find it.
    """
    html, report = html.resolve(), Report()
    generated = ("genindex.html", "prf-prf.html", "404.html")  # without the theme of the book
    found = [
        p
        for p in html.glob("*.html")
        if p.name not in generated and 'http-equiv="Refresh"' not in p.read_text()
    ]
    pages = sorted(p.name for p in found)
    if not pages:
        report.faults.append(f"there are no pages in {html}: run make book")
        return report
    with sync_playwright() as playwright, serving(html) as address:
        browser = launch(playwright)
        as_file = html.as_uri() + "/"
        views = (
            ("desktop", 1280, "light", address),
            ("phone", 390, "light", as_file),
            ("dark", 1280, "dark", address),
        )
        for name, width, scheme, home in views:
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme
            )
            for file in pages:
                if name != "phone" and file.startswith("lib_") and file != "lib_width.html":
                    continue  # pages of the reference are alike
                page, faults = context.new_page(), []
                watch(page, home, faults)
                page.goto(home + file, wait_until="load")
                faults += look(page, dark=scheme == "dark")
                if name != "phone":
                    faults += barriers(page)
                if name == "desktop":
                    faults += dead_links(page, html)
                    faults += interact(page)
                page.close()
                report.views += 1
                report.faults += [f"{file} ({name}): {fault}" for fault in dict.fromkeys(faults)]
            if (html / "searchindex.js").is_file():
                page, faults = context.new_page(), []
                watch(page, home, faults)
                faults += search(page, home, word)
                report.views += 1
                report.faults += [f"search ({name}): {fault}" for fault in dict.fromkeys(faults)]
            context.close()
        browser.close()
    return report


def main() -> int:
    report = check(Path(sys.argv[1]))
    for fault in report.faults:
        print(fault, file=sys.stderr)
    broken = len({fault.split(": ")[0] for fault in report.faults})
    print(f"pages: {report.views - broken} passed, {broken} failed")
    return bool(report.faults)


if __name__ == "__main__":
    sys.exit(main())
