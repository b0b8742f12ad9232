"""Parts of pages: well-formed, escaped, whole."""

import base64
from html.parser import HTMLParser

from roilab import html_page


class Page(HTMLParser):
    """The tags of a page, its texts, and what it would load; every tag is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


def test_a_document_is_whole() -> None:
    page = Page(html_page.document("a <b> & c", ["<p>one</p>", "<p>two</p>"]))
    assert page.tags == ["html", "head", "meta", "meta", "title", "style", "body", "h1", "p", "p"]
    assert page.texts == ["a <b> & c", html_page.STYLE.strip(), "a <b> & c", "one", "two"]


def test_a_document_with_half_an_emoji_can_be_written() -> None:
    text = html_page.document("\ud83d", [html_page.html_table(["\ud83d"], [])])
    assert text.encode("utf-8").count(b"\\ud83d") == 3


def test_a_table_escapes_and_formats() -> None:
    page = Page(html_page.html_table(["<b>", "n"], [["<b>", 1234], ["x & y", 1234.56], ["", None]]))
    assert page.texts == ["<b>", "n", "<b>", "1,234", "x & y", "1,234.6", "-"]
    assert "b" not in page.tags


def test_a_heat_map_is_tinted_by_its_largest_count() -> None:
    text = html_page.heat_map("of <i>", ["<b>", "car"], [("<b>", [2000, 0]), ("car", [500, 1000])])
    page = Page(text)
    assert page.texts == ["of <i>", "<b>", "car", "<b>", "2,000", "0", "car", "500", "1,000"]
    assert not {"b", "i"} & {*page.tags}
    assert [f"var(--a) {share}%" in text for share in (60, 30, 15, 0)] == [True] * 4
    assert "0%" in html_page.heat_map("", ["a"], [("a", [0])])
    assert Page(html_page.heat_map("", [], [])).tags.count("tr") == 1


def test_an_image_is_within_the_page() -> None:
    page = Page(html_page.image(b"\xff\xd8 jpeg", '"><script>'))
    assert page.tags == ["img"]
    kind, _, data = page.sources[0].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(data) == b"\xff\xd8 jpeg"


def test_an_svg_stands_without_what_is_before_it() -> None:
    before = '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "-//W3C" "http://www.w3.org/svg.dtd">\n'
    assert html_page.svg(before + '<svg width="1">\n</svg>\n') == '<svg width="1">\n</svg>'
    assert html_page.svg("<svg/>") == "<svg/>"
