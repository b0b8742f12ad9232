"""The class of a file, as COCO and as VIA want it."""

import pytest

from roilab import via
from roilab.curation import harmonize_attributes
from roilab.curation.harmonize_attributes import with_class_dropdown, with_united_class


def source(kind: via.Attribute | None, *values: via.Value) -> via.Annotations:
    regions = tuple(via.Region(n, via.Rect(n, 0, 5, 5), {"kind": v}) for n, v in enumerate(values))
    image = via.ImageRecord("a.jpg1", "a.jpg", 1, regions)
    declared = {"kind": kind} if kind is not None else {}
    return via.Annotations("via.json", via.Container.VIA2_PROJECT, (image,), declared, {})


def test_text_becomes_a_dropdown() -> None:
    for kind in (None, via.Attribute("kind")):
        file = with_class_dropdown(source(kind, "dog", "", "cat"), "kind")
        expected = via.Attribute("kind", "dropdown", "", {"cat": "cat", "dog": "dog"})
        assert file.region_attributes == {"kind": expected}


def test_the_default_of_a_text_is_that_of_the_dropdown() -> None:
    file = with_class_dropdown(source(via.Attribute("kind", default_value="cat"), "dog"), "kind")
    options = {"cat": "cat", "dog": "dog"}
    expected = via.Attribute("kind", "dropdown", options=options, default_options=("cat",))
    assert file.region_attributes["kind"] == expected


def test_a_choice_keeps_its_type_and_gets_descriptions() -> None:
    kind = via.Attribute("kind", "radio", "", {"a": "", "b": "bee"})
    expected = via.Attribute("kind", "radio", "", {"a": "a", "b": "bee"})
    assert with_class_dropdown(source(kind), "kind").region_attributes["kind"] == expected
    picture = via.Attribute("kind", "image", "", {"a": ""})
    assert with_class_dropdown(source(picture), "kind").region_attributes == {"kind": picture}


def test_several_ticks_are_no_dropdown() -> None:
    file = with_class_dropdown(source(via.Attribute("kind"), ("a", "b"), "c"), "kind")
    assert file.region_attributes["kind"].type == "text"


def test_free_text_is_no_choice() -> None:
    text = [f"line {number}" for number in range(60)]
    file = with_class_dropdown(source(via.Attribute("kind"), *text), "kind")
    assert file.region_attributes["kind"].type == "text"
    file = with_class_dropdown(source(via.Attribute("kind"), *text * 2), "kind")
    assert file.region_attributes["kind"].type == "dropdown"


def test_declared_classes_in_their_order() -> None:
    kind = via.Attribute("kind", "dropdown", "", {"2": "dog", "1": "cat", "3": "tree"})
    class_map = {"tree": None, "dog": "cat"}
    assert harmonize_attributes.declared_classes(source(kind), "kind", class_map) == ["cat"]
    assert harmonize_attributes.declared_classes(source(kind), "kind", {}) == ["dog", "cat", "tree"]
    assert harmonize_attributes.declared_classes(source(None), None, {}) == []


@pytest.mark.parametrize("several", [True, False])
def test_one_attribute_instead_of_one_for_each_class(several: bool) -> None:
    values: list[dict[str, via.Value]] = [{"Key": "Key", "note": "x"}, {"Image": "Image"}, {}]
    if several:
        values.append({"Key": "Key", "Image": "Image"})
    regions = tuple(via.Region(n, via.Rect(n, 0, 5, 5), v) for n, v in enumerate(values))
    image = via.ImageRecord("a.jpg1", "a.jpg", 1, regions)
    before = via.with_declarations(via.Annotations("v", via.Container.VIA2_JSON, (image,), {}, {}))
    flags = ["Key", "Image"]
    after, name = with_united_class(before, flags)
    assert name == "class"
    kind, options = "checkbox" if several else "dropdown", {flag: flag for flag in flags}
    united = via.Attribute("class", kind, options=options)
    assert after.region_attributes == {"note": via.Attribute("note"), "class": united}
    assert after.images[0].regions[0].attributes["note"] == "x"
    labelled = via.build_instances(after, via.LabelRules(class_attribute="class"))
    expected = via.build_instances(before, via.LabelRules(class_attribute=flags))
    assert labelled.images[0].instances == expected.images[0].instances
    assert len(labelled.images[0].instances) == 2
    # A name that is taken is not taken again.
    declared = {"class": via.Attribute("class")}
    file = via.Annotations("v", via.Container.VIA2_JSON, (image,), declared, {})
    annotations, other = with_united_class(file, flags)
    assert other == "label"
    assert set(annotations.region_attributes) == {"class", "label"}
