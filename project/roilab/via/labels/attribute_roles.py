"""Roles of attributes: class, keypoint name, instance, visibility, score.

An attribute that the user does not name is the one whose description has the role's tag (RoILab
writes such tags), else it is inferred where a single answer is possible. Its name is a hint in few
cases, which a note reports: see `attributes_by_name`. Several possible answers are an error that
lists them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.via import records
from roilab.via.labels import attributes_by_name
from roilab.via.labels.attributes_by_name import must_occur
from roilab.via.labels.keypoints import keypoint_index, visibility_of_word
from roilab.via.labels.label_rules import (
    LabelRules,
    Roles,
    attributes_in_use,
    keypoint_regions,
    outline_regions,
    single,
    tagged,
    with_samples,
)


@records.collector_paused()
def roles_of(
    annotations: records.Annotations, rules: LabelRules, skeleton: Skeleton | None
) -> Roles:
    """The roles by which `build_instances` reads the file. Those of a COCO file are known.

    A class attribute is needed unless every region has the default class or, without a class, is
    skipped as asked.

    Raises:
        UserError: a named attribute does not occur, or an attribute has to be named.
    """
    tags = tagged(annotations.region_attributes)
    if annotations.container is records.Container.COCO:
        roles = (tags.get(role) for role in ("class", "keypoint", "instance", "visibility"))
        return Roles(*roles)  # type: ignore[arg-type] # these four
    label = rules.class_attribute
    if not isinstance(label, str):
        label = None if rules.class_flags else tags.get("class")
    named = {
        role: getattr(rules, f"{role}_attribute", None) for role in records.TAGS if role != "class"
    }
    finder = _RoleFinder(
        annotations,
        rules,
        skeleton,
        outlines=attributes_in_use(outline_regions(annotations, rules.kinds)),
        points=attributes_in_use(keypoint_regions(annotations, (records.Point,))),
        label=label,
        problems=[],
        **{role: tags.get(role) if name is None else name for role, name in named.items()},
    )
    return finder.find(tags.get("class"))


@dataclass(slots=True)
class _RoleFinder:
    """Infers the roles that are still None.

    Attributes:
        outlines, points: attribute name -> the values that occur at outlines and at points.
        label: the class attribute; "" says that there is none, as with the other roles.
    """

    annotations: records.Annotations
    rules: LabelRules
    skeleton: Skeleton | None
    outlines: dict[str, list[str]]
    points: dict[str, list[str]]
    problems: list[records.Problem]
    label: str | None
    keypoint: str | None
    instance: str | None
    visibility: str | None
    score: str | None

    @property
    def known(self) -> set[str | None]:
        """The attributes whose role is known."""
        names = (self.label, self.keypoint, self.instance, self.visibility, self.score)
        return {*names, *self.rules.class_flags}

    def find(self, tagged_class: str | None) -> Roles:
        """All roles; the class attribute may be one that a tag names, which is never doubted."""
        annotations = self.annotations
        rules = self.rules
        outlines = self.outlines
        kinds = rules.kinds
        flags = rules.class_flags
        problems = self.problems

        self.score = self.score or attributes_by_name.score_attribute(outlines, self.known)
        if self.skeleton is not None and any(keypoint_regions(annotations, (records.Point,))):
            self.keypoint = self._keypoint_attribute(self.skeleton)
            self.visibility = self._visibility_attribute()
        if self.label is None and not flags:
            possible = outlines.keys() - self.known
            self.label = attributes_by_name.class_by_name(
                annotations.file, possible, self.score, problems
            )
        # Whether one of the attributes without a role has to be the class.
        needs_class = self.label is None and not flags and not rules.may_lack_class
        self._find_instance_attribute(needs_class)
        possible = outlines.keys() - self.known
        if self.label is None and not flags and not possible and self._keypoint_names_classes():
            self.label = self.keypoint
        label, flags = attributes_by_name.class_attribute(
            annotations, rules, outlines, self.label, possible, problems
        )
        if label is not None and label not in (rules.class_attribute, tagged_class):
            of_points = self.points.get(label, ())
            problems += attributes_by_name.doubts(
                annotations, kinds, label, outlines[label], of_points
            )
        return Roles(
            label=label,
            keypoint=self.keypoint,
            instance=self.instance or None,
            visibility=self.visibility or None,
            kinds=kinds,
            score=self.score,
            flags=flags,
            problems=tuple(problems),
        )

    def _find_instance_attribute(self, needs_class: bool) -> None:
        """Set the instance attribute by its name, else by the values that points share.

        Args:
            needs_class: one of the attributes without a role has to be the class.
        """
        annotations = self.annotations
        kinds = self.rules.kinds
        if self.instance is None:
            rest = self.outlines.keys() - self.known
            if not needs_class or len(rest) > 1:
                self.instance = attributes_by_name.instance_by_name(
                    annotations.file, rest, self.problems
                )
        elif self.instance:
            used = attributes_in_use(keypoint_regions(annotations, kinds)) | self.outlines
            must_occur(annotations, "instance_attribute", self.instance, used)
        if self.instance is not None or not any(keypoint_regions(annotations, kinds)):
            return
        if self.skeleton is None:
            self.instance = self._unread_instance_attribute()
        else:  # what is the only possible class cannot tie as well
            self.instance = self._instance_attribute(self.keypoint, self.known, needs_class)

    def _keypoint_names_classes(self) -> bool:
        """Whether the attribute names keypoints of points, and no keypoint of an outline."""
        keypoint = self.keypoint
        if self.skeleton is None or keypoint is None or keypoint not in self.outlines:
            return False
        return not self._names_keypoint(keypoint, self.outlines[keypoint], self.skeleton)

    def _names_keypoint(self, attribute: str, values: Iterable[str], skeleton: Skeleton) -> bool:
        declared = self.annotations.region_attributes.get(attribute)
        return any(keypoint_index(text, declared, skeleton) is not None for text in values)

    def _keypoint_attribute(self, skeleton: Skeleton) -> str:
        if self.keypoint is not None:
            must_occur(self.annotations, "keypoint_attribute", self.keypoint, self.points)
            return self.keypoint
        candidates = {
            name: values
            for name, values in self.points.items()
            if self._names_keypoint(name, values, skeleton)
        }
        # One attribute may name the class of outlines and the keypoint of points.
        free = {name: values for name, values in candidates.items() if name not in self.known}
        shared = {name: values for name, values in candidates.items() if name == self.label}
        candidates = free or shared
        if len(candidates) == 1:
            return next(iter(candidates))
        expected = f"point regions named as in skeleton '{skeleton.name}': "
        raise UserError(
            "cannot tell which attribute names the keypoints",
            file=self.annotations.file,
            key="keypoint_attribute",
            found=with_samples(candidates or self.points),
            expected=expected + ", ".join(skeleton.keypoints),
            remedy="give keypoint_attribute=NAME"
            if candidates
            else "name the points, or the skeleton's",
        )

    def _visibility_attribute(self) -> str | None:
        if self.visibility is not None:
            if self.visibility:
                must_occur(self.annotations, "visibility_attribute", self.visibility, self.points)
            return self.visibility
        others = self.known | naming_attributes(self.annotations, self.points).keys()
        candidates = {name: values for name, values in self.points.items() if name not in others}
        if len(candidates) > 1:
            raise UserError(
                "several attributes could be the visibility of the points",
                file=self.annotations.file,
                key="visibility_attribute",
                found=with_samples(candidates),
                expected="one of these",
                remedy="give visibility_attribute=NAME; where none of them is, "
                'visibility_attribute=""',
            )
        return next(iter(candidates), None)

    def _unread_instance_attribute(self) -> str | None:
        """The attribute that ties points to their object, as with a skeleton; None if unclear.

        Which parts are one object does not depend on whether its keypoints are read; but points
        that are not read are no reason for an error.
        """
        keypoint = self.keypoint
        if not keypoint:
            # The one attribute that only points have and that is no visibility.
            naming = naming_attributes(self.annotations, self.points).keys()
            candidates = naming - self.known - self.outlines.keys()
            if len(candidates) != 1:
                return None
            keypoint = candidates.pop()
        known = self.known | {keypoint}
        needs_class = self.label is None
        try:
            instance = self._instance_attribute(keypoint, known, needs_class)
        except UserError:
            return None
        others = self.outlines.keys() - known - {instance}
        return instance if others or not needs_class else None

    def _instance_attribute(
        self, keypoint: str | None, known: Set[str | None], needs_class: bool
    ) -> str | None:
        """The attribute by which points and outlines of an image share values.

        A class name can be shared as well; but within one object a keypoint occurs once, so of
        several shared attributes one in which a value has two noses is not the object's. The only
        one is the object's even with two noses, of which one is a slip; unless it has to be the
        class. Without a skeleton, every value of the keypoint attribute counts as a keypoint.

        Args:
            needs_class: an attribute of the outlines has to be the class, and is not known yet.
        """
        kinds = self.rules.kinds
        # Of each image and attribute, the values of outlines.
        of_image: dict[tuple[str, str], set[str]] = defaultdict(set)
        for image, region in outline_regions(self.annotations, kinds):
            for name in region.attributes:
                of_image[image.key, name].add(single(region, name))

        # Attribute -> the values that points share with outlines, in their order; and where a value
        # of it has a keypoint twice, in words.
        shared: dict[str, dict[str, None]] = {}
        twice: dict[str, str] = {}
        seen: set[tuple[str, str, str, int | str]] = set()
        for image, region in keypoint_regions(self.annotations, kinds):
            named = single(region, keypoint)
            index = self._keypoint_of(region, keypoint)
            for name in region.attributes.keys() - known:
                value = single(region, name)
                if value and value in of_image.get((image.key, name), ()):
                    shared.setdefault(name, {})[value] = None
                if value and index is not None:
                    key = (image.key, name, value, index)
                    if key in seen:
                        part = named or "keypoint"
                        place = f"region {region.index} of {image.filename}"
                        twice.setdefault(name, f", but {place} is a second {part} of '{value}'")
                    seen.add(key)

        possible = [name for name in shared if name not in twice]
        of_outlines = {name for (_, name), values in of_image.items() if any(values)} - known
        if len(shared) == 1 and (not needs_class or len(of_outlines) > 1):
            possible = list(shared)
        if len(possible) == 1 or not shared:
            return next(iter(possible), None)
        samples = {name: with_samples({name: list(shared[name])}) for name in sorted(shared)}
        raise UserError(
            "cannot tell which attribute ties points to their object",
            file=self.annotations.file,
            key="instance_attribute",
            found="; ".join(text + twice.get(name, "") for name, text in samples.items()),
            expected="one attribute with a value of its own for every object of an image",
            remedy="give instance_attribute=NAME; where points belong to the outline around them, "
            'instance_attribute=""',
        )

    def _keypoint_of(self, region: records.Region, keypoint: str | None) -> int | str | None:
        """The keypoint of a region: its index in the skeleton, else its name; None for none."""
        # A path holds the whole skeleton: that it has the first keypoint is enough to count.
        if not isinstance(region.shape, records.Point):
            return 0
        named = single(region, keypoint)
        if self.skeleton is None:
            return named or None
        declared = self.annotations.region_attributes.get(keypoint or "")
        return keypoint_index(named, declared, self.skeleton)


def naming_attributes(
    annotations: records.Annotations, points: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """The attributes of points that can name them, since not all their values are visibilities."""
    declared = annotations.region_attributes
    return {
        name: values
        for name, values in points.items()
        if any(visibility_of_word(text, declared.get(name)) is None for text in values)
    }
