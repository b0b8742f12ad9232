"""Which attribute is the class: by the user's word, by its name, by its values."""

from collections.abc import Mapping
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roilab.errors import UserError
from roilab.via import Attribute, LabelRules, Value, roles_of

from .test_instances import BONES, box, build, dot, file_of, labels, problems

CLASS_NAMES = ("class", "label", "name", "names", "category", "type", "object")
OTHER_NAMES = ("instance", "id", "track", "score")


class TestNone:
    """The only attribute is no class."""

    TRACKS = file_of([box(track="71"), box(20, track="70")])

    def test_the_user_says_so(self) -> None:
        result = build(self.TRACKS, class_attribute="", default_class="cat")
        assert labels(result) == ["cat", "cat"]
        assert result.problems == ()
        skipped = build(self.TRACKS, class_attribute="", unlabelled="skip")
        assert labels(skipped) == []

    def test_a_default_is_needed_then(self) -> None:
        with pytest.raises(UserError, match="give default_class"):
            build(self.TRACKS, class_attribute="")

    def test_a_tag_does_not_go_before_the_user(self) -> None:
        tagged = Attribute("kind", description="[roilab:class]")
        drawn = file_of([box(kind="cat")], kind=tagged)
        assert labels(build(drawn, class_attribute="", default_class="it")) == ["it"]

    def test_no_attribute_ties_or_hides(self) -> None:
        drawn = [box(kind="person", id="1"), dot(part="head", id="1", seen="occluded")]
        rules = {"class_attribute": "kind", "instance_attribute": "", "visibility_attribute": ""}
        roles = roles_of(file_of(drawn), LabelRules(**rules), BONES)
        assert (roles.instance, roles.visibility) == (None, None)
        (person,) = build(drawn, BONES, **rules).images[0].instances
        assert person.keypoints == ((1, 1, 2), (0, 0, 0), (0, 0, 0))


class TestDoubts:
    @pytest.mark.parametrize("default", [None, "cat"])
    @pytest.mark.parametrize(
        "values",
        [("71", "70"), ("cat 1", "cat 2", "cat 3"), tuple("abcdefgh"), tuple("aabcdefghijk")],
    )
    def test_nearly_as_many_classes_as_objects(
        self, values: tuple[str, ...], default: str | None
    ) -> None:
        drawn = file_of([box(10 * n, who=value) for n, value in enumerate(values)])
        result = build(drawn, default_class=default)
        assert problems(result) == [("warning", None, "who")]
        assert f"{len(set(values))} values for {len(values)} objects" in result.problems[0].message
        # Both ways out are taken.
        assert 'class_attribute=""' in result.problems[0].remedy
        assert "class_attribute=who" in result.problems[0].remedy
        named = build(drawn, class_attribute="who")
        assert (labels(named), named.problems) == (list(values), ())
        none = build(drawn, class_attribute="", default_class="cat")
        assert (labels(none), none.problems) == (["cat"] * len(values), ())

    @pytest.mark.parametrize(
        "values", [("cat", "dog"), ("71",), ("1", "1", "0"), tuple("aabbccddeeff"), ("",)]
    )
    def test_classes_are_no_doubt(self, values: tuple[str, ...]) -> None:
        drawn = file_of([box(10 * n, who=value) for n, value in enumerate(values)])
        assert build(drawn, default_class="it").problems == ()

    def test_a_choice_of_via_is_meant(self) -> None:
        kind = Attribute("who", "dropdown", options={"1": "", "2": ""})
        assert build(file_of([box(who="1"), box(20, who="2")], who=kind)).problems == ()

    def test_the_default_of_what_names_points(self) -> None:
        drawn = file_of([box(part="head"), dot(part="head"), dot(part="left")])
        result = build(drawn)
        assert [attribute for _, _, attribute in problems(result)] == ["part", None]
        assert "names points: 'head', 'left'" in result.problems[0].message


