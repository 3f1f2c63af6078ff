"""An SVG of matplotlib as a page shows it: in the colours of the page's theme, and lighter.

The colours of `companion.figures` become variables of the drawing, with others in the dark. An
image follows the colour scheme of the element that shows it, so one file serves both, and a
program that knows no variables takes the printed colours."""

from __future__ import annotations

import re

from companion import figures

# the colour of a figure -> its colour on a dark page
DARK = {
    figures.PAPER: "#121417",
    figures.INK: "#e8eaed",
    "#8a8f98": "#8a8f98",  # axes
    "#4b5159": "#c3c8cf",  # ticks
    "#e3e3de": "#363b42",  # grid
    "#ffffff": "#121417",
    figures.BLUE: "#56a9e0",
    figures.ORANGE: "#eeb033",
    figures.GREEN: "#2fc495",
    figures.RED: "#ff8a3d",
    figures.PURPLE: "#e09cc4",
    figures.SKY: "#8fd0f5",
    figures.YELLOW: "#d8c93a",
    figures.GREY: "#a3abb8",
}
# a number of a path with more digits than a screen can show
_DIGITS = re.compile(r"(-?\d+\.\d{2})\d+")


def themed(svg: str) -> str:
    """The drawing with colours by theme, and coordinates to a hundredth of a point.

    >>> 'fill: var(--c0, #fcfcfa)' in themed('<svg><defs/><path style="fill: #fcfcfa"/></svg>')
    True
    """
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|(?<=\n)[ ]+", "", svg, flags=re.DOTALL)
    head, mark, body = svg.partition("<g ")
    body = re.sub(r'(?<= d=")[^"]+', lambda d: _DIGITS.sub(r"\1", " ".join(d[0].split())), body)
    body = re.sub(r'(?<= (?:x|y)=")[^"]+', lambda d: _DIGITS.sub(r"\1", d[0]), body)
    whole = head + mark + body
    found = [c for c in DARK if c in whole]
    for place, colour in enumerate(DARK):
        whole = whole.replace(f": {colour}", f": var(--c{place}, {colour})")
    places = {c: f"--c{place}" for place, c in enumerate(DARK)}
    light = ";".join(f"{places[c]}:{c}" for c in found)
    dark = ";".join(f"{places[c]}:{DARK[c]}" for c in found)
    style = (
        f"<style>:root{{color-scheme:light dark;{light}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    )
    return re.sub(r"(<svg[^>]*>)", rf"\1{style}", whole, count=1)
