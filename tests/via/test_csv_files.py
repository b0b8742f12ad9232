"""The CSV files of VIA 1 and 2: what VIA and spreadsheets write, and what is broken in the wild."""

import json
from pathlib import Path

import pytest

from roilab.errors import UserError
from roilab.via import Annotations, Container, Point, Polygon, Rect, read

COLUMNS = (
    "filename,file_size,file_attributes,region_count,region_id,"
    "region_shape_attributes,region_attributes"
)
RECT = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}


def row(
    name: str = "a.jpg",
    size: object = 10,
    count: object = 1,
    number: object = 0,
    shape: object = RECT,
    values: object = None,
    separator: str = ",",
) -> str:
    cells = [name, str(size), quoted({}), str(count), str(number), quoted(shape)]
    return separator.join([*cells, quoted({} if values is None else values)])


def quoted(data: object) -> str:
    return '"' + json.dumps(data).replace('"', '""') + '"'


def load(tmp_path: Path, *lines: str, header: str = COLUMNS, end: str = "\n") -> Annotations:
    path = tmp_path / "via.csv"
    path.write_bytes((end.join([header, *lines]) + end).encode())
    return read(path)


def test_regions_of_one_image_are_rows(tmp_path: Path) -> None:
    point = {"name": "point", "cx": 5, "cy": 6}
    annotations = load(
        tmp_path,
        row(count=2, values={"kind": "cat", "boxes": {"x": True, "y": False}}),
        row(count=2, number=1, shape=point),
        row("b.jpg", -1, 0, shape={}),
    )
    assert annotations.container is Container.VIA2_CSV
    assert annotations.problems == ()
    a, b = annotations.images
    assert (a.filename, a.size, b.filename, b.size) == ("a.jpg", 10, "b.jpg", None)
    assert [region.shape for region in a.regions] == [Rect(1, 2, 3, 4), Point(5, 6)]
    assert a.regions[0].attributes == {"kind": "cat", "boxes": ("x",)}
    assert b.regions == ()


def test_a_row_in_pythons_notation_is_refused_with_the_way_out(tmp_path: Path) -> None:
    cells = ["a.png", "-1", "{}", "1", "0", str(RECT), str({"kind": "cat"})]
    spoilt = load(tmp_path, ",".join(f'"{cell}"' for cell in cells))
    assert {(problem.image, problem.region) for problem in spoilt.problems} == {("a.png", 0)}
    assert all("json.dumps" in problem.remedy for problem in spoilt.problems)
    mended = load(tmp_path, row("a.png", -1, values={"kind": "cat"}))
    assert mended.problems == ()
    assert len(mended.images[0].regions) == 1
    broken = load(tmp_path, ",".join(['"a.png"', "-1", "{}", "1", "0", '"{oops"', "{}"]))
    assert not any("json.dumps" in problem.remedy for problem in broken.problems)


def test_via_1_has_a_sign_before_its_header(tmp_path: Path) -> None:
    closed = {"name": "polygon", "all_points_x": [0, 9, 9, 0], "all_points_y": [0, 0, 9, 0]}
    annotations = load(tmp_path, row(shape=closed), header="#" + COLUMNS)
    assert annotations.container is Container.VIA1_CSV
    assert annotations.images[0].regions[0].shape == Polygon((0, 9, 9), (0, 0, 9))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_any_line_ending_and_byte_order_mark(tmp_path: Path, end: str, mark: str) -> None:
    annotations = load(tmp_path, row(), row("b.jpg"), header=mark + COLUMNS, end=end)
    assert [image.filename for image in annotations.images] == ["a.jpg", "b.jpg"]
    assert annotations.problems == ()


@pytest.mark.parametrize("name", ["a,b.jpg", "a,1,2.jpg", '"a,b.jpg"', 'so "to say".jpg'])
def test_commas_and_marks_in_names(tmp_path: Path, name: str) -> None:
    annotations = load(tmp_path, row(name), row(name, number=1, count=1))
    (image,) = annotations.images
    assert image.filename == name.strip('"')
    assert len(image.regions) == 2


@pytest.mark.parametrize("separator", [";", "\t"])
def test_the_separators_of_spreadsheets(tmp_path: Path, separator: str) -> None:
    line = row("a,b.jpg", separator=separator)
    annotations = load(tmp_path, line, header=COLUMNS.replace(",", separator))
    assert annotations.images[0].filename == "a,b.jpg"
    assert annotations.images[0].regions[0].shape == Rect(1, 2, 3, 4)


def test_a_cell_longer_than_the_csv_module_takes(tmp_path: Path) -> None:
    xs = [index % 1000 for index in range(60_000)]
    shape = {"name": "polygon", "all_points_x": xs, "all_points_y": [x * x % 999 for x in xs]}
    assert len(load(tmp_path, row(shape=shape)).images[0].regions) == 1


def test_cells_that_are_no_json(tmp_path: Path) -> None:
    line = row().replace('"{}"', '"{""type"":undefined}"')
    annotations = load(tmp_path, row(), line.replace("a.jpg", "b.jpg"), row("c.jpg"))
    problems = {
        (problem.severity, problem.image, problem.region) for problem in annotations.problems
    }
    assert ("error", "b.jpg", 0) in problems
    errors = [problem for problem in annotations.problems if problem.severity == "error"]
    assert all("line 3" in error.message for error in errors)
    assert [len(image.regions) for image in annotations.images] == [1, 0, 1]


