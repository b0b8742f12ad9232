"""Several files as one: nothing is lost, nothing is twice, and what clashes is said."""

from roilab.data.merge import merge
from roilab.via import Annotations, Attribute, Container, ImageRecord, Rect, Region, Value, label


def image(name: str, *values: dict[str, Value], size: int | None = 1) -> ImageRecord:
    regions = tuple(Region(n, Rect(n, 0, 5, 5), each) for n, each in enumerate(values))
    return ImageRecord(f"{name}{size}", name, size, regions)


def source(
    file: str, *images: ImageRecord, default_path: str = "", **declared: Attribute
) -> Annotations:
    return Annotations(file, Container.VIA2_PROJECT, images, declared, {}, default_path)


def severities(found: Annotations) -> list[str]:
    return [each.severity for each in found.problems]


def test_images_and_attributes_are_united() -> None:
    kind = Attribute("kind", "dropdown", "what", {"cat": "cat"})
    dog = Attribute("kind", "dropdown", "", {"dog": "dog"})
    a = source("a", image("1", {"kind": "cat"}), kind=kind, default_path="p/")
    b = source("b", image("2", {"kind": "dog"}), kind=dog, id=Attribute("id"), default_path="p/")
    found = merge([a, b], "out")
    assert [each.filename for each in found.images] == ["1", "2"]
    assert found.region_attributes == {
        "kind": Attribute("kind", "dropdown", "what", {"cat": "cat", "dog": "dog"}),
        "id": Attribute("id"),
    }
    assert found.default_path == "p/"
    assert found.problems == ()


def test_the_same_image_is_kept_once() -> None:
    found = merge([source("a", image("1", {"k": "x"})), source("b", image("1", {"k": "x"}))], "o")
    assert len(found.images) == 1
    assert severities(found) == ["note"]


def test_the_same_image_annotated_otherwise_is_an_error() -> None:
    found = merge([source("a", image("1", {"k": "x"})), source("b", image("1", {"k": "y"}))], "o")
    assert found.images[0].regions[0].attributes == {"k": "x"}
    (problem,) = found.problems
    assert (problem.severity, problem.file, problem.image) == ("error", "b", "1")


def test_another_size_is_another_image() -> None:
    found = merge([source("a", image("1", size=1)), source("b", image("1", size=2))], "o")
    assert len(found.images) == 2


def test_option_ids_of_two_meanings_are_named_by_them() -> None:
    one = Attribute("kind", "radio", "", {"1": "cat", "2": "dog"})
    other = Attribute("kind", "radio", "", {"1": "dog", "2": "cow"})
    found = merge(
        [
            source("a", image("1", {"kind": "1"}, {"kind": "2"}), kind=one),
            source("b", image("2", {"kind": "1"}, {"kind": "2"}), kind=other),
        ],
        "out",
    )
    assert severities(found) == ["warning"]
    names = [[e.label for e in each.instances] for each in label(found).images]
    assert names == [["cat", "dog"], ["dog", "cow"]]
    assert list(found.region_attributes["kind"].options) == ["dog", "cow", "cat"]


def test_a_file_without_declarations_takes_those_of_the_other() -> None:
    kind = Attribute("kind", "dropdown", "", {"cat": "cat"})
    found = merge(
        [
            source("a", image("1", {"kind": "dog"})),
            source("b", image("2", {"kind": "cat"}), kind=kind),
        ],
        "out",
    )
    assert found.region_attributes["kind"] == Attribute(
        "kind", "dropdown", "", {"cat": "cat", "dog": "dog"}
    )


def test_default_paths_that_differ_are_left_out() -> None:
    found = merge([source("a", default_path="p/"), source("b", default_path="q/")], "out")
    assert found.default_path == ""
    assert severities(found) == ["warning"]
