"""Division of images into parts: each class is in all of them if possible, a picture in one.

Iterative stratification of multi-label data: Sechidis, Tsoumakas, Vlahavas, "On the Stratification
of Multi-label Data", ECML PKDD 2011, algorithm 1.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roilab import via
from roilab.errors import UserError, argument
from roilab.files import read_bytes
from roilab.text import counted


def image_fingerprint(record: via.ImageRecord, path: Path | None) -> str:
    """A value that two copies of one picture share: a hash of the file, else of its name and size.

    Raises:
        UserError: the file cannot be read.
    """
    if path is None:
        content = f"{record.filename}\0{record.size}".encode(errors="replace")
    else:
        remedy = "make the file readable, or remove it: its name and size identify the image"
        content = read_bytes(path, what="the image", remedy=remedy)
    return hashlib.sha256(content).hexdigest()


def stratified_split(
    groups: Mapping[str, Collection[Hashable]], share: float, seed: int
) -> set[str]:
    """Choose the groups of the first of two parts. The order of the groups has no influence.

    Args:
        groups: fingerprint -> labels of each picture; those without labels count as one label.
        share: of the first part, in (0, 1).
        seed: another one gives another division.

    Returns:
        The fingerprints of the first part. Both parts have a picture, and one of each label that
        two pictures have, unless other labels need these elsewhere; the first part's share of a
        label is as near to `share` as the other labels allow.

    Raises:
        UserError: the share is out of range, or there are fewer than two pictures.
    """
    if not 0 < share < 1:
        raise UserError(
            "a part needs a share",
            key="share",
            found=share,
            expected="more than 0, less than 1",
            remedy="give a number such as 0.8",
        )
    if len(groups) < 2:
        message = "there is nothing to divide"
        remedy = "annotate more pictures; copies of one picture stay in one part"
        pictures = f"{len(groups)} different pictures"
        raise UserError(message, found=pictures, expected="at least 2", remedy=remedy)
    return _stratified(groups, (share, 1 - share), seed)[0]


def stratified_folds(
    groups: Mapping[str, Collection[Hashable]], folds: int, seed: int
) -> list[set[str]]:
    """Divide groups into folds of equal shares, as `stratified_split` divides them into two parts.

    Raises:
        UserError: there are fewer than two folds, or more than pictures.
    """
    if not 2 <= folds <= len(groups):
        raise UserError(
            "the pictures cannot be divided into so many folds",
            key="folds",
            found=f"{counted(folds, 'fold')} of {counted(len(groups), 'different picture')}",
            expected="at least 2 folds, and a picture for each",
            remedy="give a number from 2 to that of the pictures, or annotate more; copies of "
            "one picture stay in one fold",
        )
    return _stratified(groups, [1 / folds] * folds, seed)


def _stratified(
    groups: Mapping[str, Collection[Hashable]], shares: Sequence[float], seed: int
) -> list[set[str]]:
    """Divide groups into parts with these shares, none of them empty."""
    # A number drawn for each picture, which decides where nothing else does.
    luck = {key: hashlib.sha256(f"{seed}\0{key}".encode()).hexdigest() for key in groups}
    labels = {key: set(groups[key]) or {None} for key in sorted(groups, key=luck.__getitem__)}
    counts = Counter(label for names in labels.values() for label in names)
    # The number of pictures of each label that each part still needs.
    needed = [{label: share * counts[label] for label in counts} for share in shares]
    left: dict[Hashable, list[str]] = defaultdict(list)
    for key, names in labels.items():
        for label in names:
            left[label].append(key)

    parts: list[set[str]] = [set() for _ in shares]
    total = [share * len(groups) for share in shares]
    while open_labels := [name for name in left if left[name]]:
        # The rarest label first: it has the least room for a mistake.
        label = min(
            open_labels, key=lambda name: (len(left[name]), luck[left[name][0]], repr(name))
        )
        for key in list(left[label]):
            # To the part that needs the label most, else to the one that needs most pictures.
            needs = [(needed[part][label], total[part]) for part in range(len(parts))]
            part = needs.index(max(needs))
            parts[part].add(key)
            total[part] -= 1
            for name in labels[key]:
                needed[part][name] -= 1
                left[name].remove(key)

    for empty in parts:
        if not empty:
            full = max(parts, key=len)
            key = min(full, key=luck.__getitem__)
            full.remove(key)
            empty.add(key)
    _bring_labels_into_all(parts, labels, luck)
    return parts


def _bring_labels_into_all(
    parts: Sequence[set[str]],
    labels: Mapping[str, Collection[Hashable]],
    luck: Mapping[str, str],
) -> None:
    """Move a picture of each label that a part lacks, unless another part would then lack one."""
    counts = [Counter(label for key in part for label in labels[key]) for part in parts]
    total: Counter[Hashable] = sum(counts, Counter())
    for label in sorted(total, key=lambda name: (total[name], repr(name))):
        for lacking in range(len(parts)):
            if counts[lacking][label]:
                continue
            movable = [
                (part, key)
                for part in range(len(parts))
                for key in parts[part]
                if label in labels[key] and all(counts[part][name] > 1 for name in labels[key])
            ]
            if movable:
                # Of the largest part the one that changes the fewest shares.
                part, key = min(
                    movable,
                    key=lambda move: (-len(parts[move[0]]), len(labels[move[1]]), luck[move[1]]),
                )
                parts[part].remove(key)
                parts[lacking].add(key)
                counts[part].subtract(labels[key])
                counts[lacking].update(labels[key])


def split_images(
    labelled: via.LabelledSet,
    find: Callable[[via.ImageRecord], Path | None],
    share: float,
    seed: int,
    progress: Callable[[Sequence[via.LabelledImage]], Iterable[via.LabelledImage]] = iter,
) -> tuple[set[str], int, int]:
    """Divide the images of a file by their content.

    Args:
        find: returns the file of an image, or None.
        progress: wraps the images while their files are read.

    Returns:
        The keys of the first part's records; how many images are copies of others; and how many
        have no file, so that their name and size identify them instead.

    Raises:
        UserError: see `stratified_split` and `image_fingerprint`.
    """
    pictures = _pictures(labelled, find, progress)
    chosen = stratified_split(pictures.labels, share, seed)
    return pictures.records(chosen), pictures.copies, pictures.missing


def fold_images(
    labelled: via.LabelledSet,
    find: Callable[[via.ImageRecord], Path | None],
    folds: int,
    seed: int,
    progress: Callable[[Sequence[via.LabelledImage]], Iterable[via.LabelledImage]] = iter,
) -> tuple[list[set[str]], int, int]:
    """Divide the images of a file into folds; arguments and errors are as for `split_images`.

    Returns:
        The keys of each fold's records, and the two numbers of `split_images`.
    """
    pictures = _pictures(labelled, find, progress)
    parts = stratified_folds(pictures.labels, folds, seed)
    return [pictures.records(part) for part in parts], pictures.copies, pictures.missing


@dataclass(frozen=True)
class _Pictures:
    """The different pictures of a file, by fingerprint.

    Attributes:
        members: the keys of the records that show it.
        missing: the number of images without a file.
    """

    members: Mapping[str, Sequence[str]]
    labels: Mapping[str, Collection[Hashable]]
    missing: int

    @property
    def copies(self) -> int:
        """The number of images that are copies of others."""
        return sum(len(keys) - 1 for keys in self.members.values())

    def records(self, fingerprints: Iterable[str]) -> set[str]:
        """The keys of the records of these pictures."""
        return {key for fingerprint in fingerprints for key in self.members[fingerprint]}


def _pictures(
    labelled: via.LabelledSet,
    find: Callable[[via.ImageRecord], Path | None],
    progress: Callable[[Sequence[via.LabelledImage]], Iterable[via.LabelledImage]],
) -> _Pictures:
    members: dict[str, list[str]] = defaultdict(list)
    labels: dict[str, set[Hashable]] = defaultdict(set)
    missing = 0
    for image in progress(labelled.images):
        path = find(image.record)
        missing += path is None
        key = image_fingerprint(image.record, path)
        members[key].append(image.record.key)
        labels[key] |= {instance.label for instance in image.instances}
    return _Pictures(members, labels, missing)


def classes_in_one_part(labelled: via.LabelledSet, chosen: Collection[str]) -> list[via.Problem]:
    """Warnings of classes that one part lacks: they are not learnt, or not evaluated.

    Args:
        chosen: the keys of the records of the first part, which is called train.
    """
    parts: dict[str, list[str]] = {name: [] for name in labelled.classes}
    for image in labelled.images:
        for name in {instance.label for instance in image.instances}:
            parts[name].append("train" if image.record.key in chosen else "val")
    return [
        via.Problem(
            "warning",
            f"the class '{name}' is in {places[0]} only, in {counted(len(places), 'image')}",
            f"annotate more images of it, or drop it with {argument('class_map', {name: None})}",
            labelled.file,
        )
        for name, places in parts.items()
        if len(set(places)) == 1
    ]


def classes_missing_in_folds(
    labelled: via.LabelledSet, folds: Sequence[Collection[str]]
) -> list[via.Problem]:
    """Warnings of classes that not every fold has: where it is held out, AP is without them.

    Args:
        folds: the keys of the records of each fold.
    """
    places: dict[str, list[int]] = {name: [] for name in labelled.classes}
    for image in labelled.images:
        (fold,) = (place for place, keys in enumerate(folds) if image.record.key in keys)
        for name in {instance.label for instance in image.instances}:
            places[name].append(fold)
    return [
        via.Problem(
            "warning",
            f"the class '{name}' is in {len(set(where))} of {len(folds)} folds only, in "
            f"{counted(len(where), 'image')}",
            f"annotate more images of it, or drop it with {argument('class_map', {name: None})}",
            labelled.file,
        )
        for name, where in places.items()
        if len(set(where)) < len(folds)
    ]