def test_rows_with_too_few_cells(tmp_path: Path) -> None:
    annotations = load(tmp_path, row(), "b.jpg,10", row("c.jpg"))
    (problem,) = annotations.problems
    assert (problem.severity, "line 3 has 2 cells" in problem.message) == ("error", True)
    assert len(annotations.images) == 2


def test_a_quote_that_never_ends_loses_one_row(tmp_path: Path) -> None:
    annotations = load(tmp_path, row(), '"b.jpg,1', *(row(f"{n}.jpg") for n in range(200)))
    assert len(annotations.images) == 201
    assert [problem.severity for problem in annotations.problems] == ["error"]


def test_numbers_that_are_missing_or_double(tmp_path: Path) -> None:
    shapes = [RECT | {"x": x} for x in range(4)]
    lines = [
        row(count=4, number=number, shape=shape)
        for number, shape in zip((0, 0, "", 7), shapes, strict=True)
    ]
    annotations = load(tmp_path, *lines)
    assert [region.index for region in annotations.images[0].regions] == [0, 1, 2, 7]
    (problem,) = annotations.problems
    assert "2 regions have no number" in problem.message


def test_counts_that_disagree(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, row(count=3)).problems
    assert (problem.severity, problem.image) == ("warning", "a.jpg")
    assert "has 1 region, and states 3" in problem.message


def test_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not those of VIA"):
        load(tmp_path, row(), header=COLUMNS.replace("region_id", "id"))


@pytest.mark.parametrize("odd", ['5".jpg', '5",x.jpg', '"5.jpg'])
def test_an_odd_quote_in_a_name_takes_no_other_row_with_it(tmp_path: Path, odd: str) -> None:
    others = [row(f"{n}.jpg") for n in range(52)]
    annotations = load(tmp_path, row(odd), *others, row(odd, number=1), row("z.jpg"))
    names = [image.filename for image in annotations.images]
    assert names[-53:] == [*(f"{n}.jpg" for n in range(52)), "z.jpg"]
    if odd.startswith('"'):  # then the name cannot be told from a quoted cell
        assert [problem.severity for problem in annotations.problems] == ["error", "error"]
    else:
        assert names[0] == odd
        assert len(annotations.images[0].regions) == 2


def test_a_cell_over_several_lines(tmp_path: Path) -> None:
    line = row(values={"note": "x"}).replace('{""note"": ', '{\n""note"":\n')
    annotations = load(tmp_path, line, row("b.jpg"))
    assert annotations.images[0].regions[0].attributes == {"note": "x"}
    assert len(annotations.images) == 2
    assert annotations.problems == ()


def test_a_row_that_is_cut_off_in_a_cell_takes_no_other_with_it(tmp_path: Path) -> None:
    annotations = load(tmp_path, row()[:-30], row("b.jpg"), row()[:-30], row("c.jpg"))
    assert [image.filename for image in annotations.images] == ["b.jpg", "c.jpg"]
    assert [problem.severity for problem in annotations.problems] == ["error", "error"]


def test_name_and_size_are_not_run_together(tmp_path: Path) -> None:
    annotations = load(tmp_path, row("frame1", 23), row("frame", 123))
    expected = [("frame1", 23), ("frame", 123)]
    assert [(image.filename, image.size) for image in annotations.images] == expected
    assert len({image.key for image in annotations.images}) == 2
    assert annotations.problems == ()


def test_file_attributes_that_differ_between_rows(tmp_path: Path) -> None:
    lines = [
        row(count=4, number=number).replace("{}", quoted(values)[1:-1], 1)
        for number, values in enumerate(({"a": "x"}, {"a": "x"}, {"a": "y"}, {}))
    ]
    lines[1] = lines[1].replace("{", "{ ", 1)  # the same, written differently
    annotations = load(tmp_path, *lines, header=COLUMNS)
    assert annotations.images[0].attributes == {"a": "x"}
    problem = next(
        problem for problem in annotations.problems if "file_attributes" in problem.message
    )
    assert (problem.severity, problem.image) == ("warning", "a.jpg")
    assert "1 row has" in problem.message
    assert "line 4" in problem.message


@pytest.mark.parametrize("cell", ["[1]", "5", '""x""'])
def test_values_that_are_no_object(tmp_path: Path, cell: str) -> None:
    line = row()[: -len('"{}"')] + f'"{cell}"'
    (problem,) = load(tmp_path, line).problems
    assert (problem.severity, problem.image, problem.region) == ("error", "a.jpg", 0)
    assert problem.attribute == "region_attributes"


def test_a_key_that_a_cell_repeats(tmp_path: Path) -> None:
    line = row()[: -len('"{}"')] + '"{""c"":""x"",""c"":""y""}"'
    annotations = load(tmp_path, row("b.jpg"), line)
    assert annotations.images[1].regions[0].attributes == {"c": "y"}
    (problem,) = annotations.problems
    assert (problem.severity, problem.image, problem.region) == ("error", "a.jpg", 0)
    assert problem.attribute == "c"
    assert "2 times" in problem.message
    assert "line 3" in problem.message