class TestNames:
    @pytest.mark.parametrize("name", [*CLASS_NAMES, "Class", " Label "])
    @pytest.mark.parametrize("other", OTHER_NAMES)
    def test_a_class_wins_with_a_note(self, name: str, other: str) -> None:
        drawn = file_of([box(**{name: "cat", other: "1"}), box(20, **{name: "dog", other: "2"})])
        result = build(drawn)
        assert labels(result) == ["cat", "dog"]
        assert {problem.severity for problem in result.problems} <= {"note"}
        assert result.problems or other == "score"

    @pytest.mark.parametrize(("one", "two"), [*combinations(CLASS_NAMES, 2)])
    def test_two_of_them_stay_ambiguous(self, one: str, two: str) -> None:
        drawn = file_of([box(**{one: "cat", two: "tabby", "id": "1"})])
        with pytest.raises(UserError, match="several attributes could be the class"):
            build(drawn)

    def test_no_name_wins_over_any_other(self) -> None:
        with pytest.raises(UserError, match="several attributes could be the class"):
            build([box(**{"class": "cat", "id": "1", "colour": "red"})])

    def test_parts_of_one_instance(self) -> None:
        drawn = [box(n, **{"class": "cat", "instance": i}) for n, i in enumerate("112")]
        result = build(drawn)
        assert [instance.regions for instance in result.images[0].instances] == [(0, 1), (2,)]
        (tie,) = [problem for problem in result.problems if problem.attribute == "instance"]
        assert 'instance_attribute=""' in tie.remedy
        alone = build(drawn, instance_attribute="")
        assert [instance.regions for instance in alone.images[0].instances] == [(0,), (1,), (2,)]

    def test_the_only_attribute_is_the_class_whatever_its_name(self) -> None:
        assert labels(build([box(instance="cat"), box(20, instance="cat")])) == ["cat"] * 2

    def test_a_score_is_a_number(self) -> None:
        assert labels(build([box(kind="cat", score="0.9")])) == ["cat"]
        with pytest.raises(UserError, match="several attributes could be the class"):
            build([box(kind="cat", score="good")])


class TestOneAttributeEach:
    """Matterport's older habit: {"Key": "Key"} here, {"Image": "Image"} there."""

    @given(
        st.lists(st.sampled_from(["Key", "Image", "Text"]), min_size=2).filter(
            lambda names: len(set(names)) > 1
        ),
        st.sampled_from(["name", "yes", "ticked"]),
    )
    def test_the_same_as_one_attribute(self, names: list[str], how: str) -> None:
        values: Mapping[str, Value] = {
            name: {"name": name, "yes": "yes", "ticked": (name,)}[how] for name in names
        }
        several = build([box(10 * n, **{x: values[x]}) for n, x in enumerate(names)])
        one = build([box(10 * n, kind=x) for n, x in enumerate(names)])
        assert several.images[0].instances == one.images[0].instances
        assert several.classes == one.classes
        assert "note" in {problem.severity for problem in several.problems}

    def test_a_region_with_two_is_left_out(self) -> None:
        drawn = [box(Key="Key"), box(20, Image="image"), box(40, Key="Key", Image="Image")]
        result = build(drawn)
        assert labels(result) == ["Key", "Image"]
        assert ("error", 2, None) in problems(result)

    def test_what_applies_beside_a_class_is_none(self) -> None:
        drawn = [box(occluded="yes"), box(20, crowd="yes"), box(40, crowd="yes", occluded="yes")]
        with pytest.raises(UserError, match="several attributes could be the class"):
            build(drawn)

    def test_named(self) -> None:
        drawn = file_of([box(scratch="deep"), box(20, dent="small"), box(40)])
        with pytest.raises(UserError, match="where each is a class of its own"):
            build(drawn)
        result = build(drawn, class_attribute=["scratch", "dent"])
        assert labels(result) == ["scratch", "dent"]
        assert problems(result) == [("error", 2, None)]
        class_map = {"dent": "scratch"}
        result = build(drawn, class_attribute=["scratch", "dent"], class_map=class_map)
        assert result.classes == ("scratch",)
        with pytest.raises(UserError, match="'dents'"):
            build(drawn, class_attribute=["scratch", "dents"])


class TestClassBesideKeypoints:
    """One attribute names the class of outlines and the keypoints of points."""

    DRAWN = file_of([box(name="person"), dot(name="head"), dot(2, name="left")])

    @pytest.mark.parametrize("named", [None, "name"])
    def test_both(self, named: str | None) -> None:
        result = build(self.DRAWN, BONES, class_attribute=named)
        (person,) = result.images[0].instances
        assert person.label == "person"
        assert person.keypoints == ((1, 1, 2), (2, 1, 2), (0, 0, 0))
        assert result.problems == ()

    def test_points_alone(self) -> None:
        drawn = file_of([dot(name="head")], [box(name="person")])
        result = build(drawn, BONES)
        assert labels(result) == ["person", "person"]
