"""A project that was written is read back as it was, and has what VIA needs to open it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roilab.errors import UserError
from roilab.via import (
    Annotations,
    Attribute,
    Circle,
    Container,
    Ellipse,
    ImageRecord,
    Point,
    Polygon,
    Polyline,
    Rect,
    Region,
    read,
    write_project,
)
from roilab.via.shapes import encloses_area, open_ring
from roilab.via.write import image_key

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8).map(str.strip)
names = texts.filter(bool)
coordinates = st.integers(-(10**7), 10**7).map(lambda thousandth: thousandth / 1000)
extents = st.integers(1, 10**7).map(lambda thousandth: thousandth / 1000)
vertices = st.lists(st.tuples(coordinates, coordinates), min_size=2, max_size=8)
shapes = st.one_of(
    st.builds(Rect, coordinates, coordinates, extents, extents),
    st.builds(Circle, coordinates, coordinates, extents),
    st.builds(Ellipse, coordinates, coordinates, extents, extents, st.floats(-7, 7)),
    vertices.map(open_ring).filter(lambda r: len(set(r)) > 2 and encloses_area(r)).map(Polygon),
    vertices.filter(lambda line: len(set(line)) > 1).map(tuple).map(Polyline),
    st.builds(Point, coordinates, coordinates),
)
values = st.one_of(texts, st.lists(texts, max_size=3, unique=True).map(tuple))
attribute_values = st.dictionaries(names, values, max_size=3)
declarations = st.builds(
    Attribute,
    name=names,
    type=st.sampled_from(["radio", "dropdown", "checkbox", "image"]),
    description=texts,
    options=st.dictionaries(texts, texts, max_size=3),
).map(lambda attribute: {attribute.name: attribute})


@st.composite
def records(draw: st.DrawFn) -> ImageRecord:
    drawn = draw(st.lists(st.tuples(shapes, attribute_values), max_size=4))
    filename, size = draw(names), draw(st.none() | st.integers(0, 10**9))
    regions = tuple(Region(index, *content) for index, content in enumerate(drawn))
    return ImageRecord(image_key(filename, size), filename, size, regions, draw(attribute_values))


@given(
    images=st.lists(records(), max_size=3, unique_by=lambda image: image.key),
    region_attributes=declarations,
    file_attributes=declarations,
    default_path=texts,
)
def test_read_is_the_inverse_of_write(
    tmp_path_factory: pytest.TempPathFactory,
    images: list[ImageRecord],
    region_attributes: dict[str, Attribute],
    file_attributes: dict[str, Attribute],
    default_path: str,
) -> None:
    path = tmp_path_factory.mktemp("project") / "via.json"
    write_project(path, images, region_attributes, file_attributes, default_path=default_path)
    assert read(path) == Annotations(
        file=str(path),
        container=Container.VIA2_PROJECT,
        images=tuple(images),
        region_attributes=region_attributes,
        file_attributes=file_attributes,
        default_path=default_path,
    )


def record(filename: str = "a.jpg", size: int | None = 10, *shapes: Point | Rect) -> ImageRecord:
    regions = tuple(Region(index, shape, {}) for index, shape in enumerate(shapes))
    return ImageRecord("any", filename, size, regions)


def test_what_via_needs_to_open_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "via.json"
    kind = Attribute("kind", "dropdown", "what it is", {"car": "car"})
    image = ImageRecord("k", "a.jpg", None, (Region(0, Rect(1, 2, 3, 4), {"box": ("x",)}),))
    write_project(path, [image], {"kind": kind, "id": Attribute("id")}, name="mine")
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
                "default_options": {},
            },
            "id": {"type": "text", "description": "", "default_value": ""},
        },
        "file": {},
    }


def test_coordinates_are_integers_or_have_three_decimals(tmp_path: Path) -> None:
    write_project(tmp_path / "via.json", [record("a", 1, Point(3.0, 1.23456))], {})
    assert '"cx":3,"cy":1.235' in (tmp_path / "via.json").read_text(encoding="ascii")


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        write_project(tmp_path / name, [record()], {"kind": Attribute("kind")})
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_two_images_of_one_name_and_size(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"same name and size(.|\n)*a\.jpg"):
        write_project(tmp_path / "via.json", [record(), record()], {})
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "via.json"
    write_project(path, [record()], {})
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write_project(path, [record("b.jpg")], {})
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["via.json"]
