"""What is done to built pages: colours of figures, share cards, notebooks to take away, labels."""

import nbformat
import pytest

from companion import citations, figures, finish, launch, pdf, themed

PAGE = """<html><head><title>One</title><script src="_static/vendor/fontawesome/6/js/all.min.js">
</script></head><body><h1>One</h1><p>Of <b>two</b> nets.</p>
<img alt="A line." src="a.svg"/><summary><span class="toctree-toggle"></span></summary>
<div class="prev-next-area"></div></body></html>"""


@pytest.fixture
def html(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_URL", "https://example.org/book/")
    monkeypatch.setenv("BOOK_REPOSITORY", "owner/name")
    (tmp_path / "01_one.html").write_text(PAGE)
    finish.finish(tmp_path, ["01_one"])
    return tmp_path


def test_a_page_loses_what_is_heavy_and_gains_card_and_links(html) -> None:
    text = (html / "01_one.html").read_text()
    assert "all.min.js" not in text
    assert '<img loading="lazy" alt=' in text
    assert 'property="og:description" content="Of two"' in text
    assert 'property="og:url" content="https://example.org/book/01_one.html"' in text
    assert '<summary aria-label="Pages below">' in text
    assert 'href="notebooks/01_one.ipynb" download' in text
    assert "colab.research.google.com/github/owner/name/blob/notebooks/01_one.ipynb" in text
    assert "<loc>https://example.org/book/01_one.html</loc>" in (html / "sitemap.xml").read_text()
    assert "https://example.org/book/index.html" in (html / "404.html").read_text()
    assert (html / "_static/mathjax/a11y/assistive-mml.js").is_file()


def test_the_pdf_is_linked_once_it_is_there(html) -> None:
    pdf.link(html)
    pdf.link(html)
    text = (html / "01_one.html").read_text()
    assert text.count(f'href="{pdf.NAME}"') == 1


def test_a_notebook_begins_with_what_installs_the_book(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BOOK_REPOSITORY", "owner/name")
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One")])
    launch.write({"01_one": nb}, tmp_path)
    taken = nbformat.read(tmp_path / "notebooks/01_one.ipynb", 4)
    assert "https://github.com/owner/name.git" in taken.cells[0].source
    compile(taken.cells[0].source, "first", "exec")
    assert taken.cells[1].source == "# One"
    assert len(nb.cells) == 1


def test_a_figure_has_both_sets_of_colours_and_fewer_digits() -> None:
    svg = (
        f'<svg width="9"><!-- x --><g ><path d="M 1.23456 2\n L 3 4" style="fill: {figures.RED}"/>'
    )
    text = themed.themed(svg + "</g></svg>")
    assert "M 1.23 2 L 3 4" in text
    assert f"{figures.RED})" in text and themed.DARK[figures.RED] in text
    assert "prefers-color-scheme:dark" in text and "<!--" not in text


def test_labels_are_authors_and_years_without_tex() -> None:
    from pybtex.database import parse_string

    works = """@misc{a, author={{\\c{S}}im{\\c{s}}ek, Berfin and Ged, F and Brea, J}, year={2021}}
    @misc{b, author={Fukumizu, Kenji and Amari, Shun}, year={2000}}
    @misc{c, author={Fukumizu, K. and Amari, S.}, year={2000}}
    @misc{d, author={Fisher, R}, year={1936}}"""
    entries = parse_string(works, "bibtex").entries.values()
    assert list(citations.AuthorYear().format_labels(entries)) == [
        "Şimşek et al., 2021",
        "Fukumizu and Amari, 2000a",
        "Fukumizu and Amari, 2000b",
        "Fisher, 1936",
    ]
