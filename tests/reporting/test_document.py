"""Documents: whole, escaped, and the same content in each format."""

import base64
import re

from roilab.reporting.document import Picture, Plot, Section, Table, to_html, to_latex, to_markdown

from .pages import Page


def page_of(*parts: Table | Plot | Picture) -> tuple[Page, str]:
    """A page of one section without text, and its HTML below the style."""
    text = to_html("t", [Section("", (), parts)])
    return Page(text), text.partition("</style>")[2]


def test_a_page_has_titles_and_paragraphs() -> None:
    page = Page(to_html("a <b> & c", [Section("<i>", ["one", "", "`two` <u>"]), Section("", "x")]))
    assert page.headings == ["a <b> & c", "<i>"]
    assert page.texts[-5:] == ["<i>", "one", "two", "<u>", "x"]
    assert page.tags[page.tags.index("body") :] == ["body", "h1", "h2", "p", "p", "code", "p"]


def test_a_page_with_half_an_emoji_can_be_written() -> None:
    text = to_html("\ud83d", [Section("", (), [Table(["\ud83d"], [])])])
    assert text.encode("utf-8").count(b"\\ud83d") == 3


def test_a_table_escapes_and_formats() -> None:
    table = Table(["<b>", "n"], [["<b>", 1234], ["x & y", 1234.56], ["", None]])
    page, _ = page_of(table)
    assert page.texts[-7:] == ["<b>", "n", "<b>", "1,234", "x & y", "1,234.6", "-"]
    assert "b" not in page.tags
    assert "| x & y   | 1,234.6 |" in to_markdown("m", [Section("", (), [table])])
    assert "x \\& y & 1,234.6 \\\\" in to_latex([Section("", (), [table])])


def test_a_heat_map_is_tinted_by_its_largest_count() -> None:
    rows = [["<b>", 2000, 0], ["car", 500, 1000]]
    page, text = page_of(Table(["of <i>", "<b>", "car"], rows, "heat"))
    assert page.texts[-9:] == ["of <i>", "<b>", "car", "<b>", "2,000", "0", "car", "500", "1,000"]
    assert not {"b", "i"} & {*page.tags}
    assert [f"var(--a) {share}%" in text for share in (60, 30, 15, 0)] == [True] * 4
    assert "0%" in page_of(Table(["", "a"], [["a", 0]], "heat"))[1]
    assert page_of(Table([""], [], "heat"))[0].tags.count("tr") == 1


def test_bars_have_parts_of_the_largest_sum() -> None:
    page, text = page_of(Table(["", "in", "out"], [["<b>", 3, 1], ["x", 1, 0]], "bars"))
    for part, width in (("a", "75.00"), ("b", "25.00"), ("a", "25.00"), ("b", "0.00")):
        assert f'class="{part}" style="width:{width}%"' in text
    assert page.texts[-6:] == ["in", "out", "<b>", "3 / 1", "x", "1 / 0"]
    assert "width:0.00%" in page_of(Table(["", ""], [["a", 0]], "bars"))[1]


def test_a_folded_table_opens() -> None:
    page, _ = page_of(Table(["a"], [["b"]], folded="1 row"))
    assert page.tags[-7:] == ["summary", "div", "table", "tr", "th", "tr", "td"]


def test_an_image_is_within_the_page() -> None:
    page, text = page_of(Picture("1", b"\xff\xd8 jpeg", '"><script>', '"><u>'))
    assert page.tags[-3:] == ["figure", "img", "figcaption"]
    assert base64.b64decode(page.sources[0].partition(",")[2]) == b"\xff\xd8 jpeg"
    assert 'alt="&#34;&gt;&lt;u&gt;"' in text


def test_an_svg_stands_without_what_is_before_it() -> None:
    before = '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "-//W3C" "http://www.w3.org/svg.dtd">\n'
    _, text = page_of(Plot("p", before + '<svg width="1">\n</svg>\n'))
    assert '<svg width="1">\n</svg>' in text
    assert "<?" not in text
    assert "DOCTYPE svg" not in text


def test_a_bar_ends_no_cell() -> None:
    text = to_markdown("m", [Section("t", (), [Table(["a|b"], [["c|d"], ["1|2"]])])])
    assert all(cell in text for cell in ("a\\|b", "c\\|d", "1\\|2"))


def test_columns_of_numbers_are_to_the_right() -> None:
    table = Table(["a", "b", "c"], [["x", "1.5 ± 2", "1 to 2"], ["y", "-", "z"]])
    assert "|:----|--------:|:-------|" in to_markdown("m", [Section("t", (), [table])])
    sides = re.findall(r'<t[hd] class="(\w+)"', page_of(table)[1])
    assert sides == ["left", "right", "left"] * 3
