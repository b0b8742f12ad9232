"""A name from a file is seen and does nothing: in terminals, tables, pages and reports."""

import csv
import io
import logging
import re
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roilab.cli.console import PrintableRecord, say
from roilab.errors import UserError
from roilab.escaping import csv_cell, escape_markdown, markdown_cell, one_line, printable
from roilab.reporting import ap_table, plots
from roilab.reporting.document import Picture, Plot, Section, Table, to_html, to_latex, to_markdown
from roilab.via import Problem

# A colour, a bell, a cleared screen, a carriage return, a turned direction, half of an emoji.
OBEYED = "\x1b[31mred\x1b[0m\x07\x9b2J\rgone\u202etxt.\ud83d\x7f\x00"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
NAMES = st.text(st.characters(codec=None, exclude_categories=[]))


@given(NAMES)
def test_nothing_is_left_that_a_terminal_obeys(name: str) -> None:
    assert not CONTROL.search(printable(name))
    assert not CONTROL.search(one_line(name))
    assert len(one_line(name).splitlines()) <= 1
    one_line(name).encode("utf-8")


@pytest.mark.parametrize(
    "name", ["", "car", "Fußgänger", "人", "👩‍🚀", "a\\b", "نص", "a b-c_d.jpg"]
)
def test_ordinary_names_stay(name: str) -> None:
    assert printable(name) == one_line(name) == csv_cell(name) == name


def test_errors_and_problems_have_no_control_characters() -> None:
    error = UserError("m", file=f"{OBEYED}\nfile", key=OBEYED, found=f"a\n{OBEYED}", remedy=OBEYED)
    assert not CONTROL.search(str(error))
    assert str(error).count("\n") == 5  # a name has no lines
    assert error.key == OBEYED  # what a program reads is as it was
    problem = Problem("error", OBEYED, OBEYED, f"{OBEYED}\n", OBEYED, attribute=OBEYED)
    assert not CONTROL.search(str(problem))
    assert "\n" not in str(problem)


def test_logs_and_lines_of_commands_have_no_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("found", OBEYED, file=sys.stderr)
    assert not CONTROL.search(capsys.readouterr().err)
    record = PrintableRecord("n", 30, "f", 1, "found %s", (OBEYED,), None)
    assert not CONTROL.search(logging.Formatter("%(message)s").format(record))


MARKUP = [
    *("[x](javascript:alert(1))", "<script>alert(1)</script>", "![x](y)", "&lt;b&gt;", "`code`"),
    *("a|b", "a\\|b", "# big", "- item", "1. first", "**bold**", "_leaning_", "$x$", "line\nline"),
]


@pytest.mark.parametrize("name", MARKUP)
def test_markdown_has_no_markup_of_a_name(name: str) -> None:
    text = markdown_cell(name)
    assert not re.search(r"(?<!\\)(\\\\)*[`*\[\]<>|~$]", text)
    assert not text.startswith(("#", "-", "1. "))
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text) == one_line(name)
    assert "\n" not in text


def test_names_of_python_and_numbers_need_no_escape() -> None:
    for text in ("model.roi_heads.mask_head", "12.5 ± 0.3", "+1.0 to +2.0", "-3", "0.5"):
        assert escape_markdown(text) == text


@pytest.mark.parametrize("name", [*MARKUP, OBEYED, "\\input{x}", "%", "a & b", "${x}"])
def test_reports_have_a_name_in_its_place(name: str) -> None:
    plot = plots.curves({name: [1.0, 2.0]}, [0.1, 0.2], name, "x", "y")
    parts = (Table(["arm", name], [[name, "1.0"]]), Plot("p", plot), Picture("1", b"", name))
    section = Section(name, f"{name} and `x`", parts)
    text = to_markdown(name, [section])
    (row,) = [line for line in text.splitlines() if line.startswith("|") and "1.0" in line]
    assert len(re.findall(r"(?<!\\)\|", row.replace("\\\\", ""))) == 3
    page, latex = to_html(name, [section]), to_latex([section])
    for written in (text, page, latex, plot):
        assert not CONTROL.search(written)
    ElementTree.fromstring(plot)
    assert "<script" not in page
    comment, *lines = latex.splitlines()
    assert comment.startswith("% ")
    assert not any(line.startswith("%") or r"\input" in line for line in lines)


def test_a_page_and_a_table_have_no_control_characters() -> None:
    section = Section("", (), [Table([OBEYED], [[OBEYED]])])
    assert not CONTROL.search(to_html(OBEYED, [section]))
    metrics = {"AP": 1.0, "AP-a|b": 1.0, "AP50-a|b": 1.0, "AP-c": 1.0, "AP50-c": 1.0}
    (row,) = [line for line in ap_table({"bbox": metrics}).splitlines() if r"a\|b" in line]
    head = ap_table({"bbox": metrics}).splitlines()[0]
    assert row.count("|") - row.count(r"\|") == head.count("|")


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"]
)
def test_no_cell_of_a_report_is_a_formula(name: str) -> None:
    written = io.StringIO()
    csv.writer(written).writerow([csv_cell(name)])
    ((cell,),) = csv.reader(io.StringIO(written.getvalue(), newline=""))
    assert cell == f"'{name}"
