"""What was written is read back as it was, and has what VIA needs to open it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from roilab import via
from roilab.errors import UserError
from roilab.via.geometry import encloses_area, open_ring
from roilab.via.records import image_key

Write = Callable[[str | Path, via.Annotations], tuple[via.Problem, ...]]

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8).map(str.strip)
names = texts.filter(bool)
coordinates = st.integers(-(10**7), 10**7).map(lambda thousandth: thousandth / 1000)
# Less than three decimals hold: what has such an extent is written with all of them.
tiny = st.integers(1, 499).map(lambda millionth: millionth / 1_000_000)
extents = st.integers(1, 10**7).map(lambda thousandth: thousandth / 1000) | tiny
vertices = st.lists(st.tuples(coordinates, coordinates), min_size=2, max_size=8)
shapes = st.one_of(
    st.builds(via.Rect, coordinates, coordinates, extents, extents),
    st.builds(via.Circle, coordinates, coordinates, extents),
    st.builds(via.Ellipse, coordinates, coordinates, extents, extents, st.floats(-7, 7)),
    vertices.filter(lambda ring: ring[0] != ring[-1])
    .map(via.Polygon.through)
    .filter(lambda polygon: encloses_area(polygon.xs, polygon.ys)),
    vertices.filter(lambda line: len(set(line)) > 1).map(via.Polyline.through),
    st.builds(via.Point, coordinates, coordinates),
)
values = st.one_of(texts, st.lists(texts, max_size=3, unique=True).map(tuple))
attribute_values = st.dictionaries(names, values, max_size=3)
declarations = st.builds(
    via.Attribute,
    name=names,
    type=st.sampled_from(["text", "radio", "dropdown", "checkbox", "image"]),
    description=texts,
    options=st.dictionaries(texts, texts, max_size=3),
    default_value=texts,
    default_options=st.lists(texts, max_size=2, unique=True).map(tuple),
).map(lambda attribute: {attribute.name: attribute})


@st.composite
def records(draw: st.DrawFn) -> via.ImageRecord:
    drawn = draw(st.lists(st.tuples(shapes, attribute_values), max_size=4))
    filename, size = draw(names), draw(st.none() | st.integers(0, 10**9))
    regions = tuple(via.Region(index, *content) for index, content in enumerate(drawn))
    return via.ImageRecord(
        image_key(filename, size), filename, size, regions, draw(attribute_values)
    )


def annotations_of(
    images: tuple[via.ImageRecord, ...] = (), declared: dict[str, via.Attribute] | None = None
) -> via.Annotations:
    return via.Annotations("source.json", via.Container.VIA2_PROJECT, images, declared or {}, {})


def again(path: Path) -> via.Annotations:
    """What is read, without warnings of regions that are alike."""
    annotations = via.read(path)
    assert all("the same as region" in problem.message for problem in annotations.problems)
    return replace(annotations, problems=())


everything = st.builds(
    via.Annotations,
    file=st.just("source.json"),
    container=st.just(via.Container.VIA2_PROJECT),
    images=st.lists(records(), max_size=3, unique_by=lambda image: image.key).map(tuple),
    region_attributes=declarations,
    file_attributes=declarations,
    default_path=texts,
)


@given(written=everything)
def test_a_project_holds_everything(
    tmp_path_factory: pytest.TempPathFactory, written: via.Annotations
) -> None:
    path = tmp_path_factory.mktemp("project") / "via.json"
    assert via.write_project(path, written) == ()
    assert again(path) == replace(written, file=str(path))


@pytest.mark.parametrize(
    ("write", "container"),
    [(via.write_json, via.Container.VIA2_JSON), (via.write_csv, via.Container.VIA2_CSV)],
)
@given(written=everything)
def test_an_export_holds_all_but_declarations(
    tmp_path_factory: pytest.TempPathFactory,
    write: Write,
    container: via.Container,
    written: via.Annotations,
) -> None:
    if container is via.Container.VIA2_CSV:
        assume(all(len(image.filename.splitlines()) == 1 for image in written.images))
    else:
        assume(written.images)
    path = tmp_path_factory.mktemp("export") / "via"
    problems = write(path, written)
    expected = replace(annotations_of(written.images), file=str(path), container=container)
    assert again(path) == expected
    of_file = [problem for problem in problems if problem.image is None]
    assert len(of_file) == 1 + bool(written.default_path)
    assert all(problem.severity == "warning" for problem in problems)


floats = st.floats(-1000, 1000) | st.floats(-0.002, 0.002)
fine = st.lists(st.tuples(floats, floats), min_size=3, max_size=6)


@given(
    shape=st.one_of(
        st.builds(via.Rect, floats, floats, floats, floats),
        st.builds(via.Circle, floats, floats, floats),
        st.builds(via.Ellipse, floats, floats, floats, floats, floats),
        fine.map(via.Polygon.through),
        fine.map(via.Polyline.through),
    )
)
def test_rounding_loses_no_region(
    tmp_path_factory: pytest.TempPathFactory, shape: via.Shape
) -> None:
    """Whatever can be read is read again, a vertex for a vertex, as far as it is rounded."""
    path = tmp_path_factory.mktemp("fine") / "via.json"
    image = via.ImageRecord("k", "a.jpg", 1, (via.Region(0, shape, {}),))
    problems = via.write_project(path, annotations_of((image,)))
    regions = via.read(path).images[0].regions
    if not regions:
        (problem,) = problems
        assert (problem.severity, problem.image, problem.region) == ("error", "a.jpg", 0)
        return
    rounded_shape = regions[0].shape
    assert all(problem.severity == "note" for problem in problems)
    if isinstance(shape, via.Polygon) and isinstance(rounded_shape, via.Polygon):
        assert len(rounded_shape.xs) == len(open_ring(shape.xs, shape.ys)[0])
    assert via.bounds(rounded_shape) == pytest.approx(via.bounds(shape), abs=0.0021)


def record(
    filename: str = "a.jpg", size: int | None = 10, *shapes: via.Point | via.Rect
) -> via.ImageRecord:
    regions = tuple(via.Region(index, shape, {}) for index, shape in enumerate(shapes))
    return via.ImageRecord("any", filename, size, regions)


def test_what_via_needs_to_open_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "via.json"
    kind = via.Attribute("kind", "dropdown", "what it is", {"car": "car"}, default_options=("car",))
    image = via.ImageRecord(
        "k", "a.jpg", None, (via.Region(0, via.Rect(1, 2, 3, 4), {"box": ("x",)}),)
    )
    declared = {"kind": kind, "id": via.Attribute("id", default_value="0")}
    via.write_project(path, annotations_of((image,), declared), name="mine")
    data = json.loads(path.read_text(encoding="utf-8"))
    assert list(data) == [
        "_via_settings",
        "_via_img_metadata",
        "_via_attributes",
        "_via_data_format_version",
        "_via_image_id_list",
    ]
    assert data["_via_data_format_version"] == "2.0.10"
    assert data["_via_image_id_list"] == list(data["_via_img_metadata"]) == ["a.jpg-1"]
    assert data["_via_settings"]["project"]["name"] == "mine"
    assert data["_via_settings"]["core"]["default_filepath"] == ""
    assert {"image", "image_grid"} <= set(data["_via_settings"]["ui"])
    entry = data["_via_img_metadata"]["a.jpg-1"]
    # VIA throws an entry away that lacks one of these.
    assert set(entry) == {"filename", "size", "regions", "file_attributes"}
    assert entry["size"] == -1
    assert entry["regions"][0]["region_attributes"] == {"box": {"x": True}}
    assert data["_via_attributes"] == {
        "region": {
            "kind": {
                "type": "dropdown",
                "description": "what it is",
                "options": {"car": "car"},
                "default_options": {"car": True},
            },
            "id": {"type": "text", "description": "", "default_value": "0"},
        },
        "file": {},
    }


def test_coordinates_are_integers_or_have_three_decimals(tmp_path: Path) -> None:
    points = (via.Point(3.0, 1.23456), via.Point(3.0, 1.5))
    (note,) = via.write_project(tmp_path / "via.json", annotations_of((record("a", 1, *points),)))
    assert '"cx":3,"cy":1.235' in (tmp_path / "via.json").read_text(encoding="ascii")
    assert (note.severity, note.message[-10:]) == ("note", ": 1 region")


@pytest.mark.parametrize("write", [via.write_project, via.write_json, via.write_csv])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_coordinate_that_is_not_finite(tmp_path: Path, write: Write, number: float) -> None:
    images = (record("a.jpg", 1), record("b.jpg", 1, via.Point(1, 1), via.Point(2, number)))
    with pytest.raises(UserError, match=r"b\.jpg, region 1"):
        write(tmp_path / "via.json", annotations_of(images))
    assert list(tmp_path.iterdir()) == []


def test_an_extent_that_would_be_rounded_away_is_kept(tmp_path: Path) -> None:
    rect = via.Rect(1.23456, 2, 0.0004, 3)
    assert via.write_project(tmp_path / "via.json", annotations_of((record("a", 1, rect),))) == ()
    assert via.read(tmp_path / "via.json").images[0].regions[0].shape == rect


def test_a_region_that_cannot_be_read_again_is_an_error(tmp_path: Path) -> None:
    written = annotations_of((record("a.jpg", 1, via.Point(1, 1), via.Rect(1, 1, 0, 1)),))
    (problem,) = via.write_project(tmp_path / "via.json", written)
    assert (problem.severity, problem.image, problem.region) == ("error", "a.jpg", 1)
    assert "without extent" in problem.message


@pytest.mark.parametrize("write", [via.write_project, via.write_json, via.write_csv])
@pytest.mark.parametrize("path", ["", "/", ".", "a\0b"])
def test_a_path_that_names_no_file(write: Write, path: str) -> None:
    with pytest.raises(UserError, match="cannot write"):
        write(Path(path), annotations_of((record(),)))


@pytest.mark.parametrize("write", [via.write_project, via.write_json, via.write_csv])
def test_keys_of_two_images_that_are_alike(tmp_path: Path, write: Write) -> None:
    images = (record("a.jpg", 12), record("a.jpg1", 2), record("b.jpg", 3))
    assert write(tmp_path / "via", annotations_of(images)) == ()
    records = via.read(tmp_path / "via").images
    names = [("a.jpg", 12), ("a.jpg1", 2), ("b.jpg", 3)]
    assert [(image.filename, image.size) for image in records] == names
    assert [image.key for image in records][::2] == ["a.jpg12", "b.jpg3"]
    assert records[1].key not in ("a.jpg12", "b.jpg3")


def test_a_gap_in_the_numbers_is_noted(tmp_path: Path) -> None:
    image = via.ImageRecord("k", "a.jpg", 1, (via.Region(2, via.Point(1, 1), {}),))
    (note,) = via.write_project(tmp_path / "via.json", annotations_of((image,)))
    assert note.severity == "note"
    assert "numbered anew" in note.message
    assert via.read(tmp_path / "via.json").images[0].regions[0].index == 0


def test_what_an_export_loses_is_said(tmp_path: Path) -> None:
    kind = via.Attribute("kind", "dropdown", options={"1": "car", "2": "bus"})
    (problem,) = via.write_json(tmp_path / "via.json", annotations_of((record(),), {"kind": kind}))
    assert "'kind'" in problem.message
    assert "descriptions are lost" in problem.message


def test_file_names_that_a_csv_cannot_hold(tmp_path: Path) -> None:
    names = ("a.jpg", "b,c.jpg", "two\nlines.jpg")
    written = annotations_of(tuple(record(name, 1, via.Point(1, 1)) for name in names))
    comma, line = via.write_csv(tmp_path / "via.csv", written)
    assert (comma.severity, comma.image) == ("warning", "b,c.jpg")
    assert (line.severity, line.image) == ("error", "two\nlines.jpg")
    assert [image.filename for image in via.read(tmp_path / "via.csv").images] == [
        "a.jpg",
        "b,c.jpg",
    ]


def test_csv_is_what_via_writes(tmp_path: Path) -> None:
    via.write_csv(
        tmp_path / "via.csv", annotations_of((record("a.jpg", 9, via.Point(1, 2)), record()))
    )
    header, *rows = (tmp_path / "via.csv").read_text(encoding="ascii").splitlines()
    assert header.startswith("filename,file_size,")
    assert rows == [
        'a.jpg,9,"{}",1,0,"{""name"":""point"",""cx"":1,""cy"":2}","{}"',
        'a.jpg,10,"{}",0,0,"{}","{}"',
    ]


def test_undeclared_attributes_are_declared() -> None:
    regions = (
        via.Region(0, via.Point(1, 1), {"a": "x", "ticks": ("p",), "known": "k"}),
        via.Region(1, via.Point(1, 1), {"ticks": ("q",)}),
    )
    image = via.ImageRecord("k", "a.jpg", 1, regions, {"caption": "c"})
    known = via.Attribute("known", "radio", options={"k": "k"})
    declared = via.with_declarations(annotations_of((image,), {"known": known}))
    assert declared.region_attributes == {
        "known": known,
        "a": via.Attribute("a"),
        "ticks": via.Attribute("ticks", "checkbox", options={"p": "p", "q": "q"}),
    }
    assert declared.file_attributes == {"caption": via.Attribute("caption")}


@pytest.mark.parametrize("write", [via.write_project, via.write_json, via.write_csv])
def test_same_records_same_bytes(tmp_path: Path, write: Write) -> None:
    for name in ("one.json", "two.json"):
        write(tmp_path / name, annotations_of((record(),), {"kind": via.Attribute("kind")}))
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.mark.parametrize("write", [via.write_project, via.write_json, via.write_csv])
def test_two_images_of_one_name_and_size(tmp_path: Path, write: Write) -> None:
    with pytest.raises(UserError, match=r"same name and size(.|\n)*a\.jpg"):
        write(tmp_path / "via.json", annotations_of((record(), record())))
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "via.json"
    via.write_project(path, annotations_of((record(),)))
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        via.write_project(path, annotations_of((record("b.jpg"),)))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["via.json"]


@pytest.mark.parametrize("write", [via.write_project, via.write_json, via.write_csv])
@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "-1", "+x", "\x1b[31mred", "a|b", "'=1"])
def test_names_are_kept_to_the_byte(tmp_path: Path, write: Write, name: str) -> None:
    """What looks like a formula, too: it is read back, and is no table for people."""
    region = via.Region(0, via.Rect(1, 2, 3, 4), {name: name})
    write(tmp_path / "via", annotations_of((via.ImageRecord("k", name, 5, (region,)),)))
    (image,) = via.read(tmp_path / "via").images
    assert image.filename == name
    assert image.regions[0].attributes == {name: name}
