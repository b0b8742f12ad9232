"""What can be read in two ways: which attribute is which, and which object a region is of."""

import pytest

from roilab.errors import UserError
from roilab.via import Annotations, LabelRules, build_instances

from .test_instances import BONES, box, dot, file_of, labels, problems


def two_heads(**rest: str) -> Annotations:
    """An object of which a second head is a slip."""
    drawn = [
        box(0, kind="person", id="a", **rest),
        box(50, kind="person", id="b"),
        dot(1, 1, part="head", id="a"),
        dot(2, 2, part="left", id="a"),
        dot(3, 3, part="head", id="a"),
        dot(51, 1, part="head", id="b"),
    ]
    return file_of([], drawn)


class TestInstanceAttribute:
    def test_the_only_one_is_it_whatever_occurs_twice(self) -> None:
        result = build_instances(two_heads(), skeleton=BONES)
        first, second = result.images[1].instances
        assert first.keypoints == ((1, 1, 2), (2, 2, 2), (0, 0, 0))
        assert second.keypoints == ((51, 1, 2), (0, 0, 0), (0, 0, 0))
        assert problems(result) == [("error", 4, "part")]
        assert "a second head" in result.problems[0].message

    def test_the_only_one_that_may_be_the_class_is_asked_about(self) -> None:
        """It names the class of two persons; with it as their tie, both were one."""
        drawn = [box(0, kind="person"), box(50, kind="person")]
        points = [dot(kind="person", part="head"), dot(51, kind="person", part="head")]
        with pytest.raises(UserError, match="cannot tell which attribute ties") as error:
            build_instances(file_of([*drawn, *points]), skeleton=BONES)
        assert "region 3 of 0.jpg is a second head of 'person'" in str(error.value)
        rules = LabelRules(class_attribute="kind")
        result = build_instances(file_of([*drawn, *points]), rules, BONES)
        assert labels(result) == ["person", "person"]
        assert result.problems == ()

    def test_two_that_are_disqualified_are_named_with_the_place(self) -> None:
        drawn = [
            box(0, kind="person", id="a"),
            dot(part="head", kind="person", id="a"),
            dot(part="head", kind="person", id="a"),
        ]
        with pytest.raises(UserError) as error:
            build_instances(file_of(drawn), skeleton=BONES)
        for value in ("a", "person"):
            assert f"region 2 of 0.jpg is a second head of '{value}'" in str(error.value)


class TestSkip:
    RULES = LabelRules(unlabelled="skip")

    def test_a_file_without_attributes_is_skipped_and_counted(self) -> None:
        result = build_instances(file_of([box(), box(20)], [box()]), self.RULES)
        assert labels(result) == []
        assert problems(result) == [("note", None, None)]
        assert "3 regions" in result.problems[0].message

    def test_a_named_class_need_not_occur_then(self) -> None:
        rules = LabelRules(unlabelled="skip", class_attribute="kind")
        assert problems(build_instances(file_of([box()]), rules)) == [("note", None, "kind")]
        with pytest.raises(UserError, match="'kind'"):
            build_instances(file_of([box(sort="cat")]), rules)


class TestTies:
    RULES = LabelRules(class_attribute="kind", instance_attribute="id")

    def test_an_outline_of_two_objects(self) -> None:
        drawn = [box(0, kind="a", id=("1",)), box(20, kind="a", id=("1", "2"))]
        result = build_instances(file_of(drawn), self.RULES)
        assert [each.regions for each in result.images[0].instances] == [(0,), (1,)]
        assert problems(result) == [("warning", 1, "id")]
        assert "1, 2" in result.problems[0].message

    def test_a_point_of_two_objects(self) -> None:
        drawn = [box(0, kind="person", id=("1",)), dot(part="head", id=("1", "2"))]
        result = build_instances(file_of(drawn), self.RULES, BONES)
        assert result.images[0].instances[0].regions == (0,)
        assert problems(result) == [("error", 1, "id")]
        assert "several objects: 1, 2" in result.problems[0].message


class TestPlaces:
    def test_a_point_in_two_outlines_of_one_area(self) -> None:
        drawn = [
            box(0, 10, kind="person"),
            box(5, 10, kind="person"),
            box(0, 100, kind="person"),
            dot(7, 7, part="head"),
            dot(2, 2, part="head"),
        ]
        result = build_instances(file_of(drawn), skeleton=BONES)
        found = [each.regions for each in result.images[0].instances]
        assert found == [(0, 4), (1,), (2,)]
        assert problems(result) == [("error", 3, None)]
        assert "regions 0 and 1" in result.problems[0].message
