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
FAULTS = {
    "sound": ("<p>Text.</p>", None),
    "image": ('<img src="none.png" alt="A line.">', "figure is not drawn: none.png"),
    "dumb": ('<img src="dot.svg">', "figure has no alternative text: dot.svg"),
    "math": (r'<span class="math">\(x\)</span>', "1 formulas are not typeset"),
    "script": ("<script>undefinedThing()</script>", "script error: undefinedThing is not defined"),
    "network": (
        '<script src="http://127.0.0.1:9/x.js"></script>',
        "asks the network for http://127.0.0.1:9/x.js",
    ),
    "wide": ('<div style="width: 600px">wide</div>', "is 210 pixels wider than the screen"),
    "pale": ('<p style="color: #999; background: #fff">Text.</p>', "color-contrast"),
    "light": ("<style>html { background: #fff !important }</style>", "is not dark"),
    "link": ('<a href="gone.html">on</a>', "links to gone.html, which is not there"),
    "still": (
        '<section class="interactive" id="try-it"><div class="interactive-picture"><svg></svg></div><input type="range" aria-label="x"></section>',
        "try-it: a control changes nothing",
    ),
    "title": ("<script>document.querySelector('h1').remove()</script>", "has no title"),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> check_pages.Report:
    html = tmp_path_factory.mktemp("html")
    (html / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    for name, (body, _) in FAULTS.items():
        (html / f"{name}.html").write_text(PAGE.format(body))
    return check_pages.check(Path(html))


def test_every_page_is_seen_on_a_desktop_on_a_phone_and_in_the_dark(report) -> None:
    assert report.views == 3 * len(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_seen_and_a_sound_page_has_none(name, report) -> None:
    mine = [fault for fault in report.faults if fault.startswith(f"{name}.html")]
    says = FAULTS[name][1]
    assert any(says in fault for fault in mine) if says else not mine, mine


def test_no_pages_is_a_fault(tmp_path) -> None:
    assert "run make book" in check_pages.check(tmp_path).faults[0]
