"""The built pages show what the Markdown says: fences, headings, links, pictures, the tutorial."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

DOCS = Path(__file__).parents[2] / "docs"
SOURCES = sorted(DOCS.glob("**/*.md"))


def _page(site: Path, source: Path) -> Path:
    name = source.relative_to(DOCS).with_suffix("")
    return site / "index.html" if str(name) == "index" else site / name / "index.html"


def _read(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def _without_code(markdown: str) -> str:
    return re.sub(r"^ {0,3}```.*?^ {0,3}```$", "", markdown, flags=re.DOTALL | re.MULTILINE)


def _plain(text: str) -> str:
    """Letters and digits alone: what Markdown and HTML have in common."""
    return re.sub(r"\W+", "", re.sub(r"\]\([^)]*\)", "]", text))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(DOCS)))
def test_fences_are_code_and_headings_are_headings(site: Path, source: Path):
    markdown, page = source.read_text(encoding="utf-8"), _read(_page(site, source))
    assert "```" not in page.get_text()
    shown = [_plain(h.get_text().removesuffix("¶")) for h in page.find_all(re.compile("h[1-6]"))]
    for heading in re.findall(r"^#+ (.+)$", _without_code(markdown), flags=re.MULTILINE):
        assert _plain(heading) in shown, heading
    code = [_plain(block.get_text()) for block in page.find_all("pre")]
    for block in re.findall(r"^```\S[^\n]*\n(.*?)^```$", markdown, flags=re.DOTALL | re.MULTILINE):
        assert any(_plain(block) in shown for shown in code), block


def test_no_link_and_no_picture_is_dead(site: Path):
    dead, pages = [], {page: _read(page) for page in site.glob("**/*.html")}
    anchors = {page: {tag["id"] for tag in soup.find_all(id=True)} for page, soup in pages.items()}
    for page, soup in pages.items():
        if page.name == "404.html":
            continue
        for tag in soup.find_all(["a", "img"]):
            link = urlsplit(tag.get("href") or tag.get("src") or "")
            if link.scheme or link.netloc or not (link.path or link.fragment):
                continue
            to = (page.parent / unquote(link.path)).resolve() if link.path else page
            to = to / "index.html" if to.is_dir() else to
            gone = not to.exists() or (link.fragment and link.fragment not in anchors.get(to, ()))
            if gone and link.fragment != "__toc":
                dead.append(f"{page.relative_to(site)}: {link.geturl()}")
    assert not dead, "\n".join(dead)


def test_the_front_page_has_its_picture(site: Path):
    pictures = [tag["src"] for tag in _read(site / "index.html").find_all("img")]
    assert any(
        (site / source).stat().st_size > 10_000 for source in pictures if source[:4] != "http"
    )


def test_the_tutorial_shows_what_it_computed(site: Path):
    page = _read(site / "tutorial" / "index.html")
    drawn = [tag for tag in page.find_all("img") if tag.get("src", "").startswith("data:image/png")]
    assert len(drawn) >= 3
    assert "Sweep(" in page.get_text()
    assert not page.find_all(class_="jp-OutputArea-error")


def test_tables_fit_a_page(site: Path):
    for page in site.glob("**/index.html"):
        widths = [len(row.find_all("th")) for row in _read(page).select("article table tr")]
        if "tutorial" not in page.parts:
            assert max(widths, default=0) <= 8, page


def test_the_reference_has_signatures_and_types(site: Path):
    text = _read(site / "reference" / "engine" / "index.html").get_text()
    assert "negkernel.engine.Engine.sweep" in (site / "reference/engine/index.html").read_text()
    assert re.search(r"resolution:\s*str\s*=\s*['\"]grid['\"]", text)
