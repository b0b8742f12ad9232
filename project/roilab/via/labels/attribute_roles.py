"""Roles of attributes: class, keypoint name, instance, visibility, score.

An attribute that the user does not name is the one whose description has the role's tag (RoILab
writes such tags), else it is inferred where a single answer is possible. Its name is a hint in few
cases, which a note reports: see `attributes_by_name`. Several possible answers are an error that
lists them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from roilab.errors import UserError, argument
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
    listed,
    outline_regions,
    single,
    some,
    tagged,
    with_samples,
)

# An inferred attribute has too many values for a class from this share of the objects on; of a few
# objects all may differ, unless every value has a number.
_MANY_CLASSES = 0.75
_FEW_OBJECTS = 8


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
    if annotations.container in (records.Container.COCO, records.Container.CITYSCAPES):
        names = (tags.get(role) for role in ("class", "keypoint", "instance", "visibility"))
        return Roles(*names)  # type: ignore[arg-type] # these four
    label = rules.class_attribute
    if not isinstance(label, str):
        label = None if rules.class_flags else tags.get("class")
    named = {
        role: getattr(rules, f"{role}_attribute", None) for role in records.TAGS if role != "class"
    }
    roles = Roles(
        label=label,
        kinds=rules.kinds,
        flags=rules.class_flags,
        problems=(),
        **{role: tags.get(role) if name is None else name for role, name in named.items()},
    )
    finder = _RoleFinder(
        annotations,
        rules,
        skeleton,
        outlines=attributes_in_use(outline_regions(annotations, rules.kinds)),
        points=attributes_in_use(keypoint_regions(annotations, (records.Point,))),
        roles=roles,
        reporter=records.Reporter([], annotations.file),
    )
    return finder.find()


@dataclass(frozen=True, slots=True)
class _RoleFinder:
    """Infers the roles that are still None; "" says that no attribute has the role.

    Attributes:
        outlines, points: attribute name -> the values that occur at outlines and at points.
    """

    annotations: records.Annotations
    rules: LabelRules
    skeleton: Skeleton | None
    outlines: dict[str, list[str]]
    points: dict[str, list[str]]
    roles: Roles
    reporter: records.Reporter

    @property
    def _unused(self) -> set[str]:
        """The attributes of outlines that have no role."""
        return self.outlines.keys() - self.roles.names

    def find(self) -> Roles:
        """All roles. A class attribute that the user or a tag names is never doubted."""
        roles = self.roles
        is_inferred = roles.label is None
        if not roles.score:
            roles.score = attributes_by_name.score_attribute(self.outlines, roles.names)
        if self.skeleton is not None and any(keypoint_regions(self.annotations, (records.Point,))):
            roles.keypoint = self._keypoint_attribute(self.skeleton)
            roles.visibility = self._visibility_attribute()
        if roles.label is None and not roles.flags:
            roles.label = attributes_by_name.class_by_name(self._unused, roles.score, self.reporter)
        # Whether one of the attributes without a role may be the class, and whether one has to be.
        may_be_class = roles.label is None and not roles.flags
        needs_class = may_be_class and not self.rules.may_lack_class
        self._find_instance_attribute(needs_class)
        if may_be_class and not self._unused and self._keypoint_names_classes():
            roles.label = roles.keypoint
        self._find_class_attribute()
        if roles.label and is_inferred:
            self._warn_of_doubtful_class(roles.label)
        roles.label = roles.label or None
        roles.instance = roles.instance or None
        roles.visibility = roles.visibility or None
        roles.problems = tuple(self.reporter.problems)
        return roles

    def _find_instance_attribute(self, needs_class: bool) -> None:
        """Set the instance attribute by its name, else by the values that points share."""
        annotations = self.annotations
        roles = self.roles
        if roles.instance is None:
            if not needs_class or len(self._unused) > 1:
                roles.instance = attributes_by_name.instance_by_name(self._unused, self.reporter)
        elif roles.instance:
            used = attributes_in_use(keypoint_regions(annotations, roles.kinds)) | self.outlines
            must_occur(annotations, "instance_attribute", roles.instance, used)
        if roles.instance is not None or not any(keypoint_regions(annotations, roles.kinds)):
            return
        if self.skeleton is None:
            roles.instance = self._unread_instance_attribute()
        else:  # what is the only possible class cannot tie as well
            roles.instance = self._instance_attribute(roles.keypoint, roles.names, needs_class)

    def _find_class_attribute(self) -> None:
        """Set the attribute that holds the class, else the attributes that are a class each."""
        annotations = self.annotations
        outlines = self.outlines
        roles = self.roles
        may_lack = self.rules.may_lack_class
        for name in (*roles.flags, roles.label) if roles.label else roles.flags:
            # Sets mix files with and without the attribute; what has none is then covered.
            if outlines or not may_lack:
                must_occur(annotations, "class_attribute", name, outlines)
        if roles.label or roles.flags:
            return
        unused = self._unused if roles.label is None else set()
        possible = {name: values for name, values in outlines.items() if name in unused}
        if len(possible) == 1:
            roles.label = next(iter(possible))
            return
        if not possible and (may_lack or not any(outline_regions(annotations, roles.kinds))):
            return
        if possible and attributes_by_name.are_flags(annotations, roles.kinds, possible):
            message = f"the attributes {listed(possible)} are read as a class each, by their names"
            remedy = "give class_attribute=NAME if one of them holds the class"
            self.reporter.report("note", message, remedy)
            roles.flags = tuple(possible)
            return
        if possible:
            message = "several attributes could be the class"
            samples = with_samples(possible)
            expected = "one of these"
            remedy = (
                'give class_attribute=NAME; class_attribute=["A", "B"] where each is a class of '
                'its own; class_attribute="" default_class=NAME where none is the class'
            )
        else:
            message = "no attribute of the regions can be the class"
            samples = with_samples(outlines) if outlines else "regions without attributes"
            expected = "an attribute that names the class"
            remedy = (
                "give default_class=NAME, the class of all regions, or class_attribute=NAME, or "
                "unlabelled=skip"
            )
        key = "class_attribute"
        file = annotations.file
        raise UserError(
            message, file=file, key=key, found=samples, expected=expected, remedy=remedy
        )

    def _warn_of_doubtful_class(self, label: str) -> None:
        """Warn where an inferred class attribute looks like the name of objects or of points."""
        values = self.outlines[label]
        of_points = self.points.get(label, ())
        declared = self.annotations.region_attributes.get(label)
        count = sum(1 for _ in outline_regions(self.annotations, self.roles.kinds))
        few = count < _FEW_OBJECTS and not all(set(value) & set("0123456789") for value in values)
        is_choice = declared is not None and declared.type != "text"
        # VIA gives the default of an attribute to every region.
        if len(values) == 1 and values[0] in of_points and len(of_points) > 1:
            what = f"names points: {some(of_points)}"
        elif len(values) > 1 and not few and not is_choice and len(values) > _MANY_CLASSES * count:
            what = f"has {len(values)} values for {count} objects: {some(values)}"
        else:
            return
        message = f"'{label}' is taken for the class, and {what}"
        remedy = (
            'where it is no class, give class_attribute="" default_class=NAME; where it is, '
            f"{argument('class_attribute', label)}"
        )
        self.reporter.report("warning", message, remedy, attribute=label)

    def _keypoint_names_classes(self) -> bool:
        """Whether the attribute names keypoints of points, and no keypoint of an outline."""
        keypoint = self.roles.keypoint
        if self.skeleton is None or keypoint is None or keypoint not in self.outlines:
            return False
        return not self._names_keypoint(keypoint, self.outlines[keypoint], self.skeleton)

    def _names_keypoint(self, attribute: str, values: Iterable[str], skeleton: Skeleton) -> bool:
        declared = self.annotations.region_attributes.get(attribute)
        return any(keypoint_index(text, declared, skeleton) is not None for text in values)

    def _keypoint_attribute(self, skeleton: Skeleton) -> str:
        known = self.roles.names
        keypoint = self.roles.keypoint
        if keypoint is not None:
            must_occur(self.annotations, "keypoint_attribute", keypoint, self.points)
            return keypoint
        candidates = {
            name: values
            for name, values in self.points.items()
            if self._names_keypoint(name, values, skeleton)
        }
        # One attribute may name the class of outlines and the keypoint of points.
        free = {name: values for name, values in candidates.items() if name not in known}
        shared = {name: values for name, values in candidates.items() if name == self.roles.label}
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
        visibility = self.roles.visibility
        if visibility is not None:
            if visibility:
                must_occur(self.annotations, "visibility_attribute", visibility, self.points)
            return visibility
        others = self.roles.names | naming_attributes(self.annotations, self.points).keys()
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
        keypoint = self.roles.keypoint
        if not keypoint:
            # The one attribute that only points have and that is no visibility.
            naming = naming_attributes(self.annotations, self.points).keys()
            candidates = naming - self.roles.names - self.outlines.keys()
            if len(candidates) != 1:
                return None
            keypoint = candidates.pop()
        known = self.roles.names | {keypoint}
        needs_class = self.roles.label is None
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
        kinds = self.roles.kinds
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
