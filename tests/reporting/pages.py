"""A reader of pages for tests: what a page shows, and what it would load."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree


class Page(HTMLParser):
    """The tags, texts, headings and sources of a page that stands alone and closes every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.headings: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []
        self.feed(re.sub(r"<svg\b.*?</svg>", "", text, flags=re.DOTALL))
        self.close()
        assert self.open == []
        assert all(link.startswith("data:image/jpeg;base64,") for link in self.sources)
        assert not {"script", "link", "iframe"} & set(self.tags)
        assert "url(http" not in text
        self.svgs = re.findall(r"<svg\b.*?</svg>", text, re.DOTALL)
        for svg in self.svgs:
            ElementTree.fromstring(svg)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name.endswith(("src", "href"))]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())
            if self.open[-1] in ("h1", "h2"):
                self.headings.append(data.strip())
