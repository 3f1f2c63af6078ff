"""The check in a real browser sees what it should: each page here has one fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import check_pages
import pytest

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, check_pages.BROWSERS)),
    reason="no Chromium on this machine: apt install chromium",
)

PAGE = """<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>Page</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><style>@media (prefers-color-scheme: dark) {{ html {{ background: #111; color: #eee }} }}
@media (prefers-color-scheme: light) {{ html {{ background: #fff; color: #111 }} }} body {{ margin: 0 }}</style>
<script>
const dark = matchMedia('(prefers-color-scheme: dark)').matches;
document.documentElement.dataset.theme = dark ? 'dark' : 'light';
</script>
<main><h1>Title</h1>{}</main></html>"""
BODIES = {
    "sound": "<p>Text.</p>",
    "shown": '<img src="none.png" alt="A line."><img src="dot.svg"><a href="gone.html">on</a>'
    r'<span class="math">\(x\)</span><div style="width: 600px">wide</div>'
    '<p style="color: #999; background: #fff">Pale.</p>',
    "run": "<script>undefinedThing()</script><script src='http://127.0.0.1:9/x.js'></script>"
    '<section class="interactive" id="try-it"><div class="interactive-picture"><svg></svg></div>'
    '<input type="range" aria-label="x"></section>',
    "bare": "<style>html { background: #fff !important }</style>"
    "<script>document.querySelector('h1').remove()</script>",
}
FAULTS = {
    "figure is not drawn: none.png": "shown",
    "figure has no alternative text: dot.svg": "shown",
    "links to gone.html, which is not there": "shown",
    "1 formulas are not typeset": "shown",
    "is 210 pixels wider than the screen": "shown",
    "script error: undefinedThing is not defined": "run",
    "asks the network for http://127.0.0.1:9/x.js": "run",
    "color-contrast": "shown",
    "image-alt": "shown",
    "is not dark": "bare",
    "has no title": "bare",
    "try-it: a control changes nothing": "run",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> check_pages.Report:
    html = tmp_path_factory.mktemp("html")
    (html / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    for name, body in BODIES.items():
        (html / f"{name}.html").write_text(PAGE.format(body))
    return check_pages.check(Path(html))


def test_every_page_is_seen_on_a_desktop_on_a_phone_and_in_the_dark(report) -> None:
    assert report.views == 3 * len(BODIES)


@pytest.mark.parametrize("says", FAULTS)
def test_a_fault_is_seen_on_its_page(says, report) -> None:
    told = [fault for fault in report.faults if says in fault]
    assert told and all(fault.startswith(f"{FAULTS[says]}.html") for fault in told)


def test_nothing_else_is_told(report) -> None:
    known = (*FAULTS, "404 for ", "could not load ", "console error: ")
    assert not [fault for fault in report.faults if not any(says in fault for says in known)]
    assert not [fault for fault in report.faults if fault.startswith("sound.html")]


def test_no_pages_is_a_fault(tmp_path) -> None:
    assert "run make book" in check_pages.check(tmp_path).faults[0]
